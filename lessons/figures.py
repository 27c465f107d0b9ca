"""Diagrams made of characters: ``figures/NAME.en.txt`` and ``NAME.zh.txt``, shown as they are, never wrapped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from minimind.commands.columns import cell_width
from minimind.errors import UserError
from minimind.events import LANGUAGES, Language, Text
from minimind.safe_text import clean

MAXIMUM_CELLS = 76
"""Wider diagrams do not fit a terminal of 80 columns with the page's margins."""


def figure_path(directory: Path, name: str, language: Language) -> Path:
    """The file of the figure `name` of the lesson in `directory`."""
    return directory / "figures" / f"{name}.{language}.txt"


def read_figure(directory: Path, name: str, language: Language) -> tuple[str, ...]:
    """The rows of a figure, without trailing spaces and empty rows around them. Raises UserError with the file."""
    path = figure_path(directory, name, language)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}", f"{path}：读不出来：{error}") from None
    return tuple(row.rstrip() for row in clean(text).strip("\n").splitlines())


def examine_figures(directory: Path, shown: set[str]) -> Iterator[tuple[Path, Text]]:
    """What is wrong with the figures in `directory`, of which the pages show those in `shown`."""
    names = {path.name.split(".")[0] for path in (directory / "figures").glob("*")}
    for name in sorted(names | shown):
        for language in LANGUAGES:
            path = figure_path(directory, name, language)
            try:
                rows = read_figure(directory, name, language)
            except UserError as error:
                yield path, error.text
                continue
            widest = max(map(cell_width, rows), default=0)
            if not widest:
                yield path, Text("the figure is empty", "图是空的")
            if widest > MAXIMUM_CELLS:
                yield (
                    path,
                    Text(f"{widest} cells wide, more than {MAXIMUM_CELLS}", f"宽 {widest} 格，超过 {MAXIMUM_CELLS} 格"),
                )
            if any("\t" in row for row in rows):
                yield path, Text("use spaces, not tabs", "请用空格，不要用制表符")
        if name not in shown:
            yield directory / "figures", Text(f"no page shows figure {name}", f"没有页面使用图 {name}")
