"""Episodes with tools: what the model reads between its turns, what of it is learned from, and what they are worth."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from minimind.config import SampleConfig
from minimind.data.agent_tasks import made_task
from minimind.data.chat import encode_dialogue
from minimind.data.packing import Position
from minimind.data.tasks import Task
from minimind.data.tokenizer import Tokenizer
from minimind.inference import draw
from minimind.inference.draw import Drawn
from minimind.inference.engine import Engine
from minimind.inference.tool_chat import chat_with_tools
from minimind.model.transformer import MiniMind
from minimind.training import tool_episodes
from minimind.training.loss import token_log_probabilities
from minimind.training.rollouts import Answer, lay_out_rollouts
from minimind.training.tool_episodes import ToolSampler
from minimind.training.tool_rewards import Outcome, holds, tool_reward_parts
from tests.minimind.training.conftest import TINY

CALL = '<tool_call>\n{"name": "length", "arguments": {"text": "rabbit"}}\n</tool_call>'
BAD = "<tool_call>\nlength\n</tool_call>"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load("nano-2048")


@pytest.fixture(scope="module")
def model() -> MiniMind:
    torch.manual_seed(0)
    return MiniMind(TINY.replace(dropout=0.0, max_position_embeddings=1024)).eval()


def task(*truths: str, question: str = "How many?", **system: Any) -> Task:
    head = ({"role": "system", "content": "", **system},) if system else ()
    return Task("tools", (*head, {"role": "user", "content": question}), truths)


class Script:
    """Draws what stands in it, turn by turn, where the model would draw; anything after it as the model does."""

    def __init__(self, tokenizer: Tokenizer, turns: Sequence[Sequence[str]]) -> None:
        self._tokenizer = tokenizer
        self._turns: Iterator[Sequence[str]] = iter(turns)

    def __call__(self, engine: Engine, prompts: Sequence[Sequence[int]], **settings: Any) -> list[Drawn]:
        texts = next(self._turns, None)
        if texts is None:
            return draw.draw_answers(engine, prompts, **settings)
        return [self._drawn(engine, prompt, text) for prompt, text in zip(prompts, texts, strict=True)]

    def _drawn(self, engine: Engine, prompt: Sequence[int], text: str) -> Drawn:
        cut = text.endswith("…")
        written = self._tokenizer.encode(text.removesuffix("…"), allow_special=True)
        tokens = [*written] if cut else [*written, self._tokenizer.eos_id]
        logits: Tensor = engine.model(torch.tensor([[*prompt, *tokens[:-1]]]))[0, len(prompt) - 1 :]
        known = logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist()
        return Drawn(tokens, known, [0.5] * len(tokens), not cut)


@pytest.fixture
def play(tokenizer: Tokenizer, model: MiniMind, monkeypatch: pytest.MonkeyPatch) -> Any:
    def played(
        tasks: Sequence[Task], *turns: Sequence[str], most_turns: int = 3, longest: int = 500, thinking: float = 0.0
    ) -> tuple[list[Answer], ToolSampler]:
        monkeypatch.setattr(tool_episodes, "draw_answers", Script(tokenizer, turns))
        sampler = ToolSampler(
            tokenizer,
            seed=3,
            max_new_tokens=60,
            temperature=1.0,
            thinking_ratio=thinking,
            most_turns=most_turns,
            longest=longest,
        )
        groups = sampler.groups(model, tasks, 1)
        return [answer for (answer,) in groups], sampler

    return played


def test_an_episode_is_the_conversation_that_fine_tuning_would_show(play: Any, tokenizer: Tokenizer) -> None:
    (answer,), _ = play([task("6")], [CALL], ["It has 6 letters."])
    messages = [
        {"role": "user", "content": "How many?"},
        {"role": "assistant", "content": CALL},
        {"role": "tool", "content": "6"},
        {"role": "assistant", "content": "It has 6 letters."},
    ]
    ids, mask = encode_dialogue(tokenizer, messages)
    length = len(answer.episode.tokens)
    assert list(answer.episode.tokens) == ids[:length]
    assert ids[length:] == tokenizer.encode("\n")
    drawn = tokenizer.decode([t for t, act in zip(answer.episode.tokens, answer.episode.actions, strict=True) if act])
    assert drawn == CALL + "It has 6 letters."
    counted = {place for place, counts in enumerate(mask) if counts}
    assert {place for place, act in enumerate(answer.episode.actions) if act} < counted
    assert answer.parts == {"calls": 0.5, "verified": 2.5, "finished": 0.0, "tags": 0.0}
    assert (answer.reward, answer.finished) == (3.0, True)
    assert "<tool_response>\n6\n</tool_response>" in answer.text


def test_episodes_go_their_own_ways(play: Any) -> None:
    tasks = [task("6") for _ in range(5)]
    first = [CALL, "I think 7.", BAD, CALL + "…", CALL[:-10] + "…"]
    answers, _ = play(tasks, first, ["6", CALL], ["6"])
    assert [answer.parts["calls"] for answer in answers] == [0.5, -0.5, -0.5, -0.5, -0.5]
    assert [answer.parts["verified"] for answer in answers] == [2.5, 0.0, 2.5, 0.0, 0.0]
    assert [answer.parts["finished"] for answer in answers] == [0.0, 0.0, 0.0, -0.5, -0.5]
    assert [answer.parts["tags"] for answer in answers] == [0.0, 0.0, 0.0, 0.0, -0.5]
    assert "error: not JSON" in answers[2].text


def test_turns_and_length_are_limited(play: Any) -> None:
    (answer,), _ = play([task("6")], [CALL], [CALL], most_turns=2)
    assert not answer.finished
    assert not answer.text.endswith("</tool_response>")  # what nothing was written after is left off
    assert answer.text.count("<tool_response>") == 1
    (answer,), _ = play([task("6")], [CALL], longest=100)
    assert answer.text == CALL
    assert answer.episode.actions[-1]


def test_thoughts_are_opened_by_the_prompt_and_closed_by_the_model(play: Any, tokenizer: Tokenizer) -> None:
    thinking = ["I shall count.\n</think>\n\n" + CALL, "I shall count."]
    answers, _ = play([task("6"), task("6")], thinking, ["Six, I see.\n</think>\n\n6"], thinking=1.0)
    assert answers[0].parts == {"calls": 0.5, "verified": 2.5, "finished": 0.0, "tags": 0.0}
    assert answers[1].parts["tags"] == -0.5  # its thought never ends
    assert tokenizer.decode(answers[0].episode.tokens).count("<think>\n") == 2


def test_only_declared_tools_run_and_errors_are_in_the_language_of_the_question(play: Any) -> None:
    declared = [{"name": "upper"}]
    english, chinese = task("6", tools=declared), task("6", question="有几个？", tools=declared)
    answers, _ = play([english, chinese], [CALL, CALL], ["6", "6"])
    assert "error: no tool length" in answers[0].text
    assert "错误：没有工具 length" in answers[1].text


def test_log_probabilities_are_those_that_training_computes(play: Any, tokenizer: Tokenizer, model: MiniMind) -> None:
    """After the scripted first turns the model draws, at temperature 1, having read what the tools returned."""
    answers, _ = play([task("6"), task("7", question="“小鹿”有几个字？")], [CALL, CALL + CALL])
    episodes = [answer.episode for answer in answers]
    assert all(episode.length > 40 for episode in episodes)
    ones = [[1.0] * len(episode.tokens) for episode in episodes]
    batch = lay_out_rollouts(episodes, ones, ones, tokenizer, 128, Position())
    assert int((batch.labels != -100).sum()) == sum(episode.length for episode in episodes)
    with torch.no_grad():
        known = token_log_probabilities(model, batch)
    torch.testing.assert_close(known, batch.old_log_probabilities, atol=2e-4, rtol=1e-4)


def test_the_same_generator_plays_the_same_episodes(play: Any, model: MiniMind) -> None:
    tasks = [made_task(index) for index in range(3)]
    first, sampler = play(tasks)
    state = sampler.generator.get_state()
    later = sampler.groups(model, tasks, 2)
    again, other = play(tasks)
    assert [a.episode for a in first] == [a.episode for a in again]
    other.generator.set_state(state)
    assert [a.episode for group in other.groups(model, tasks, 2) for a in group] == [
        a.episode for group in later for a in group
    ]


@pytest.mark.parametrize(
    ("text", "truth", "right"),
    [
        ("347 + 1589 = 1936.", "1936", True),
        ("It is 1,936.0!", "1936", True),
        ("It is 16.", "6", False),
        ("It is 6.", "6", True),
        ("about 0.3333333", "0.333333333", True),
        ("about 0.33", "0.333333333", False),
        ("it is tibbar.", "tibbar", True),
        ("倒过来是子兔小。", "子兔小", True),
        ("", "6", False),
        ("inf", "inf", True),
    ],
)
def test_answers_are_found_as_words_or_numbers(text: str, truth: str, right: bool) -> None:
    assert holds(text, truth) is right


def test_rewards_add_up_and_stay_within_three() -> None:
    good = Outcome("6 and 7", valid_calls=2, bad_calls=0, unbalanced=0, finished=True)
    assert tool_reward_parts(["6", "7"], good) == {"calls": 0.5, "verified": 2.5, "finished": 0.0, "tags": 0.0}
    half = dataclasses.replace(good, answer="6", valid_calls=1)
    assert sum(tool_reward_parts(["6", "7"], half).values()) == -0.5 + 1.25
    worst = Outcome("", valid_calls=0, bad_calls=9, unbalanced=20, finished=False)
    assert sum(tool_reward_parts(["6"], worst).values()) == -3.0
    assert tool_reward_parts([], dataclasses.replace(good, valid_calls=0)) == {
        "calls": 0.5,
        "finished": 0.0,
        "tags": 0.0,
    }


def test_an_answer_to_a_person_shows_what_the_tools_returned(
    tokenizer: Tokenizer, model: MiniMind, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, real = Engine(model, tokenizer), Engine.generate
    script = [tokenizer.encode(CALL, allow_special=True)]

    def generate(self: Engine, tokens: list[int], config: SampleConfig, **settings: Any) -> Iterator[Any]:
        for forced in script:
            script.remove(forced)
            for token in [*forced, tokenizer.eos_id]:
                ended = token == tokenizer.eos_id
                text = "" if ended else tokenizer.decode([token], skip_special=False)
                yield draw_token(token, text, "stop" if ended else None)
            return
        seen.append(tokenizer.decode(tokens, skip_special=False))
        yield from real(self, tokens, config, **settings)

    from minimind.inference.writing import Token

    def draw_token(token: int, text: str, finish: Any) -> Token:
        return Token(token, text, 1.0, finish=finish)

    seen: list[str] = []
    monkeypatch.setattr(Engine, "generate", generate)
    config = SampleConfig(max_new_tokens=5, seed=1)
    tokens = list(chat_with_tools(engine, [{"role": "user", "content": "How many?"}], config))
    text = "".join(token.text for token in tokens)
    assert text.startswith(CALL + "\n<tool_response>\n6\n</tool_response>\n")
    assert [token.finish for token in tokens[:-1]] == [None] * (len(tokens) - 1)
    assert tokens[-1].finish in ("stop", "length")
    assert "<tool_response>\n6\n</tool_response><|im_end|>\n<|im_start|>assistant\n" in seen[0]
