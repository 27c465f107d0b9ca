"""What an author does on the command line: check, record, new."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

from lessons.budgets import parse_budget
from lessons.catalogue import claims_of, load_experiment
from lessons.doctor import Problem, accept, examine
from lessons.doctor_runs import Measured, examine_by_running, one_thread, run_budget
from lessons.lesson import lessons_directory, load_lesson, load_lessons
from lessons.recorded import VERDICTS, Recording
from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.errors import UserError
from minimind.events import Claim, to_dict
from minimind.experiment import BUDGET_CPU_SECONDS, BUDGETS, Budget
from minimind.figures import show_number

_SLUG = re.compile(r"^[a-z][a-z0-9_]*$")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the author's commands."""
    parser = subparsers.add_parser("check", help="find what is wrong with the lessons / 检查课程内容")
    parser.add_argument("slug", metavar="LESSON", nargs="?", default=None)
    parser.add_argument("--no-run", action="store_true", help="read only, run nothing / 只读不跑")
    parser.add_argument("--accept", action="store_true", help="the shown code was read again / 已重读所展示的代码")
    parser.add_argument(
        "--budget",
        default=None,
        metavar="|".join(BUDGETS),
        help="run the experiments at this budget instead / 改为按此预算运行实验",
    )
    parser.set_defaults(run=check_lessons)
    parser = subparsers.add_parser(
        "record", help="record an experiment's claims for the prose / 记录实验结论供课文引用"
    )
    parser.add_argument("slug", metavar="LESSON")
    parser.add_argument("experiments", metavar="EXPERIMENT", nargs="*")
    parser.add_argument("--deep", action="store_true", help="time the deep budget too / 也测量深入预算")
    parser.set_defaults(run=record_lesson)
    parser = subparsers.add_parser("new", help="begin a lesson from the template / 从模板新建一课")
    parser.add_argument("slug", metavar="LESSON")
    parser.add_argument("--into", type=Path, default=None, metavar="DIR", help="where / 放在哪里")
    parser.set_defaults(run=new_lesson)


def check_lessons(arguments: argparse.Namespace, output: Output) -> int:
    """Print every problem found; exit status 1 when there is one. Raises UserError for a lesson that is not there."""
    if arguments.slug is not None:
        _folder_of(arguments.slug)
    budget = None if arguments.budget is None else parse_budget(arguments.budget)
    if arguments.accept:
        for path in accept(slug=arguments.slug):
            output.say(str(path))
    problems = list(examine(slug=arguments.slug))
    if budget is not None:
        problems += _run_at(budget, arguments.slug, output)
    elif not problems and not arguments.no_run:
        problems += examine_by_running(slug=arguments.slug)
    for problem in problems:
        said = problem.text.of(output.language)
        output.emit({"where": problem.where, "problem": said}, f"{problem.where}: {said}" if problem.where else said)
    count = len(problems)
    output.say(output.pick(f"{count} problems", f"{count} 个问题"))
    return 1 if count else 0


def _run_at(budget: Budget, slug: str | None, output: Output) -> list[Problem]:
    """Run the experiments at `budget`, printing what each claim measured; returns what is wrong."""
    problems: list[Problem] = []
    with one_thread():
        for lesson in load_lessons() if slug is None else (load_lesson(slug),):
            for name in lesson.experiments:
                measured = run_budget(lesson, name, budget)
                problems += measured.problems
                _tell_measured(lesson.slug, budget, measured, output)
    return problems


def _tell_measured(slug: str, budget: Budget, measured: Measured, output: Output) -> None:
    limit = BUDGET_CPU_SECONDS[budget]
    rows = [(f"  {claim.id}", VERDICTS[claim.holds].of(output.language), _numbers(claim)) for claim in measured.claims]
    said = output.pick(f"{measured.seconds:.1f} of {limit:g} CPU-seconds", f"{measured.seconds:.1f}/{limit:g} CPU 秒")
    output.emit(
        {
            "lesson": slug,
            "experiment": measured.experiment,
            "budget": budget,
            "seconds": round(measured.seconds, 2),
            "limit": limit,
            "claims": [to_dict(claim) for claim in measured.claims],
        },
        f"{slug}/{measured.experiment}  {BUDGETS[budget].of(output.language)}  {said}\n{in_columns(rows)}\n",
    )


