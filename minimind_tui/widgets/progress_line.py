"""How far something is, on one line, without motion."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style

from minimind.events import Progress
from minimind.plot import figure
from minimind.safe_text import clean_line
from minimind_tui.rows import cut, width_of
from minimind_tui.widgets.painted import Painted, Row, StyleKey

_LONGEST_BAR = 40


class ProgressLine(Painted):
    """`label ━━━━──── 34 %`; without a total only what is done."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"progress-line--{part}" for part in ("done", "rest", "text")}
    DEFAULT_CSS = """
    ProgressLine { height: 1; width: 1fr; background: $background; }
    ProgressLine > .progress-line--done { color: $primary; }
    ProgressLine > .progress-line--rest { color: $border-blurred; }
    ProgressLine > .progress-line--text { color: $foreground; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._progress: Progress | None = None

    def set_progress(self, progress: Progress | None) -> None:
        """Show this progress, or nothing."""
        self._progress = progress
        self.schedule()

    def paint(self, width: int, height: int) -> list[Row]:  # noqa: ARG002 (one line)
        """The line."""
        progress = self._progress
        if progress is None:
            return [[]]
        label = cut(clean_line(self.say(progress.label)), width // 2) + " " if progress.label else ""
        if not progress.total:
            return [[(f"{label}{figure(progress.done)}", "text")]]
        share = min(1.0, max(0.0, progress.done / progress.total))
        words = f" {share:4.0%}".replace("%", " %")
        cells = max(0, min(_LONGEST_BAR, width - width_of(label) - len(words)))
        full = round(share * cells)
        done, rest = ("#", ".") if self.ascii_only else ("━", "─")
        return [[(label, "text"), (done * full, "done"), (rest * (cells - full), "rest"), (words, "text")]]

    def style_of(self, key: StyleKey) -> Style:
        """A part's component style."""
        return self.get_component_rich_style(f"progress-line--{key}", partial=True)
