"""The first row: where one is, and the three modes."""

from __future__ import annotations

from typing import ClassVar, cast

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from minimind_tui.rows import fit, width_of
from minimind_tui.speech import Speaker

MODES = ("learn", "runs", "chat")


class TitleBar(Speaker, Widget):
    """`MiniMind › where` on the left; modes (clickable, the current one marked) and the language on the right."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"title-bar--name", "title-bar--mode", "title-bar--current"}
    DEFAULT_CSS = """
    TitleBar { dock: top; height: 1; background: $panel; color: $foreground; }
    TitleBar > .title-bar--name { color: $primary; background: $panel; text-style: bold; }
    TitleBar > .title-bar--mode { color: $text-muted; background: $panel; }
    TitleBar > .title-bar--current { color: $block-cursor-foreground; background: $primary; text-style: bold; }
    """

    def relabel(self) -> None:
        """Speak again."""
        self.refresh()

    def _segments(self) -> tuple[list[Segment], int]:
        """The right-hand side and its width."""
        mode_style, current_style = (
            self.get_component_rich_style(f"title-bar--{name}") for name in ("mode", "current")
        )
        segments = []
        for number, mode in enumerate(MODES, 1):
            style = current_style if getattr(self.app, "current_mode", "") == mode else mode_style
            style += Style.from_meta({"@click": f"app.go('{mode}')"})
            segments.append(Segment(f" {number} {self.t(f'common.mode.{mode}')} ", style))
        other = self.t("common.other_language")
        segments.append(Segment(f" {other} ", mode_style + Style.from_meta({"@click": "app.next_language"})))
        return segments, sum(width_of(segment.text) for segment in segments)

    def render_line(self, y: int) -> Strip:
        """The row."""
        if y:
            return Strip.blank(self.size.width, self.rich_style)
        width = self.size.width
        base = self.rich_style
        right, right_width = self._segments()
        title = cast(str, self.screen.title_text()) if hasattr(self.screen, "title_text") else ""
        name = f" {self.t('common.app')}"
        room = max(0, width - right_width - width_of(name) - 1)
        middle = fit(f" › {title}" if title else "", room)
        strip = Strip(
            [Segment(name, self.get_component_rich_style("title-bar--name")), Segment(middle + " ", base), *right]
        )
        return strip.adjust_cell_length(width, base)
