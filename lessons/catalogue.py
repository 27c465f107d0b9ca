"""Experiments by name. Importing one imports torch; finding one does not."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lessons.lesson import lessons_directory
from minimind.errors import UserError
from minimind.events import Claim, Event
from minimind.experiment import Experiment, Value


def experiment_files(root: Path | None = None) -> dict[str, Path]:
    """Every experiment's file, by name (``depth_signal``), of all lessons in alphabetical order."""
    files = sorted((root or lessons_directory()).glob("[a-z]*/experiments/[a-z]*.py"))
    return {path.stem: path for path in files}


def load_experiment(name: str, root: Path | None = None) -> Experiment:
    """The experiment called `name`; imports torch the first time. Raises UserError that lists the known ones."""
    known = experiment_files(root)
    if name not in known:
        listed = ", ".join(known)
        raise UserError(f"no experiment {name!r}: there are {listed}", f"没有实验 {name!r}：现有 {listed}")
    path = known[name]
    module_name = f"lessons.{path.parent.parent.name}.experiments.{name}"
    module = sys.modules.get(module_name)
    if module is None or getattr(module, "__file__", None) != str(path):
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise UserError(f"{path}: not a Python file", f"{path}：不是 Python 文件")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
    found = getattr(module, name, None)
    if not isinstance(found, Experiment):
        raise UserError(f"{path}: defines no experiment {name}", f"{path}：没有定义实验 {name}")
    return found


def stream(
    experiment: Experiment, values: Mapping[str, Value], stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """The experiment's events until it ends or `stop` says so; its generator is closed in every case."""
    events = experiment.run(values)
    try:
        for event in events:
            if stop():
                return
            yield event
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()


def claims_of(events: list[Event]) -> tuple[Claim, ...]:
    """The claims among `events`, the last of each id."""
    return tuple({event.id: event for event in events if isinstance(event, Claim)}.values())
