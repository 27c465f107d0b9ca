"""Doing a recipe: each step that is not done yet, in order; a stage is an ordinary run that anybody may watch."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minimind import paths
from minimind.errors import UserError
from minimind.events import Text
from minimind.recipe.book import EXPORT, TOKENIZER, Book
from minimind.recipe.plan import Stage
from minimind.training import launch
from minimind.training.recommend import recommended_config
from minimind.training.runs import RunStatus, RunView, create_run, find_run

Tell = Callable[[Text], None]
Watch = Callable[[Path], RunStatus]
"""Shows a run until it ends; returns its status then."""


class Interrupted(Exception):
    """A stage's run did not finish; `status` tells why. The recipe can be gone on with."""

    def __init__(self, status: RunStatus) -> None:
        super().__init__(status.reason.en)
        self.status = status


def cook(book: Book, watch: Watch, tell: Tell) -> None:
    """Do what is left of `book`.

    Raises Interrupted where a run was stopped or failed, UserError where a step cannot be done; all that is done
    stays done, and `cook` goes on there the next time.
    """
    with book.cooking():
        for step in book.steps():
            if step in book.done:
                continue
            began = time.monotonic()
            kind, _, name = step.partition(":")
            tell(_says(step))
            result = _STEPS[kind](book, name, watch, tell)
            book.finish(step, {"seconds": round(time.monotonic() - began, 3), **result})


def _tokenizer(book: Book, _name: str, _watch: Watch, _tell: Tell) -> dict[str, Any]:
    from minimind.commands.tokenizer import compression, training_texts
    from minimind.data.tokenizer import train_tokenizer

    wanted = book.recipe.tokenizer
    assert wanted is not None
    tokenizer = train_tokenizer(training_texts(wanted.data, round(wanted.megabytes * 1e6)), wanted.vocab_size)
    try:
        tokenizer.save(book.directory / TOKENIZER)
    except OSError as error:
        raise _unwritten(book.directory / TOKENIZER, error) from None
    rates = {language: round(rate, 3) for language, rate in compression(tokenizer).items()}
    return {"vocab_size": tokenizer.vocab_size, "sha256": tokenizer.sha256, "bytes_per_token": rates}


def _stage(book: Book, name: str, watch: Watch, tell: Tell) -> dict[str, Any]:
    stages = book.recipe.stages
    place = next(number for number, stage in enumerate(stages) if stage.name == name)
    directory = _run_of(book, stages[place], stages[place - 1] if place else None)
    view = RunView(directory)
    state = view.status()
    if state.state == "created":
        launch.launch(directory)
    elif state.resumable:
        tell(Text(f"{directory.name} goes on from its last checkpoint", f"{directory.name} 从最近的检查点继续"))
        launch.resume(directory)
    status = watch(directory)
    if status.state != "finished":
        raise Interrupted(status)
    glance = RunView(directory).glance()
    return {"run": directory.name, "step": glance.step, "latest": glance.latest}


def _run_of(book: Book, stage: Stage, before: Stage | None) -> Path:
    """The directory of the stage's run, made where there is none yet."""
    if stage.name in book.runs:
        return find_run(book.runs[stage.name])
    settings = dict(stage.settings)
    if before is not None:
        settings["model"] = str(find_run(book.runs[before.name]))
    elif book.recipe.tokenizer is not None:
        settings["tokenizer"] = str(book.directory / TOKENIZER)
    config = recommended_config(stage.objective, settings)
    parent = book.runs[before.name] if before is not None else None
    made = create_run(config, name=f"{book.id} {stage.name}", parent=parent, argv=("minimind", "recipe", book.id))
    book.note_run(stage.name, made.id)
    return made.directory


def _evaluate(book: Book, _name: str, _watch: Watch, tell: Tell) -> dict[str, Any]:
    from minimind.recipe.evaluation import evaluate_model

    recipe = book.recipe
    found = {}
    for stage in recipe.stages:
        tell(Text(f"evaluating the model of {stage.name}", f"正在评测 {stage.name} 阶段的模型"))
        directory = find_run(book.runs[stage.name])
        found[stage.name] = evaluate_model(
            directory, paths.cache() / "tokens", tasks=recipe.tasks, count=recipe.task_count
        )
    return {"models": found}


def _export(book: Book, name: str, _watch: Watch, _tell: Tell) -> dict[str, Any]:
    from minimind.cli import build_parser
    from minimind.commands.output import Output

    out = book.directory / EXPORT / name
    said = io.StringIO()
    last = find_run(book.runs[book.recipe.stages[-1].name])
    arguments = build_parser().parse_args(["export", str(last), "--to", name, "--out", str(out)])
    arguments.run(arguments, Output(as_json=True, language="en", stdout=said, stderr=io.StringIO()))
    written = json.loads(said.getvalue())
    return {
        "directory": str(out),
        "bytes": sum(file["bytes"] for file in written["files"]),
        "parity": written["parity"],
    }


def _report(book: Book, _name: str, _watch: Watch, _tell: Tell) -> dict[str, Any]:
    from minimind.recipe.report import write_report

    try:
        return {"files": [path.name for path in write_report(book)]}
    except OSError as error:
        raise _unwritten(book.directory, error) from None


_STEPS: dict[str, Callable[[Book, str, Watch, Tell], dict[str, Any]]] = {
    "tokenizer": _tokenizer,
    "stage": _stage,
    "evaluate": _evaluate,
    "export": _export,
    "report": _report,
}
_NAMES = {
    "tokenizer": Text("training the tokenizer", "正在训练词表"),
    "evaluate": Text("evaluating", "正在评测"),
    "report": Text("writing the report", "正在写报告"),
}


def _says(step: str) -> Text:
    kind, _, name = step.partition(":")
    if kind == "stage":
        return Text(f"stage {name}", f"阶段 {name}")
    if kind == "export":
        return Text(f"exporting as {name}", f"正在导出为 {name}")
    return _NAMES[kind]


def _unwritten(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be written: {error.strerror}", f"{path}：写不进去：{error.strerror}")
