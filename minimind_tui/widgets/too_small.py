"""What covers a screen while the terminal is too small for it."""

from __future__ import annotations

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from minimind_tui.speech import Speaker

MINIMUM_WIDTH, MINIMUM_HEIGHT = 60, 16


class TooSmall(Speaker, Widget):
    """One centred line, opaque, above everything; what is below keeps its state and its focus."""

    DEFAULT_CSS = """
    TooSmall {
        layer: cover; width: 100%; height: 100%; dock: top; display: none;
        background: $background; color: $foreground;
        content-align: center middle; text-align: center;
    }
    TooSmall.-shown { display: block; }
    """

    def look(self, size: Size) -> None:
        """Show or hide, by the terminal's size."""
        self.set_class(size.width < MINIMUM_WIDTH or size.height < MINIMUM_HEIGHT, "-shown")
        self.refresh()

    def relabel(self) -> None:
        """Speak again."""
        self.refresh()

    def render(self) -> Content:
        """The line."""
        width, height = self.app.size
        least = f"{MINIMUM_WIDTH}×{MINIMUM_HEIGHT}"
        return Content(self.t("common.too_small", least=least, now=f"{width}×{height}"))
