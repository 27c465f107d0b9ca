"""A diagram of a lesson, drawn as it stands: never wrapped, moved sideways where the window is narrower."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer
from textual.content import Content
from textual.widgets import Static

from lessons.figures import read_figure
from minimind.errors import UserError
from minimind_tui.ascii_art import to_ascii
from minimind_tui.speech import Speaker


class FigurePane(Speaker, ScrollableContainer, can_focus=False):
    """The figure `name` of the lesson in `directory`, in the current language. It takes the focus if it can be moved."""

    DEFAULT_CSS = """
    FigurePane { height: auto; margin: 0 0 1 0; padding: 0 1; overflow: auto hidden; scrollbar-size-horizontal: 1; }
    FigurePane > Static { width: auto; height: auto; text-wrap: nowrap; color: $foreground; padding: 0 1; }
    FigurePane:focus > Static { background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "scroll_left", "lesson.key.left", show=False),
        Binding("right", "scroll_right", "lesson.key.right", show=False),
    ]

    def __init__(self, directory: Path, name: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._directory, self._figure_name = directory, name

    def compose(self) -> ComposeResult:
        """The drawing."""
        yield Static(markup=False)

    def on_mount(self) -> None:
        """Draw it for the first time."""
        self.relabel()

    def on_resize(self, event: events.Resize) -> None:
        """Whether there is more than fits."""
        self.can_focus = event.virtual_size.width > event.size.width

    def relabel(self) -> None:
        """Draw it in the current language."""
        try:
            drawn = "\n".join(read_figure(self._directory, self._figure_name, self.language))
        except UserError as error:
            drawn = self.say(error.text)
        self.query_one(Static).update(Content(to_ascii(drawn) if self.ascii_only else drawn))
