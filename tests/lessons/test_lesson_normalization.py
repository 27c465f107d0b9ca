"""The lesson on normalization, run: claims hold at a small size, exercises judge, its formulas are drawn."""

from __future__ import annotations

from lessons.doctor_runs import examine_by_running


def test_what_the_lesson_says_is_so() -> None:
    """Small experiments within their CPU time and with claims that hold, stub fails, solution passes, mutants known."""
    assert list(examine_by_running(slug="normalization")) == []
