"""Episodes of several turns: the model writes, what it calls is done, it reads the result and writes on."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from minimind.data.chat import encode_tool_results, prompt_style
from minimind.data.chat_template import OPEN_THOUGHT
from minimind.data.corpus import language_of
from minimind.data.tasks import Task, encode_task
from minimind.data.tokenizer import Tokenizer
from minimind.inference.draw import Drawn, draw_answers
from minimind.inference.engine import Engine
from minimind.inference.tool_chat import tools_for
from minimind.model.transformer import MiniMind
from minimind.tools.calls import Answer as Said
from minimind.tools.calls import read_answer
from minimind.tools.toolbox import ToolResult, run_call
from minimind.training.evaluate import evaluating
from minimind.training.rollouts import Answer, Episode, Group, Sampler
from minimind.training.tool_rewards import Outcome, tool_reward_parts


@dataclass(slots=True)
class _Talk:
    """An episode under way. `open` while the model is to write another turn."""

    task: Task
    thinks: bool
    tokens: list[int]
    prompt: int
    actions: list[bool] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    turns: list[Said] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)
    finished: bool = False
    open: bool = True

    def write(self, drawn: Drawn, tokenizer: Tokenizer) -> None:
        """Take in what the model wrote in its turn, and do what it calls."""
        self._append(drawn.tokens, drawn.log_probabilities)
        self.entropies += drawn.entropies
        ended = drawn.tokens[-1] == tokenizer.eos_id
        thought = OPEN_THOUGHT if self.thinks else ""  # it stands in the prompt, its end in what is written
        said = read_answer(thought + tokenizer.decode(drawn.tokens))
        self.turns.append(said)
        self.open = ended and bool(said.calls)
        self.finished = ended and not said.calls
        if not self.open:
            return
        language, tools = language_of(self.task.question), tools_for(self.task.messages)
        results = [run_call(call, language, tools) for call in said.calls]
        self.results += results
        texts = [result.text for result in results]
        style = prompt_style(tokenizer)
        self._append(encode_tool_results(tokenizer, texts, open_thinking=self.thinks, style=style), None)

    def _append(self, tokens: Sequence[int], log_probabilities: Sequence[float] | None) -> None:
        """Tokens the model drew, or (without probabilities) ones it reads."""
        self.tokens += tokens
        self.actions += [log_probabilities is not None] * len(tokens)
        self.log_probabilities += log_probabilities or [0.0] * len(tokens)

    def close(self, tokenizer: Tokenizer) -> Answer:
        """The episode with its reward. Results that no turn of the model's follows are left off."""
        length = max(place for place, action in enumerate(self.actions, 1) if action)
        valid = sum(result.valid for result in self.results)
        bad = len([call for said in self.turns for call in said.calls]) - valid
        unbalanced = sum(said.unbalanced for said in self.turns)
        outcome = Outcome(self.turns[-1].content, valid, bad, unbalanced, self.finished)
        episode = Episode(
            tuple(self.tokens[: self.prompt + length]),
            (False,) * self.prompt + tuple(self.actions[:length]),
            (0.0,) * self.prompt + tuple(self.log_probabilities[:length]),
        )
        text = tokenizer.decode(self.tokens[self.prompt : self.prompt + length])
        parts = tool_reward_parts(self.task.expected, outcome)
        return Answer(self.task, text, episode, parts, self.finished, statistics.fmean(self.entropies))


class ToolSampler(Sampler):
    """Plays episodes in which the model may call tools, many at once, with a random generator of its own."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        seed: int,
        max_new_tokens: int,
        temperature: float,
        thinking_ratio: float = 0.0,
        most_turns: int,
        longest: int,
    ) -> None:
        """At most `most_turns` turns of `max_new_tokens` each; none begins where the episode could pass `longest` tokens."""
        super().__init__(
            tokenizer,
            seed=seed,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            thinking_ratio=thinking_ratio,
        )
        self.most_turns, self.longest = most_turns, longest

    def groups(self, model: MiniMind, tasks: Sequence[Task], group_size: int) -> list[Group]:
        """`group_size` episodes of each of `tasks`, all played together, with their rewards. Dropout is off."""
        chances = torch.rand(len(tasks), generator=self.generator).tolist()
        talks: list[_Talk] = []
        for task, chance in zip(tasks, chances, strict=True):
            thinks = chance < self.thinking_ratio
            prompt = encode_task(self.tokenizer, task, open_thinking=thinks)
            talks += [_Talk(task, thinks, list(prompt), len(prompt)) for _ in range(group_size)]
        with evaluating(model):
            engine = Engine(model, self.tokenizer)
            engine.use_native()
            for turn in range(self.most_turns):
                active = [talk for talk in talks if talk.open and (turn == 0 or self._fits(talk))]
                if active:
                    self._turn(engine, active)
        answers = [talk.close(self.tokenizer) for talk in talks]
        return [answers[start : start + group_size] for start in range(0, len(answers), group_size)]

    def _fits(self, talk: _Talk) -> bool:
        return len(talk.tokens) + self.max_new_tokens <= self.longest

    def _turn(self, engine: Engine, talks: Sequence[_Talk]) -> None:
        drawn = draw_answers(
            engine,
            [talk.tokens for talk in talks],
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            generator=self.generator,
        )
        for talk, one in zip(talks, drawn, strict=True):
            talk.write(one, self.tokenizer)
