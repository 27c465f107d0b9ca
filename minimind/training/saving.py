"""Which checkpoints of a run stay on disk, and to which one it can go back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from minimind.config import TrainConfig
from minimind.training import checkpoint
from minimind.training.state import State


class Saver:
    """A run's checkpoints. Beside the newest ones stay the best and the last *good* one.

    Good is the newest one that the run saved by itself (before its first step and each `save_every` steps, not where a
    person asked) and whose weights have given a healthy update since. So it is a function of the step alone, however
    often the run was interrupted.
    """

    def __init__(self, root: Path, config: TrainConfig) -> None:
        """Checkpoints are directories under `root`."""
        self.root = root
        self._every, self._keep = config.save_every, config.keep_checkpoints

    def write(self, state: State, files: Mapping[str, checkpoint.Content]) -> Path:
        """Save `files` as the checkpoint of this moment. Raises CheckpointError; the earlier ones are intact then."""
        kept = {state.best_step}
        if state.step < state.steps:
            kept.add(self._good_step(state.guards.healthy_step))
        return checkpoint.write(self.root, state.step, files, keep=self._keep, protect=kept)

    def go_back(self, healthy_step: int) -> str | None:
        """The name of the last good checkpoint where `healthy_step` is the last healthy step; later ones are dropped.

        Where it is damaged an older one takes its place; None where there is none.
        """
        directory = checkpoint.latest(self.root, up_to=self._good_step(healthy_step))
        if directory is None:
            return None
        checkpoint.drop_after(directory)
        return directory.name

    def _good_step(self, healthy_step: int) -> int:
        return max(healthy_step - 1, 0) // self._every * self._every
