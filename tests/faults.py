"""Kill a training run at random moments and look at what is left: ``python -m tests.faults --kills 200``.

Each round is one run, trained by the real worker in forked children that get SIGKILL at a random moment after they began
to step, save and rotate, and resumed until it is finished. After every kill the newest checkpoint must be whole and none
that was complete may be gone; at the end weights, optimiser and the loss curve must be those of a run that nobody
disturbed, bit for bit. Exit status 1 where anything is not so.

torch is imported once and no gradient is computed before a fork: autograd's threads would not survive it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # every optimiser loads it: once here instead of in each child

from minimind import paths
from minimind.config import MODEL_PRESETS, PRESET_TOKENIZERS, TrainConfig
from minimind.training import checkpoint, loop, worker
from minimind.training.runs import RunView, create_run
from tests.minimind.training.conftest import SETTINGS, TINY
from tests.minimind.training.listening import needs

STEPS = 30
_SPAN = 0.3
"""A kill comes at most this share of an undisturbed run's time after a child began to train: some nine updates."""
_FILES = ("model.safetensors", "optimizer.safetensors")


@dataclass(slots=True)
class Report:
    """What a campaign found. Everything but the first five must be 0.

    while_saving   kills that left a half-written or half-removed directory behind (which no reader takes for a checkpoint)
    lost           kills after which a checkpoint that had been complete was gone, and not by rotation
    corrupt        directories with a checkpoint's name that were not whole
    divergent      finished runs whose weights, optimiser or losses differ from the undisturbed run's
    unreadable     lines in a finished run's events that are no records
    """

    kills: int = 0
    while_saving: int = 0
    rounds: int = 0
    steps_repeated: int = 0
    seconds: float = 0.0
    lost: int = 0
    corrupt: int = 0
    divergent: int = 0
    unreadable: int = 0
    failed: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.lost or self.corrupt or self.divergent or self.unreadable or self.failed)


class Campaign:
    """Kills on runs of one training method."""

    def __init__(self, settings: dict[str, Any], seed: int, report: Report) -> None:
        self._config = TrainConfig.from_dict(SETTINGS | {"save_every": 2, "keep_checkpoints": 2} | settings)
        self._chance = random.Random(seed)
        self._report = report
        undisturbed, began = self._run(), time.monotonic()
        self._train(undisturbed, None)
        self._span = _SPAN * (time.monotonic() - began)
        self._expected = self._end_of(undisturbed)

    def round(self, most_kills: int) -> None:
        """One run, killed until it is finished or `most_kills` are done, and then let finish."""
        directory, report = self._run(), self._report
        reached = -1
        for _ in range(most_kills):
            if self._train(directory, self._chance.uniform(0, self._span)):
                break
            report.kills += 1
            reached = self._look(directory, reached)
        else:
            self._train(directory, None)
        report.rounds += 1
        report.divergent += self._end_of(directory) != self._expected
        view = RunView(directory)
        view.refresh()
        report.unreadable += view.bad_records
        view.close()

    def _run(self) -> Path:
        return create_run(self._config, argv=("tests.faults",)).directory

    def _train(self, directory: Path, kill_after: float | None) -> bool:
        """Go on with a run in a child, killed after a while unless None; returns whether it finished."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _train_and_exit(directory, writing)
        os.close(writing)
        select.select([reading], [], [], 60)
        if kill_after is not None:
            select.select([], [], [], kill_after)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(reading)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
            self._report.failed.append((directory / "final.json").read_text(encoding="utf-8"))
        return os.WIFEXITED(status)

    def _look(self, directory: Path, reached: int) -> int:
        """Judge what a kill left; returns the step of the newest checkpoint."""
        root, report = directory / "checkpoints", self._report
        report.while_saving += root.exists() and any(entry.name.startswith(".tmp-") for entry in root.iterdir())
        for step in checkpoint.steps(root):
            try:
                checkpoint.validate(checkpoint.directory_for(root, step))
            except checkpoint.CheckpointError:
                report.corrupt += 1
        newest = checkpoint.latest(root)
        now = -1 if newest is None else checkpoint.step_of(newest) or 0
        report.lost += now < reached
        view = RunView(directory)
        view.refresh()
        report.steps_repeated += max(0, view.step - max(now, 0))
        view.close()
        return now

    def _end_of(self, directory: Path) -> tuple[Any, ...]:
        """All that has to be equal: the last checkpoint's tensors, the position in the data, the curves."""
        last = checkpoint.directory_for(directory / "checkpoints", STEPS)
        view = RunView(directory)
        view.refresh()
        curves = {name: (view.series[name].x, view.series[name].y) for name in ("loss", "validation_loss")}
        view.close()
        position = json.loads((last / "state.json").read_text(encoding="utf-8"))["state"]["position"]
        return *((last / name).read_bytes() for name in _FILES), position, curves


def _train_and_exit(directory: Path, begun: int) -> None:
    """In the child: tell when training begins, train, and leave without the parent's clean-up."""
    code = 1
    try:
        train = loop.Trainer.run

        def run(trainer: loop.Trainer) -> loop.Verdict:
            os.write(begun, b".")
            return train(trainer)

        loop.Trainer.run = run  # type: ignore[method-assign]
        code = worker.run(directory)
    finally:
        os._exit(code)


def campaign(kills: int, methods: Sequence[dict[str, Any]], seed: int) -> Report:
    """At least `kills` kills (where every run is long enough), spread over the `methods`; in a home of its own."""
    report, began = Report(), time.monotonic()
    torch.set_num_threads(1)
    MODEL_PRESETS["tiny"], PRESET_TOKENIZERS["tiny"] = TINY, "nano-2048"
    loop.SAMPLE_TOKENS = 2
    with tempfile.TemporaryDirectory(prefix="minimind-faults-") as home:
        paths.use_home(home)
        campaigns = [Campaign({"steps": STEPS, **method}, seed + n, report) for n, method in enumerate(methods)]
        while report.kills < kills and report.good:
            campaigns[report.rounds % len(campaigns)].round(kills - report.kills)
    report.seconds = round(time.monotonic() - began, 1)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign and print what it found; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--objectives", default="pretrain,sft,dpo", metavar="NAME,NAME")
    options = parser.parse_args(arguments)
    methods = [needs(name) for name in options.objectives.split(",")]
    report = campaign(options.kills, methods, options.seed)
    sys.stdout.write(json.dumps(asdict(report)) + "\n")
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
