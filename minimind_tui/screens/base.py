"""What every screen has: a title row, its body, a row of keys, a language, and a least size."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.screen import Screen

from minimind.events import Language
from minimind_tui.speech import Speaker, relabel_tree
from minimind_tui.widgets.key_bar import KeyBar
from minimind_tui.widgets.title_bar import TitleBar
from minimind_tui.widgets.too_small import TooSmall

if TYPE_CHECKING:
    from minimind_tui.app import MiniMindApp


class MiniMindScreen(Speaker, Screen[None]):
    """Base of the app's screens: subclasses yield their widgets from `compose_body` and set `TITLE_KEY`.

    Words that a subclass shows itself are set again in `relabel` (and `super().relabel()` is called); a `Phrase`
    needs nothing. Binding descriptions are string keys, e.g. ``Binding("r", "run", "lesson.key.run")``.
    """

    TITLE_KEY: ClassVar[str] = "common.app"
    DEFAULT_CSS = """
    MiniMindScreen { layers: default cover; background: $background; }
    """

    _spoken: Language | None = None

    @property
    def app(self) -> MiniMindApp:  # type: ignore[override]
        """The app, typed."""
        return cast("MiniMindApp", super().app)

    def compose(self) -> ComposeResult:
        """Title row, body, key row, and the cover for a terminal that is too small."""
        yield TitleBar()
        yield from self.compose_body()
        yield KeyBar()
        yield TooSmall()

    def compose_body(self) -> ComposeResult:
        """The widgets between the title row and the key row."""
        yield from ()

    def title_text(self) -> str:
        """What the title row names this screen."""
        return self.t(self.TITLE_KEY)

    def relabel(self) -> None:
        """Speak again; the base needs nothing beyond what its widgets do."""

    def speak(self) -> None:
        """Bring every word on the screen to the current language, if it is not yet."""
        if self._spoken != self.language:
            first, self._spoken = self._spoken is None, self.language
            if not first:
                relabel_tree(self)

    def on_resize(self, event: events.Resize) -> None:
        """Cover everything while the terminal is too small."""
        self.query_one(TooSmall).look(event.size)

    def on_screen_resume(self, _event: events.ScreenResume) -> None:
        """Catch up with a language chosen while this screen was away."""
        self.speak()
