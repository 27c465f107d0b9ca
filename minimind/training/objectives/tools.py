"""Tool use: reinforcement learning over episodes in which the model calls a calculator and works on short texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from minimind.config import SampleConfig, TrainConfig
from minimind.data.agent_tasks import made_task, read_tasks
from minimind.data.corpus import TOOL_QUESTIONS
from minimind.data.shards import Prepared, ReportProgress
from minimind.data.tasks import prepare_tasks
from minimind.data.tokenizer import Tokenizer
from minimind.inference.engine import Engine, Token
from minimind.inference.tool_chat import chat_with_tools
from minimind.training.objectives.cispo import ClippedImportancePolicyOptimization
from minimind.training.tool_episodes import ToolSampler


class ToolUse(ClippedImportancePolicyOptimization):
    """CISPO over whole episodes: an advantage holds for all that the model wrote in all of its turns.

    What the tools returned is read and never learned. An episode has at most `most_turns` turns of `max_new_tokens`
    each and `sequence_length` tokens in all. Rewards as in `minimind.training.tool_rewards`.
    Schick et al. 2023, "Toolformer"; the rewards are those of the released MiniMind trainer.
    """

    prompts = TOOL_QUESTIONS

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

    def prepare_data(
        self,
        config: TrainConfig,
        tokenizer: Tokenizer,
        *,
        cache: Path,
        embedded_bytes: int | None = None,
        progress: ReportProgress | None = None,
    ) -> Prepared:
        """Tasks with right answers: those made here, or those of agent_rl files."""
        del cache, embedded_bytes, progress
        return prepare_tasks(
            config.data,
            tokenizer,
            kinds=(),
            seed=config.seed,
            longest=config.sequence_length - config.max_new_tokens,
            allow_bad=config.allow_bad,
            embedded=made_task,
            read=read_tasks,
        )

    def respond(self, engine: Engine, prompt: str, config: SampleConfig) -> Iterator[Token]:
        """Answer the prompt, doing what the model calls."""
        config = config.replace(max_new_tokens=self._config.max_new_tokens)
        return chat_with_tools(
            engine, [{"role": "user", "content": prompt}], config, most_turns=self._config.most_turns
        )


objective = ToolUse
