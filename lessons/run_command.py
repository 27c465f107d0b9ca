"""``python -m lessons run`` and ``notebook``: predict, run, look, and what was written down about it."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from lessons.budgets import expected_seconds, parse_budget, values_of
from lessons.catalogue import experiment_files, load_experiment, stream
from lessons.export import FORMATS, default_directory, export
from lessons.kept_runs import find, keep
from lessons.lesson import load_lesson
from lessons.notebook import add_entry, notebook_file, read_entries
from lessons.predictions import judge, keep_outcome, keep_prediction
from lessons.progress import LessonProgress, changing
from lessons.recorded import Recording, load_recordings
from lessons.report import report, said_seconds
from lessons.results import Collector, Results
from minimind.commands.output import Output
from minimind.errors import UserError
from minimind.events import to_dict
from minimind.experiment import BUDGETS, Experiment, Value


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the two commands."""
    parser = subparsers.add_parser("run", help="run an experiment / 运行实验")
    parser.add_argument("experiment", metavar="EXPERIMENT")
    parser.add_argument(
        "--budget", default="standard", metavar="|".join(BUDGETS), help="how much to compute / 计算多少"
    )
    parser.add_argument(
        "--set", dest="values", action="append", default=[], metavar="NAME=VALUE", help="a parameter / 参数"
    )
    parser.add_argument("--predict", type=float, default=None, metavar="N", help="your prediction / 你的预测")
    parser.add_argument("--anew", action="store_true", help="compute even if kept / 即使有保存的结果也重新计算")
    parser.add_argument(
        "--out",
        default=None,
        metavar="FILE",
        help="save events, report or picture: a file .jsonl, .txt, .svg, or only the ending / 保存结果：文件名，或只写格式",
    )
    parser.set_defaults(run=run_experiment)
    parser = subparsers.add_parser("notebook", help="what your runs showed / 实验笔记")
    parser.add_argument("slug", metavar="LESSON")
    parser.set_defaults(run=show_notebook)


def run_experiment(arguments: argparse.Namespace, output: Output) -> int:
    """Run an experiment, or take the results kept of the same run; print its events (--json) or a report."""
    files = experiment_files()
    experiment = load_experiment(arguments.experiment)
    budget = parse_budget(arguments.budget)
    values = values_of(experiment, budget, _given(arguments.values))
    target = _target(experiment, arguments.out)
    prediction = _prediction(experiment, arguments.predict, output)
    folder = files[experiment.name].parent.parent
    kept = None if arguments.anew else find(experiment, values)
    if kept is None:
        _tell_cost(experiment, values, folder, output)
        results = _compute(experiment, values, output)
    else:
        _tell_kept(kept, output)
        results = kept
    judged = None if prediction is None else judge(experiment, prediction, results.claims)
    if not output.as_json:
        output.emit({}, report(experiment, results, judged, output.language))
    elif kept is not None:
        for event in results.events:
            output.emit(to_dict(event), "")
    with changing() as progress:
        record = progress.lesson(folder.name)
        record.runs[experiment.name] = Recording(values, results.claims)
        if prediction is not None:
            keep_prediction(experiment, record, prediction)
            keep_outcome(experiment, record, results.claims)
    if kept is None:
        keep(experiment, results)
        add_entry(folder.name, experiment, results, judged, output.language)
    if target is not None:
        output.say(str(export(experiment, results, judged, output.language, target)))
    return 0


def _given(items: list[str]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"--set {item}: write NAME=VALUE", f"--set {item}：请写成 名称=值")
        values[name] = value
    return values


def _target(experiment: Experiment, out: str | None) -> Path | None:
    """The file that --out names; for an ending alone one among the person's exports. Raises UserError."""
    if out is None:
        return None
    ending = out.removeprefix(".")
    path = default_directory(experiment) / f"results.{ending}" if ending in FORMATS else Path(out)
    if path.suffix.removeprefix(".") not in FORMATS:
        names = ", ".join(f".{name}" for name in FORMATS)
        raise UserError(f"--out {out}: end it in {names}", f"--out {out}：结尾应为 {names}")
    return path


def _prediction(experiment: Experiment, given: float | None, output: Output) -> float | None:
    """The place of the choice, or the number, predicted: from --predict, or asked for at a terminal. Raises UserError."""
    if experiment.predict is None or (given is None and (output.as_json or not sys.stdin.isatty())):
        return None
    if given is None:
        given = _ask(experiment, output)
    prediction = given if experiment.number is not None else given - 1
    keep_prediction(experiment, LessonProgress(), prediction)  # refuses what can be none, before the run
    return prediction


def _ask(experiment: Experiment, output: Output) -> float:
    assert experiment.predict is not None
    output.say(experiment.predict)
    for number, choice in enumerate(experiment.choices, 1):
        output.say(f"  {number}  {choice.of(output.language)}")
    bounds = f"1…{len(experiment.choices)}"
    if experiment.number is not None:
        unit = f" {experiment.number.unit.of(output.language)}" if experiment.number.unit else ""
        bounds = f"{experiment.number.low:g}…{experiment.number.high:g}{unit}"
    output.say(output.pick(f"Your prediction, {bounds}?", f"你的预测（{bounds}）？"))
    try:
        return float(sys.stdin.readline().strip())
    except ValueError:
        raise UserError("the prediction is a number", "预测是一个数字") from None


def _tell_cost(experiment: Experiment, values: dict[str, Value], folder: Path, output: Output) -> None:
    recording = load_recordings(folder / "recorded.json").get(experiment.name)
    seconds = expected_seconds(experiment, values, recording)
    if seconds is not None and not output.as_json:
        said = said_seconds(seconds, output.language)
        output.say(output.pick(f"about {said} of computing …", f"计算大约需要 {said}……"))


def _tell_kept(kept: Results, output: Output) -> None:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.made))
    output.say(
        output.pick(f"kept from {when} (--anew computes it again)", f"这是 {when} 保存的结果（加 --anew 可重新计算）")
    )


def _compute(experiment: Experiment, values: dict[str, Value], output: Output) -> Results:
    collector = Collector()
    began = time.process_time()
    for event in stream(experiment, values):
        collector.add([event])
        if output.as_json:
            output.emit(to_dict(event), "")
    return Results(experiment.name, values, collector.events(), time.process_time() - began, time.time())


def show_notebook(arguments: argparse.Namespace, output: Output) -> int:
    """Print a lesson's notebook, the newest entry last, and say where it is."""
    lesson = load_lesson(arguments.slug)
    for entry in read_entries(lesson.slug):
        output.emit({"entry": entry.title, "text": entry.text}, f"## {entry.title}\n\n{entry.text}\n")
    output.say(str(notebook_file(lesson.slug)))
    return 0
