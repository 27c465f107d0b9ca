"""Which model a person means: a directory, a model that comes with the package, or a run. No torch."""

from __future__ import annotations

from pathlib import Path

from minimind import hub, paths
from minimind.config import MODEL_PRESETS
from minimind.declaration import nearest
from minimind.errors import UserError
from minimind.events import Text
from minimind.impostors import PYTORCH_SUFFIXES, impostor
from minimind.safe_text import clean_line
from minimind.training.checkpoint import latest, steps
from minimind.training.run_files import CHECKPOINTS, RUN
from minimind.training.runs import NoSuchRun, find_run

CONFIG = "config.json"
_OF_A_FOLDER = "pytorch_model.bin"
_WEIGHTS = ("model.safetensors", _OF_A_FOLDER)
_LARGEST_POINTER = 1024
"""Bytes; a Git LFS pointer has about 130."""


def shipped_models() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    directory = paths.shipped_models()
    if not directory.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in directory.iterdir() if (entry / CONFIG).is_file()))


def locate_model(name: str | Path) -> Path:
    """The directory with the weights that `name` means, or the file where it is one by itself.

    A directory of a model, or a file in it; a released weights file or adapter (``.pth``); a run's directory, its id or
    the beginning of it, which mean its newest valid checkpoint; the name of a model that comes with the package or was
    downloaded. Raises UserError where there is none.
    """
    path = Path(name).expanduser()
    if path.is_file() and path.suffix in PYTORCH_SUFFIXES and path.name != _OF_A_FOLDER:
        return path
    if path.is_file():
        path = path.parent
    if (path / RUN).is_file():
        return newest_checkpoint(path / CHECKPOINTS)
    if steps(path):
        return newest_checkpoint(path)
    if path.is_dir():
        return path
    text = str(name)
    if text in shipped_models():
        return paths.shipped_models() / text
    downloaded = hub.downloaded_model(text)
    if downloaded is not None:
        return downloaded
    if text in MODEL_PRESETS:
        raise _no_model(text, Text("it is an architecture without weights: train it", "它只是结构，没有权重：请先训练"))
    if hub.is_released(text):
        fetch = f"`minimind download {text}`"
        raise _no_model(text, Text(f"it is not here yet: {fetch}", f"它还没有下载：{fetch}"))
    if len(path.parts) != 1:
        raise _no_model(text, Text("there is no such directory", "没有这个目录"))
    try:
        run = find_run(text)
    except NoSuchRun:
        raise _unknown(text) from None
    return newest_checkpoint(run / CHECKPOINTS)


def refuse_pointer(place: Path) -> None:
    """Raise UserError where the weights at `place` (as `locate_model` gives it) are a pointer to them, told in no time.

    Everything else that can be wrong with weights is found when they are read.
    """
    for path in [place] if place.is_file() else [place / name for name in _WEIGHTS]:
        try:
            head = path.read_bytes() if path.stat().st_size < _LARGEST_POINTER else b""
        except OSError:
            continue
        what = impostor(head)
        if what is not None:
            shown = clean_line(str(path), 200)
            raise UserError(f"{shown}: {what.en}", f"{shown}：{what.zh}")


def _unknown(name: str) -> UserError:
    """Nothing has that name: which are there, and the nearest of them."""
    trained = (*shipped_models(), *hub.downloaded_models())
    guess = nearest(name, dict.fromkeys((*MODEL_PRESETS, *trained)))
    shown, presets, models = clean_line(name, 200), ", ".join(MODEL_PRESETS), clean_line(", ".join((*trained, "")), 200)
    return UserError(
        f"{shown}: no model{guess}: with weights there are {models}your runs (`minimind runs list`) and folders; "
        f"to train from scratch: {presets}",
        f"{shown}：没有这个模型{guess}：训练好的可用 {models}训练编号（见 `minimind runs list`）或目录；从头训练可用 {presets}",
    )


def _no_model(name: str, why: Text) -> UserError:
    shown = clean_line(name, 200)
    models = clean_line(", ".join((*shipped_models(), *hub.downloaded_models(), "")), 200)
    return UserError(
        f"{shown}: no model: {why.en}; or name {models}a run (`minimind runs list`) or a folder",
        f"{shown}：没有这个模型：{why.zh}；也可以用 {models}训练编号（见 `minimind runs list`）或目录",
    )


def newest_checkpoint(directory: Path) -> Path:
    """The newest valid checkpoint in a run's folder of checkpoints.

    Raises UserError where there is none, with what is wrong with those that are there.
    """
    problems: list[UserError] = []
    found = latest(directory, problems)
    if found is not None:
        return found
    if problems:
        raise problems[0]
    raise UserError(
        f"{directory}: no checkpoint yet: wait for the first save, or ask for one with `minimind runs save`",
        f"{directory}：还没有检查点：等第一次保存，或用 `minimind runs save` 要求保存",
    )
