"""Syntax trees made by several threads at once."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lessons.code import resolve
from minimind.calculator import calculate
from minimind.model import transformer


class Slow:
    """Garbage in a cycle whose end runs enough Python for the threads to be switched in the middle of a collection."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        for _ in range(50):
            pass


@pytest.fixture
def _collects_all_the_time() -> Iterator[None]:
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(20)
    sys.setswitchinterval(1e-6)
    yield
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_collects_all_the_time")
def test_threads_may_read_code_and_formulas_at_once() -> None:
    text = Path(transformer.__file__).read_text(encoding="utf-8")

    def reads(_: int) -> tuple[bool, float]:
        Slow()
        return resolve("minimind.model.transformer:Attention").text in text, calculate("+".join("1" * 50))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(reads, range(40))) == [(True, 50.0)] * 40
