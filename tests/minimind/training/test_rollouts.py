"""Rollouts: what is drawn comes from the model's distribution and says how likely it was; advantages; packing; state."""

from __future__ import annotations

import math

import pytest
import torch

from minimind.data.packing import IGNORED, Position
from minimind.data.tasks import Task, task
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError
from minimind.inference import draw
from minimind.inference.batch import open_readers
from minimind.inference.draw import draw_answers
from minimind.inference.engine import Engine
from minimind.model.transformer import MiniMind
from minimind.training.loss import token_log_probabilities
from minimind.training.rollouts import (
    Answer,
    Episode,
    RolloutBatch,
    Sampler,
    group_advantages,
    is_degenerate,
    lay_out_rollouts,
    summary,
    task_order,
)
from tests.minimind.training.conftest import TINY

TASKS = [task(index, ["counting", "listing"]) for index in range(3)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load("nano-2048")


@pytest.fixture
def model() -> MiniMind:
    torch.manual_seed(0)
    made = MiniMind(TINY)
    with torch.no_grad():
        made.model.norm.weight.mul_(20.0)  # far from uniform
    return made


def sampler(tokenizer: Tokenizer, **about: float) -> Sampler:
    return Sampler(tokenizer, **{"seed": 5, "max_new_tokens": 12, "temperature": 0.8} | about)  # type: ignore[arg-type]


def batch_of(groups: list[list[Answer]], tokenizer: Tokenizer) -> RolloutBatch:
    episodes = [answer.episode for group in groups for answer in group]
    ones = [[1.0] * len(episode.tokens) for episode in episodes]
    numbers = [[float(index)] * len(episode.tokens) for index, episode in enumerate(episodes)]
    return lay_out_rollouts(episodes, numbers, ones, tokenizer, 64, Position(1, 0, 3))


@pytest.mark.parametrize("compiled", [True, False])
def test_tokens_are_drawn_as_often_as_their_probability_says(
    compiled: bool, model: MiniMind, tokenizer: Tokenizer
) -> None:
    engine = Engine(model.eval(), tokenizer)
    if compiled:
        engine.use_native()
    prompt, temperature, count = [1, 50, 60], 0.7, 4000
    drawn = draw_answers(
        engine,
        [prompt] * count,
        max_new_tokens=1,
        temperature=temperature,
        generator=torch.Generator().manual_seed(1),
    )
    with torch.no_grad():
        expected = (model(torch.tensor([prompt]))[0, -1].float() / temperature).log_softmax(-1)  # [vocabulary]
    found = torch.bincount(torch.tensor([one.tokens[0] for one in drawn]), minlength=2048) / count
    likely = expected.exp() > 0.01
    assert likely.sum() > 3
    assert torch.allclose(found[likely], expected.exp()[likely], atol=4 * math.sqrt(0.25 / count))
    for one in drawn[:50]:
        assert one.log_probabilities[0] == pytest.approx(float(expected[one.tokens[0]]), abs=1e-4)
    entropy = -float((expected.exp() * expected).sum())
    assert drawn[0].entropies[0] == pytest.approx(entropy, abs=1e-3)


def test_old_log_probabilities_are_those_of_the_training_forward_pass(model: MiniMind, tokenizer: Tokenizer) -> None:
    """Drawn token by token through a cache, packed with others into rows: the same numbers."""
    asked = sampler(tokenizer)
    batch = batch_of(asked.groups(model, TASKS, 4), tokenizer)
    values = token_log_probabilities(model.eval(), batch, asked.temperature)
    assert torch.allclose(values, batch.old_log_probabilities, atol=1e-4)
    assert (batch.old_log_probabilities[batch.labels == IGNORED] == 0).all()
    assert (batch.old_log_probabilities[batch.labels != IGNORED] < 0).all()


def test_a_batch_holds_every_drawn_token_of_every_episode_once(model: MiniMind, tokenizer: Tokenizer) -> None:
    groups = sampler(tokenizer).groups(model, TASKS, 4)
    batch = batch_of(groups, tokenizer)
    answers = [answer for group in groups for answer in group]
    assert len(batch.tokens) < len(answers)  # several share a row
    for index, answer in enumerate(answers):
        here = (batch.advantages == index) & (batch.labels != IGNORED)
        drawn = [token for token, acts in zip(answer.episode.tokens, answer.episode.actions, strict=True) if acts]
        assert batch.labels[here].tolist() == drawn
    assert batch.useful_tokens == sum(len(answer.episode.tokens) - 1 for answer in answers)
    assert (batch.token_weights == (batch.labels != IGNORED)).all()
    assert batch.position == Position(1, 0, 3)


def test_the_same_generator_gives_the_same_answers(model: MiniMind, tokenizer: Tokenizer) -> None:
    first, second = sampler(tokenizer), sampler(tokenizer)
    assert first.groups(model, TASKS, 2) == second.groups(model, TASKS, 2)
    state = first.generator.get_state()
    again = first.groups(model, TASKS, 2)
    first.generator.set_state(state)
    assert first.groups(model, TASKS, 2) == again
    assert model.training  # as it was


def test_answers_belong_to_their_tasks_and_stop_where_the_model_ends(model: MiniMind, tokenizer: Tokenizer) -> None:
    groups = sampler(tokenizer, thinking_ratio=1.0).groups(model, TASKS, 3)
    for asked, group in zip(TASKS, groups, strict=True):
        for answer in group:
            assert answer.task is asked
            assert answer.episode.length <= 12
            assert answer.finished == (answer.episode.tokens[-1] in (1, 2))
            head = tokenizer.decode(answer.episode.tokens[: -answer.episode.length], skip_special=False)
            assert head.endswith("<think>\n")


def test_texts_whose_caches_do_not_fit_together_are_written_one_after_the_other(
    model: MiniMind, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, prompts = Engine(model.eval(), tokenizer), [[1, 50 + index, 60] for index in range(5)]

    def likeliest() -> list[list[int]]:
        generator = torch.Generator()
        found = draw_answers(engine, prompts, max_new_tokens=6, temperature=0.0, generator=generator)
        return [one.tokens for one in found]

    together = likeliest()
    monkeypatch.setattr(draw, "CACHE_BYTES", 2 * 9 * 2 * TINY.num_hidden_layers * TINY.hidden_size // 2 * 4)
    opened: list[int] = []
    monkeypatch.setattr(
        draw, "open_readers", lambda e, texts, room: opened.append(len(texts)) or open_readers(e, texts, room)
    )
    assert likeliest() == together
    assert opened == [2, 2, 1]
    assert len({tuple(tokens) for tokens in together}) > 1


def test_a_prompt_without_room_is_refused(model: MiniMind, tokenizer: Tokenizer) -> None:
    engine, generator = Engine(model.eval(), tokenizer), torch.Generator()
    for prompts in ([], [[1] * 512]):
        with pytest.raises(ValueError, match="prompts must be one or more"):
            draw_answers(engine, prompts, max_new_tokens=2, temperature=1.0, generator=generator)


def test_scores_that_are_no_numbers_are_named(model: MiniMind, tokenizer: Tokenizer) -> None:
    with torch.no_grad():
        model.model.norm.weight.fill_(math.nan)
    with pytest.raises(UserError, match="it has diverged"):
        sampler(tokenizer).groups(model, TASKS, 2)


def test_advantages_are_rewards_in_standard_deviations_of_their_group() -> None:
    rewards = torch.tensor([[0.0, 1.0, 2.0, 3.0], [0.3, 0.3, 0.3, 0.3], [1.5, 1.5, 1.5, 0.0]])
    found = group_advantages(rewards)
    deviation = math.sqrt(1.25)
    assert found[0].tolist() == pytest.approx([value / (deviation + 1e-4) for value in (-1.5, -0.5, 0.5, 1.5)])
    assert found[1].tolist() == [0.0] * 4
    assert found[2].tolist() == pytest.approx(
        [0.375 / (math.sqrt(27) / 8 + 1e-4)] * 3 + [-1.125 / (math.sqrt(27) / 8 + 1e-4)]
    )
    assert is_degenerate(rewards).tolist() == [False, True, False]
    assert group_advantages(torch.tensor([[1.0]])).tolist() == [[0.0]]


def test_a_summary_says_what_the_answers_were_worth() -> None:
    made = Task("listing", ({"role": "user", "content": "?"},), ("red",), 1)

    def answer(correct: float, length: int, *, finished: bool) -> Answer:
        episode = Episode((1,) * (length + 2), (False, False) + (True,) * length, (0.0,) * (length + 2))
        return Answer(made, "", episode, {"correct": correct, "repetition": -0.25}, finished, correct)

    groups = [[answer(1.0, 2, finished=True), answer(0.0, 4, finished=False)], [answer(1.0, 3, finished=True)] * 2]
    assert summary(groups) == pytest.approx(
        {
            "reward": 0.5,
            "reward_correct": 0.75,
            "reward_repetition": -0.25,
            "reward_spread": 0.25,
            "degenerate_groups": 0.5,
            "answer_length": 3.0,
            "finished_share": 0.75,
            "entropy": 0.75,
        }
    )


def test_a_batch_comes_back_from_its_tensors(model: MiniMind, tokenizer: Tokenizer) -> None:
    batch = batch_of(sampler(tokenizer).groups(model, TASKS, 2), tokenizer)
    again = RolloutBatch.from_state_tensors(batch.state_tensors())
    assert again.position == batch.position
    assert (again.useful_tokens, again.trained_bytes) == (batch.useful_tokens, batch.trained_bytes)
    for name, tensor in batch.state_tensors().items():
        assert torch.equal(again.state_tensors()[name], tensor)


def test_the_order_of_tasks_goes_on_from_any_position() -> None:
    order = task_order(5, 3, Position())
    found = [next(order) for _ in range(12)]
    assert sorted(index for index, _ in found[:5]) == list(range(5))
    assert sorted(index for index, _ in found[5:10]) == list(range(5))
    assert found[4][1] == Position(1)
    rest = task_order(5, 3, found[6][1])
    assert [next(rest) for _ in range(5)] == found[7:]
