"""What a learner predicted of an experiment, kept and set beside what came out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lessons.progress import LessonProgress, Missed
from lessons.recorded import PREDICTION
from minimind.errors import UserError
from minimind.events import Claim, Text
from minimind.experiment import Experiment
from minimind.figures import show_number


@dataclass(frozen=True, slots=True)
class Judged:
    """A prediction in words, what came out (None before a run), and whether the two agree."""

    yours: Text
    truth: Text | None = None
    is_right: bool | None = None


def prediction_of(experiment: Experiment, record: LessonProgress) -> float | None:
    """The place of the choice, or the number, that was predicted of `experiment`; None where nothing was."""
    kept = record.predictions if experiment.number is None else record.guesses
    found = kept.get(experiment.name)
    return found if found is not None and _fault(experiment, found) is None else None


def keep_prediction(experiment: Experiment, record: LessonProgress, prediction: float) -> None:
    """Keep the place of a choice, or a number, in `record`. Raises UserError where it can be none."""
    fault = _fault(experiment, prediction)
    if fault is not None:
        raise UserError(fault.en, fault.zh)
    if experiment.number is None:
        record.predictions[experiment.name] = int(prediction)
    else:
        record.guesses[experiment.name] = float(prediction)


def _fault(experiment: Experiment, prediction: float) -> Text | None:
    number = experiment.number
    if number is not None:
        if number.low <= prediction <= number.high:
            return None
        bounds = f"{number.low:g}…{number.high:g}"
        return Text(f"the prediction is a number {bounds}", f"预测是 {bounds} 之间的数字")
    if 0 <= prediction < len(experiment.choices) and prediction == int(prediction):
        return None
    count = len(experiment.choices)
    return Text(f"the prediction is a number 1…{count}", f"预测是 1…{count} 之间的数字")


def judge(experiment: Experiment, prediction: float, claims: Iterable[Claim]) -> Judged:
    """`prediction` beside what the claim ``prediction`` measured."""
    yours = said(experiment, prediction)
    claim = next((claim for claim in claims if claim.id == PREDICTION), None)
    truth = None if claim is None else claim.measured.get("choice" if experiment.number is None else "number")
    if truth is None:
        return Judged(yours)
    if experiment.number is not None:
        return Judged(yours, said(experiment, truth), experiment.number.is_right(prediction, truth))
    if not 0 <= truth < len(experiment.choices):
        return Judged(yours)
    return Judged(yours, said(experiment, truth), int(truth) == int(prediction))


def said(experiment: Experiment, value: float) -> Text:
    """A choice by its place, or a number with its unit, in words."""
    if experiment.number is None:
        return experiment.choices[int(value)]
    unit = experiment.number.unit
    number = show_number(value)
    return Text(number, number) if unit is None else Text(f"{number} {unit.en}", f"{number} {unit.zh}")


def keep_outcome(experiment: Experiment, record: LessonProgress, claims: Iterable[Claim]) -> None:
    """Where the prediction in `record` did not come true, keep what did: it will be asked again as a review card."""
    claims = tuple(claims)
    prediction = prediction_of(experiment, record)
    if prediction is None or experiment.predict is None or judge(experiment, prediction, claims).is_right is not False:
        return
    measured = next(claim for claim in claims if claim.id == PREDICTION).measured
    if experiment.number is None:
        missed = Missed(experiment.predict, measured["choice"], experiment.choices)
    else:
        number = experiment.number
        missed = Missed(
            experiment.predict,
            measured["number"],
            within=number.within,
            margin=number.margin,
            unit=number.unit,
        )
    record.mark_missed(experiment.name, missed)
