"""What the end-to-end tests share: the installed program, a home of its own, and no process left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.terminal import Terminal

BIN = Path(sys.executable).parent


class Machine:
    """A person's machine: the installed commands and one home directory."""

    def __init__(self, home: Path) -> None:
        self.env = {"MINIMIND_HOME": str(home), "HOME": str(home.parent), "OMP_NUM_THREADS": "1"}

    def app(self, *arguments: str, columns: int = 100, rows: int = 30) -> Terminal:
        """The app in a terminal."""
        return Terminal([str(BIN / "minimind-tui"), *arguments], self.env, columns=columns, rows=rows)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """An installed command (`minimind …`, or `python -m lessons …`), to its end."""
        env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | self.env
        done = subprocess.run(
            [BIN / command[0], *command[1:]], env=env, capture_output=True, text=True, check=False, timeout=180
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def runs(self) -> list[dict[str, Any]]:
        """What `minimind runs list --json` says, newest first."""
        return [json.loads(line) for line in self.run("minimind", "runs", "list", "--json").stdout.splitlines()]


@pytest.fixture
def machine(home: Path) -> Iterator[Machine]:
    """A machine whose runs are ended with the test."""
    place = Machine(home)
    yield place
    for run in place.runs():
        if run["live"]:
            place.run("minimind", "runs", "stop", run["id"], check=False)
