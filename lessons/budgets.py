"""What a run costs, and which budget its values are."""

from __future__ import annotations

from collections.abc import Mapping

from lessons.recorded import Recording
from minimind.errors import UserError
from minimind.experiment import BUDGETS, Budget, Experiment, Value

_WORK = ("seeds", "steps")
"""Parameters to which, by the course's convention, the work of an experiment is proportional."""


def values_of(experiment: Experiment, budget: Budget, given: Mapping[str, Value] | None = None) -> dict[str, Value]:
    """The values of a run of `budget` on a page that sets `given`, which come before the budget's. Raises UserError."""
    return experiment.resolve({**experiment.budget(budget), **(given or {})})


def budgets_of(
    experiment: Experiment, values: Mapping[str, Value], given: Mapping[str, Value] | None = None
) -> tuple[Budget, ...]:
    """The budgets that `values` are; none where a person set values of their own."""
    return tuple(budget for budget in BUDGETS if values_of(experiment, budget, given) == dict(values))


def parse_budget(text: str) -> Budget:
    """The budget called `text`. Raises UserError."""
    for budget in BUDGETS:
        if budget == text:
            return budget
    names = " | ".join(BUDGETS)
    raise UserError(f"no budget {text!r}: use {names}", f"没有预算 {text!r}：请用 {names}")


def expected_seconds(experiment: Experiment, values: Mapping[str, Value], recording: Recording | None) -> float | None:
    """About how many CPU-seconds a run with `values` takes, from those `recording` measured; None where it has none.

    Other values than a measured budget's are taken to cost in proportion to their seeds and steps.
    """
    if recording is None:
        return None
    measured = {budget: recording.seconds[budget] for budget in BUDGETS if budget in recording.seconds}
    for budget, seconds in measured.items():
        if experiment.budget(budget) == dict(values):
            return seconds
    for budget in ("standard", "quick", "deep"):
        if budget in measured:
            return measured[budget] * _work(values) / _work(experiment.budget(budget))
    return None


def _work(values: Mapping[str, Value]) -> float:
    product = 1.0
    for name in _WORK:
        value = values.get(name, 1)
        product *= value if isinstance(value, (int, float)) and value > 0 else 1
    return product
