"""Which model a person means: a directory, a model that comes with the package, or a run. No torch."""

from __future__ import annotations

from pathlib import Path

from minimind import hub, paths
from minimind.config import MODEL_PRESETS
from minimind.errors import UserError
from minimind.events import Text
from minimind.impostors import PYTORCH_SUFFIXES
from minimind.safe_text import clean_line
from minimind.training.checkpoint import latest, steps
from minimind.training.run_files import CHECKPOINTS, RUN
from minimind.training.runs import find_run

CONFIG = "config.json"
_OF_A_FOLDER = "pytorch_model.bin"


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
    except UserError as error:
        raise _no_model(text, error.text) from None
    return newest_checkpoint(run / CHECKPOINTS)


def _no_model(name: str, why: Text) -> UserError:
    shown, shipped = clean_line(name, 200), ", ".join(shipped_models()) or "—"
    here = clean_line(", ".join(hub.downloaded_models()), 200)
    return UserError(
        f"{shown}: no model: {why.en}; name a directory, a run or a model that comes with the package ({shipped})"
        + (f" or was downloaded ({here})" if here else ""),
        f"{shown}：没有这个模型：{why.zh}；请给出目录、训练编号或自带模型（{shipped}）"
        + (f"、已下载的模型（{here}）" if here else ""),
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
