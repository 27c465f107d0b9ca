"""Tool use: reinforcement learning over episodes in which the model calls a calculator and works on short texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from minimind.config import SampleConfig, TrainConfig
from minimind.data.agent_tasks import made_task, read_tasks, strange_tools
from minimind.data.corpus import TOOL_QUESTIONS
from minimind.data.shards import Prepared
from minimind.data.tokenizer import Tokenizer
from minimind.events import Alert, Event, Text
from minimind.inference.engine import Engine, Token
from minimind.inference.tool_chat import chat_with_tools
from minimind.safe_text import clean_line
from minimind.training.objective import Setting
from minimind.training.objectives.cispo import ClippedImportancePolicyOptimization
from minimind.training.policy import tasks_of
from minimind.training.tool_episodes import ToolSampler

_CALL_TOKENS = 96
"""What the call of a tool takes in the smallest vocabulary, with room for a second one."""
_NO_CALLS = Text(
    "none of the first episodes calls a tool, so there is nothing to learn from: teach the model the format first, "
    "with minimind train sft --data embedded-tools",
    "最初的几个回合都没有调用工具，因此无从学起：请先用 minimind train sft --data embedded-tools 教模型学会调用格式",
)


class ToolUse(ClippedImportancePolicyOptimization):
    """CISPO over whole episodes: an advantage holds for all that the model wrote in all of its turns.

    What the tools returned is read and never learned. An episode has at most `most_turns` turns of `max_new_tokens`
    each and `sequence_length` tokens in all. Rewards as in `minimind.training.tool_rewards`.
    Schick et al. 2023, "Toolformer"; the rewards are those of the released MiniMind trainer.
    """

    prompts = TOOL_QUESTIONS

    def prepare(self, setting: Setting) -> None:
        """Begin as every such method; the first episodes will show whether the model calls tools at all."""
        super().prepare(setting)
        self._unsure = True

    def _make_sampler(self, seed: int) -> ToolSampler:
        """One that plays episodes."""
        config = self._config
        return ToolSampler(
            self._tokenizer,
            seed=seed,
            max_new_tokens=config.max_new_tokens,
            temperature=config.rollout_temperature,
            thinking_ratio=config.thinking_ratio,
            most_turns=config.most_turns,
            longest=config.sequence_length,
        )

    def _prepare_tasks(self, config: TrainConfig, tokenizer: Tokenizer, **about: Any) -> Prepared:
        """Tasks with right answers: those made here, or those of agent_rl files."""
        made = about | {"kinds": (), "embedded": made_task, "read": read_tasks}
        prepared = super()._prepare_tasks(config, tokenizer, **made)
        count, names = strange_tools(tasks_of(prepared.train))
        if not count:
            return prepared
        listed = clean_line(", ".join(names), 120)
        note = Text(
            f"{count} of {len(prepared.train)} tasks declare tools that are not here ({listed}): calls of them fail",
            f"{len(prepared.train)} 个任务中有 {count} 个声明了本机没有的工具（{listed}）：调用它们会失败",
        )
        return replace(prepared, notes=(*prepared.notes, note))

    def events(self, step: int) -> Iterator[Event]:
        """What episodes were worth; once, that a model which never calls a tool has nothing to be rewarded for."""
        told = [answer.text for group in self._news for answer in group]
        yield from super().events(step)
        if self._unsure and told and not any("</tool_call>" in text for text in told):
            yield Alert("warning", "no-tool-calls", _NO_CALLS, step)
        self._unsure = self._unsure and not told

    def respond(self, engine: Engine, prompt: str, config: SampleConfig) -> Iterator[Token]:
        """Answer the prompt, doing what the model calls; a turn is long enough for a call."""
        longer = config.replace(max_new_tokens=max(config.max_new_tokens, _CALL_TOKENS))
        return chat_with_tools(engine, [{"role": "user", "content": prompt}], longer)


objective = ToolUse
