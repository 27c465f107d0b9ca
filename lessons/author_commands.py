"""What an author does on the command line: check, record, new."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import time
from pathlib import Path

from lessons.catalogue import claims_of, load_experiment
from lessons.doctor import accept, examine
from lessons.doctor_runs import examine_by_running
from lessons.lesson import lessons_directory
from lessons.recorded import Recording
from minimind.commands.output import Output
from minimind.errors import UserError

_SLUG = re.compile(r"^[a-z][a-z0-9_]*$")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the author's commands."""
    parser = subparsers.add_parser("check", help="find what is wrong with the lessons / 检查课程内容")
    parser.add_argument("slug", metavar="LESSON", nargs="?", default=None)
    parser.add_argument("--no-run", action="store_true", help="read only, run nothing / 只读不跑")
    parser.add_argument("--accept", action="store_true", help="the shown code was read again / 已重读所展示的代码")
    parser.set_defaults(run=check_lessons)
    parser = subparsers.add_parser(
        "record", help="record an experiment's claims for the prose / 记录实验结论供课文引用"
    )
    parser.add_argument("slug", metavar="LESSON")
    parser.add_argument("experiments", metavar="EXPERIMENT", nargs="*")
    parser.set_defaults(run=record_lesson)
    parser = subparsers.add_parser("new", help="begin a lesson from the template / 从模板新建一课")
    parser.add_argument("slug", metavar="LESSON")
    parser.add_argument("--into", type=Path, default=None, metavar="DIR", help="where / 放在哪里")
    parser.set_defaults(run=new_lesson)


def check_lessons(arguments: argparse.Namespace, output: Output) -> int:
    """Print every problem found; exit status 1 when there is one. Raises UserError for a lesson that is not there."""
    if arguments.slug is not None:
        _folder_of(arguments.slug)
    if arguments.accept:
        for path in accept():
            output.say(str(path))
    count = 0
    problems = list(examine())
    if not problems and not arguments.no_run:
        problems += examine_by_running(slug=arguments.slug)
    for problem in problems:
        count += 1
        said = problem.text.of(output.language)
        output.emit({"where": problem.where, "problem": said}, f"{problem.where}: {said}" if problem.where else said)
    output.say(output.pick(f"{count} problems", f"{count} 个问题"))
    return 1 if count else 0


def _folder_of(slug: str) -> Path:
    """The folder of a lesson, broken or not. Raises UserError where there is none."""
    folder = lessons_directory() / slug
    if not (folder / "module.toml").is_file():
        raise UserError(f"no lesson {slug!r}", f"没有课程 {slug!r}")
    return folder


def record_lesson(arguments: argparse.Namespace, output: Output) -> int:
    """Run a lesson's experiments with their default values on one thread and keep their claims beside it."""
    folder = _folder_of(arguments.slug)
    import torch

    torch.set_num_threads(1)
    path = folder / "recorded.json"
    data = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    names = arguments.experiments or sorted(file.stem for file in folder.glob("experiments/[a-z]*.py"))
    for name in names:
        experiment = load_experiment(name)
        claims = claims_of(list(experiment.run()))
        version = torch.__version__.partition("+")[0]
        made = f"PyTorch {version}, CPU × 1, {time.strftime('%Y-%m-%d')}"
        data[name] = Recording(experiment.resolve(), claims, made).to_dict()
        verdicts = {claim.id: claim.holds for claim in claims}
        output.emit({"experiment": name, "claims": verdicts}, f"{name}: {verdicts}")
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return 0


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
