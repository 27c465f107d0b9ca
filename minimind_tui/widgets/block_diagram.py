"""The block drawn with characters, each switch where it acts: arrows, Tab or the mouse go there, Enter turns it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.widget import Widget

from lessons.diagram import Chip, draw
from lessons.diagram import Row as DrawnRow
from minimind.errors import UserError
from minimind.events import Text
from minimind.lab.switches import SWITCHES, Switches, Value
from minimind_tui.ascii_art import to_ascii
from minimind_tui.rows import width_of
from minimind_tui.widgets.painted import Painted, Row, StyleKey

_UNDRAWN_WIDTH = 76
_MOVES = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


class BlockDiagram(Painted, can_focus=True):
    """The switches `shown` of the block, which start as usual. Posts `Changed` when one was turned, `Moved` besides."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"block-diagram--{part}" for part in ("art", "chip", "changed", "current")}
    DEFAULT_CSS = """
    BlockDiagram { width: auto; min-width: 100%; height: auto; background: $background; }
    BlockDiagram > .block-diagram--art { color: $text-muted; }
    BlockDiagram > .block-diagram--chip { color: $foreground; }
    BlockDiagram > .block-diagram--changed { color: $warning; text-style: bold; }
    BlockDiagram:focus > .block-diagram--current { text-style: reverse; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "turn(1)", "diagram.key.next"),
        Binding("backspace", "turn(-1)", "diagram.key.previous"),
    ]

    class Moved(Message):
        """Another switch is under the cursor, or the same one was turned."""

    class Changed(Moved):
        """A switch was turned."""

    def __init__(self, shown: tuple[str, ...], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.shown = shown
        self.switches = Switches()
        self.current = shown[0]
        self.refusal: tuple[Text, Text] | None = None
        """The value that the last turn passed over, and why."""

    # --- the picture --------------------------------------------------------------------------------------------------

    def _drawn(self, width: int) -> tuple[DrawnRow, ...]:
        return draw(self.switches, self.shown, self.language, width)

    def get_content_width(self, container: Size, viewport: Size) -> int:  # noqa: ARG002 (Textual's signature)
        """As wide as there is room for, or as the widest row needs."""
        rows = self._drawn(container.width)
        return max(container.width, *(sum(width_of(_text_of(part)) for part in row) for row in rows))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """One row each."""
        return len(self._drawn(width))

    def paint(self, width: int, height: int) -> list[Row]:  # noqa: ARG002 (as high as the picture)
        """The picture with the cursor in it."""
        return [[self._piece(part) for part in row] for row in self._drawn(width)]

    def _piece(self, part: Any) -> tuple[str, StyleKey]:
        text = to_ascii(_text_of(part)) if self.ascii_only else _text_of(part)
        if not isinstance(part, Chip):
            return text, "art"
        key = "changed" if part.changed else "chip"
        return text, f"{key} current" if part.name == self.current else key

    def style_of(self, key: StyleKey) -> Style:
        """Of drawing, switch and changed switch, reversed under the cursor while it has the focus."""
        part, _, current = str(key).partition(" ")
        style = self.get_component_rich_style(f"block-diagram--{part}", partial=True)
        if current and self.has_focus:
            return style + self.get_component_rich_style("block-diagram--current", partial=True)
        return style

    def on_focus(self) -> None:
        """Show the cursor."""
        self.repaint(everything=True)

    def on_blur(self) -> None:
        """Hide the cursor."""
        self.repaint(everything=True)

    def relabel(self) -> None:
        """Speak again; rows may be more or fewer."""
        self.refresh(layout=True)
        super().relabel()

    # --- places -------------------------------------------------------------------------------------------------------

    def places(self) -> dict[str, Region]:
        """Where each switch stands, in reading order."""
        found: dict[str, Region] = {}
        for y, row in enumerate(self._drawn(self.size.width or _UNDRAWN_WIDTH)):
            x = 0
            for part in row:
                width = width_of(_text_of(part))
                if isinstance(part, Chip):
                    found[part.name] = Region(x, y, width, 1)
                x += width
        return found

    def go_to(self, name: str) -> None:
        """Put the cursor on a switch and bring it into view."""
        self.current, self.refusal = name, None
        self.schedule()
        self.post_message(self.Moved())
        self._bring_into_view()

    def _bring_into_view(self) -> None:
        place = self.places()[self.current]
        for container in self.ancestors:
            if isinstance(container, Widget) and container.is_scrollable:
                inside = place.translate(self.region.offset - container.content_region.offset + container.scroll_offset)
                container.scroll_to_region(inside.grow((1, 0, 1, 0)), animate=False, force=True)

    def _beside(self, dx: int, dy: int) -> str | None:
        """The next switch in that direction: in the same row, or the nearest in the next row that has any."""
        places = self.places()
        here = places[self.current]
        if dx:
            same = [name for name, place in places.items() if place.y == here.y]
            index = same.index(self.current) + dx
            return same[index] if 0 <= index < len(same) else None
        rows = [place.y for place in places.values() if (place.y - here.y) * dy > 0]
        if not rows:
            return None
        row = min(rows) if dy > 0 else max(rows)
        return min((name for name in places if places[name].y == row), key=lambda name: abs(places[name].x - here.x))

    # --- keys and mouse -----------------------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """Arrows and Tab go from switch to switch; at the edge the page scrolls and the focus moves on, as usual."""
        if event.key in _MOVES:
            found = self._beside(*_MOVES[event.key])
        elif event.key in ("tab", "shift+tab"):
            names = list(self.places())
            index = names.index(self.current) + (1 if event.key == "tab" else -1)
            found = names[index] if 0 <= index < len(names) else None
        else:
            return
        if found is not None:
            event.stop()
            event.prevent_default()
            self.go_to(found)

    def on_click(self, event: events.Click) -> None:
        """Turn the switch that was clicked; the right button turns it back."""
        found = next((name for name, place in self.places().items() if place.contains(event.x, event.y)), None)
        if found is not None:
            self.go_to(found)
            self.action_turn(-1 if event.button == 3 else 1)

    def action_turn(self, direction: int) -> None:
        """The next value of the switch under the cursor that goes together with the others."""
        values = list(SWITCHES[self.current].choices)
        index = values.index(getattr(self.switches, self.current))
        self.refusal = None
        for step in range(1, len(values)):
            value = values[(index + direction * step) % len(values)]
            try:
                self.switches = self._with(self.current, value)
            except UserError as error:
                self.refusal = self.refusal or (SWITCHES[self.current].choices[value], error.text)
                continue
            break
        self._turned()

    def _with(self, name: str, value: Value) -> Switches:
        """The switches with one turned; key/value heads follow where there are as many as query heads."""
        changes: dict[str, Any] = {name: value}
        if name == "heads" and self.switches.kv_heads == self.switches.heads:
            changes["kv_heads"] = value
        return replace(self.switches, **changes)

    def set_switches(self, switches: Switches) -> None:
        """Take these."""
        if switches != self.switches:
            self.switches, self.refusal = switches, None
            self._turned()

    def _turned(self) -> None:
        self.refresh(layout=True)
        self.schedule()
        self.post_message(self.Changed())

    # --- words --------------------------------------------------------------------------------------------------------

    def said_of_current(self) -> str:
        """What the switch under the cursor does, its choices, and what a turn passed over."""
        switch = SWITCHES[self.current]
        value = getattr(self.switches, self.current)
        choices = "  ".join(
            f"[{self.say(name)}]" if choice == value else self.say(name) for choice, name in switch.choices.items()
        )
        words = self.t("diagram.choice.of", label=self.say(switch.label), help=self.say(switch.help), choices=choices)
        if self.refusal is None:
            return words
        passed, reason = self.refusal
        return words + "\n" + self.t("diagram.changed.skipped", value=self.say(passed), reason=self.say(reason))

    def said_of_changes(self) -> str:
        """Which switches are not as usual."""
        usual = asdict(Switches())
        changes = [
            self.t(
                "diagram.changed.one",
                label=self.say(SWITCHES[name].label),
                before=self.say(SWITCHES[name].choices[usual[name]]),
                after=self.say(SWITCHES[name].choices[value]),
            )
            for name, value in asdict(self.switches).items()
            if value != usual[name]
        ]
        if not changes:
            return self.t("diagram.changed.nothing")
        return self.t("diagram.changed.these", changes=("，" if self.language == "zh" else ", ").join(changes))


def _text_of(part: Any) -> str:
    return part.text if isinstance(part, Chip) else str(part)
