"""What running the content shows to be wrong: exercises that do not judge, experiments whose claims do not hold.

The tests run every experiment small (`smoke`); `run_budget` runs one as a learner would, at a budget.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lessons.catalogue import claims_of, load_experiment
from lessons.doctor import Problem
from lessons.exercise import Exercise
from lessons.lesson import Lesson, load_lesson, load_lessons
from lessons.predictions import judge
from minimind.events import Claim, Text, from_dict, to_dict
from minimind.experiment import BUDGET_CPU_SECONDS, SMOKE_CPU_SECONDS, Budget, Experiment, Value

SELF_TEST_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """A run of an experiment at a budget: the CPU-seconds it took, its claims, and what is wrong with it."""

    experiment: str
    seconds: float
    claims: tuple[Claim, ...]
    problems: tuple[Problem, ...]


def run_budget(lesson: Lesson, name: str, budget: Budget) -> Measured:
    """Run the experiment `name` of `lesson` at `budget` on this process's threads.

    It must keep to the budget's CPU-seconds, and no claim may be refuted; with the seeds of ``standard`` and ``deep``
    none may stay open either.
    """
    experiment = load_experiment(name, lesson.directory.parent)
    where = f"{lesson.slug}/experiments/{name}.py"
    began = time.process_time()
    claims = claims_of(list(experiment.run(experiment.budget(budget))))
    seconds = time.process_time() - began
    wrong = [claim for claim in claims if claim.holds is False or (claim.holds is None and budget != "quick")]
    problems = [_too_slow(where, seconds, BUDGET_CPU_SECONDS[budget])] if seconds > BUDGET_CPU_SECONDS[budget] else []
    return Measured(name, seconds, claims, (*problems, *(_not_so(where, claim) for claim in wrong)))


def _too_slow(where: str, seconds: float, limit: float) -> Problem:
    return Problem(
        where,
        Text(f"it takes {seconds:.1f} CPU-seconds, more than {limit:g}", f"用了 {seconds:.1f} CPU 秒，超过 {limit:g}"),
    )


def _not_so(where: str, claim: Claim) -> Problem:
    numbers = ", ".join(f"{key} = {value:.3g}" for key, value in claim.measured.items())
    if claim.holds is None:
        return Problem(where, Text(f"claim {claim.id} stays open: {numbers}", f"结论 {claim.id} 无法判定：{numbers}"))
    return Problem(where, Text(f"claim {claim.id} does not hold: {numbers}", f"结论 {claim.id} 不成立：{numbers}"))


def examine_by_running(root: Path | None = None, slug: str | None = None) -> Iterator[Problem]:
    """Run the experiments, small, and the exercises of every lesson (or of `slug`) on one thread."""
    with one_thread():
        for lesson in load_lessons(root) if slug is None else (load_lesson(slug, root),):
            for name in lesson.experiments:
                yield from _experiment(lesson, name, root)
            for exercise in lesson.exercises:
                yield from _exercise(exercise)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, so that CPU-seconds can be compared."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _experiment(lesson: Lesson, name: str, root: Path | None) -> Iterator[Problem]:
    where = f"{lesson.slug}/experiments/{name}.py"
    experiment = load_experiment(name, root)
    began = time.process_time()
    events = list(experiment.run(dict(experiment.smoke)))
    seconds = time.process_time() - began
    if seconds > SMOKE_CPU_SECONDS:
        yield _too_slow(where, seconds, SMOKE_CPU_SECONDS)
    claims = claims_of(list(events))
    if not claims:
        yield Problem(where, Text("it makes no claim", "没有给出任何结论"))
    for claim in claims:
        if claim.holds is False:
            yield _not_so(where, claim)
    for event in events:
        if not _same(from_dict(to_dict(event)), event):
            yield Problem(
                where, Text(f"an event does not survive JSON: {event!r:.80}", f"有事件无法存为 JSON：{event!r:.80}")
            )
            break
    if experiment.predict is not None and not _decides(experiment, claims):
        yield Problem(where, Text("a prediction is asked for but not decided", "要求预测，却没有给出结果"))
    yield from _recording(lesson, name, claims, experiment.resolve())


def _decides(experiment: Experiment, claims: tuple[Claim, ...]) -> bool:
    """Whether the claims say which choice came true, or which number."""
    anything = 0.0 if experiment.number is None else experiment.number.low
    return judge(experiment, anything, claims).truth is not None


def _same(first: object, second: object) -> bool:
    """Equal as events go: NaN equals NaN, so their text is compared."""
    return repr(first) == repr(second)


def _recording(lesson: Lesson, name: str, claims: tuple[Claim, ...], defaults: dict[str, Value]) -> Iterator[Problem]:
    """The recorded claims are those the experiment makes, with its default values."""
    recording = lesson.recordings.get(name)
    if recording is None:
        return
    where = f"{lesson.slug}/recorded.json: {name}"
    again = f"python -m lessons record {lesson.slug}"
    if dict(recording.values) != defaults or {c.id for c in claims} - {c.id for c in recording.claims}:
        yield Problem(where, Text(f"recorded with an older version: {again}", f"记录已过时：{again}"))
    for claim in recording.claims:
        if claim.holds is not True:
            yield Problem(where, Text(f"claim {claim.id} does not hold as recorded", f"记录中的结论 {claim.id} 不成立"))


def _exercise(exercise: Exercise) -> Iterator[Problem]:
    from lessons.checking import load_check, run_check, self_test

    where = f"{exercise.lesson}/exercises/{exercise.name}"
    check = load_check(exercise.directory / "check.py")
    known, made = {mutant.id for mutant in exercise.mutants}, set(check.mutants)
    if known != made:
        differing = ", ".join(sorted(known ^ made))
        text = Text(f"hints and mutants differ: {differing}", f"提示与错误实现不一致：{differing}")
        yield Problem(where, text)
    for seed in range(SELF_TEST_SEEDS):
        for problem in self_test(check, seed):
            yield Problem(where, Text(f"with seed {seed}, {problem}", f"种子 {seed}：{problem}"))
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "learner.py"
        file.write_text(exercise.stub, encoding="utf-8")
        if run_check(check, file, 0)["stages"][-1]["passed"]:
            yield Problem(where, Text("the stub passes", "骨架竟然能通过"))
        file.write_text(exercise.solution, encoding="utf-8")
        last = run_check(check, file, 0)["stages"][-1]
        if not last["passed"]:
            said = last["message"]
            yield Problem(where, Text(f"the solution fails: {said['en']}", f"参考答案没有通过：{said['zh']}"))
