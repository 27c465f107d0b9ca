"""What is wrong with a run, and what to do about it: rules over what it recorded. No torch.

`diagnose` reads nothing itself: give it a `RunView` that has been refreshed to the end. It costs milliseconds for a
few thousand steps, so that a screen may ask every few seconds; rules say nothing where there is too little to tell.
"""

from __future__ import annotations

from collections.abc import Callable

from minimind.training.rules import alignment, data, machine, optimisation
from minimind.training.rules.finding import SEVERITIES, Finding, Record, Severity
from minimind.training.run_view import RunView

__all__ = ["RULES", "SEVERITIES", "Finding", "Severity", "diagnose"]

RULES: tuple[Callable[[Record], Finding | None], ...] = (
    optimisation.rate_too_high,
    optimisation.spike,
    optimisation.plateau,
    optimisation.rate_too_low,
    data.mask_share,
    data.repeated_data,
    data.held_out_gap,
    alignment.preference_margin,
    alignment.degenerate_groups,
    machine.data_wait,
    machine.throughput_drop,
)
"""Every rule, in the order in which equally grave findings are told."""


def diagnose(view: RunView) -> list[Finding]:
    """What the rules find in what `view` has read so far, worst first; empty for a run that looks well.

    Raises UserError for an unreadable run.
    """
    record = Record(view)
    found = [finding for rule in RULES if (finding := rule(record)) is not None]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
