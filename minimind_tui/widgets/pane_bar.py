"""A row of names of panes, of which one is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.message import Message

from minimind_tui.rows import width_of
from minimind_tui.widgets.painted import Painted, Row, StyleKey


class PaneBar(Painted):
    """Names (string keys) of panes; the current one is marked, another is chosen by a click."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"pane-bar--name", "pane-bar--current"}
    DEFAULT_CSS = """
    PaneBar { height: 1; background: $background; }
    PaneBar > .pane-bar--name { color: $text-muted; }
    PaneBar > .pane-bar--current { color: $primary; text-style: bold underline; }
    """

    class Picked(Message):
        """The pane `name` was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, names: Sequence[str], prefix: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._names, self._prefix = tuple(names), prefix
        self._counts: dict[str, int] = {}
        self.current = self._names[0]

    def set_names(self, names: Sequence[str]) -> None:
        """Offer these panes, the current one among them."""
        self._names = tuple(names)
        self.schedule()

    def set_count(self, name: str, count: int) -> None:
        """How many things the pane `name` has to say; none is not shown."""
        if self._counts.get(name, 0) != count:
            self._counts[name] = count
            self.schedule()

    def show(self, name: str) -> None:
        """Mark `name` as the current one."""
        self.current = name
        self.schedule()

    def paint(self, width: int, height: int) -> list[Row]:  # noqa: ARG002 (one row)
        """The row."""
        row: Row = []
        for name in self._names:
            row += [(" ", "name"), (self._label(name), "current" if name == self.current else "name"), (" ", "name")]
        return [row]

    def style_of(self, key: StyleKey) -> Style:
        """The style of a name."""
        return self.get_component_rich_style(f"pane-bar--{key}", partial=True)

    def on_click(self, event: events.Click) -> None:
        """Choose the name that was clicked."""
        start = 0
        for name in self._names:
            end = start + width_of(self._label(name)) + 2
            if start <= event.x < end:
                self.post_message(self.Picked(name))
            start = end

    def _label(self, name: str) -> str:
        count = self._counts.get(name)
        return self.t(f"{self._prefix}.{name}") + (f" {count}" if count else "")