def _numbers(claim: Claim) -> str:
    return "  ".join(f"{name} = {show_number(value)}" for name, value in claim.measured.items())


def _folder_of(slug: str) -> Path:
    """The folder of a lesson, broken or not. Raises UserError where there is none."""
    folder = lessons_directory() / slug
    if not (folder / "module.toml").is_file():
        raise UserError(f"no lesson {slug!r}", f"没有课程 {slug!r}")
    return folder


def record_lesson(arguments: argparse.Namespace, output: Output) -> int:
    """Run a lesson's experiments on one thread and keep the claims of the default values, and what each budget costs."""
    folder = _folder_of(arguments.slug)
    budgets = [budget for budget in BUDGETS if budget != "deep" or arguments.deep]
    path = folder / "recorded.json"
    data = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    names = arguments.experiments or sorted(file.stem for file in folder.glob("experiments/[a-z]*.py"))
    for name in names:
        before: dict[str, float] = data.get(name, {}).get("seconds", {})
        recording = _record(name, budgets)
        recording = replace(recording, seconds={**before, **recording.seconds})
        data[name] = recording.to_dict()
        verdicts = {claim.id: claim.holds for claim in recording.claims}
        output.emit(
            {"experiment": name, "claims": verdicts, "seconds": dict(recording.seconds)},
            f"{name}: {verdicts} {dict(recording.seconds)}",
        )
        path.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return 0


def _record(name: str, budgets: list[Budget]) -> Recording:
    """Run the experiment `name` at each of `budgets`; the claims are those of ``standard``."""
    import torch

    experiment = load_experiment(name)
    seconds: dict[str, float] = {}
    claims: tuple[Claim, ...] = ()
    with one_thread():
        for budget in budgets:
            began = time.process_time()
            found = claims_of(list(experiment.run(experiment.budget(budget))))
            seconds[budget] = round(time.process_time() - began, 2)
            if budget == "standard":
                claims = found
    made = f"PyTorch {torch.__version__.partition('+')[0]}, CPU × 1, {time.strftime('%Y-%m-%d')}"
    return Recording(experiment.resolve(), claims, made, seconds)


def new_lesson(arguments: argparse.Namespace, output: Output) -> int:
    """Copy the template, with the lesson's name in place of ``slug``."""
    root = arguments.into or lessons_directory()
    target = root / arguments.slug
    if not _SLUG.match(arguments.slug):
        raise UserError(
            f"{arguments.slug!r}: use small letters, digits and _, a letter first",
            f"{arguments.slug!r}：只能用小写字母、数字和 _，且以字母开头",
        )
    if target.exists():
        raise UserError(f"{target} exists already", f"{target} 已经存在")
    try:
        shutil.copytree(lessons_directory() / "_template", target, ignore=shutil.ignore_patterns("__pycache__"))
        for path in sorted(target.rglob("*"), reverse=True):
            if path.is_file():
                text = path.read_text(encoding="utf-8").replace("slug", arguments.slug)
                path.write_text(text, encoding="utf-8")
            path.rename(path.with_name(path.name.replace("slug", arguments.slug)))
    except OSError as error:
        raise UserError(
            f"{target}: cannot be written: {error.strerror}", f"{target}：写不进去：{error.strerror}"
        ) from None
    output.emit(
        {"lesson": arguments.slug, "directory": str(target)},
        output.pick(
            f"{target}\nedit it, then: python -m lessons check --accept",
            f"{target}\n改好之后：python -m lessons check --accept",
        ),
    )
    return 0
