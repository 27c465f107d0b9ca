"""Runs with a fake trainer, and the certainty that nothing of them is left behind."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minimind.config import TrainConfig
from minimind.training.processes import processes_with_variable, send_signal
from minimind.training.run_files import RUN_VARIABLE
from minimind.training.runs import create_run

FAKE_TRAINER = Path(__file__).with_name("fake_trainer.py")


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for a condition; what does not come within the seconds given is a failure."""

    def wait(condition: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)

    return wait


@pytest.fixture
def run_directory(home: Path) -> Path:
    """A run that was never started."""
    return create_run(TrainConfig()).directory


@pytest.fixture
def fake(home: Path) -> Iterator[Callable[..., list[str]]]:
    """The command of a fake trainer for a run directory, with the behaviour given; ends what is left at the end."""
    directories: set[Path] = set()

    def command(directory: Path, **behaviour: object) -> list[str]:
        directories.add(directory)
        arguments = [f"{name}={value}" for name, value in behaviour.items()]
        return [sys.executable, "-S", str(FAKE_TRAINER), str(directory), *arguments]

    yield command
    for directory in directories:
        for identity in processes_with_variable(RUN_VARIABLE, str(directory.resolve())):
            send_signal(identity, signal.SIGKILL)
