"""Runs killed at random moments, in short: ``python -m tests.faults`` kills as often as one likes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import faults


def campaign(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults", *arguments]
    return subprocess.run(
        command, cwd=Path(faults.__file__).parents[1], capture_output=True, text=True, check=False, timeout=500
    )


def test_random_kills_lose_and_change_nothing() -> None:
    """In a process of its own: children are forked, which a process that has computed gradients cannot do."""
    result = campaign("--kills", "8", "--objectives", "sft")
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result.stdout)
    assert report["kills"] == 8
    assert report["rounds"] >= 1
    assert faults.Report(**report).good


@pytest.mark.parametrize(
    "broken",
    [{"lost": 1}, {"corrupt": 1}, {"divergent": 1}, {"unreadable": 2}, {"failed": ["why"]}],
)
def test_a_campaign_that_found_something_is_not_good(broken: dict[str, object]) -> None:
    assert faults.Report(kills=3, rounds=1).good
    assert not faults.Report(**broken).good  # type: ignore[arg-type]
