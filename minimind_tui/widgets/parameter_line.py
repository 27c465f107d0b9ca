"""One parameter of an experiment on one line: its name, its value, and where that lies in its range."""

from __future__ import annotations

import math
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from minimind.errors import UserError
from minimind.experiment import Setting, Value
from minimind.safe_text import clean_line
from minimind_tui.rows import fit, width_of
from minimind_tui.widgets.painted import Painted, Row, StyleKey

_SLIDER_CELLS = 20
_VALUE_CELLS = 9
_LONGEST_NAME = 34
_WIDE_RANGE = 1000
"""From this ratio of the bounds on the slider is logarithmic."""


class ParameterLine(Painted, can_focus=True):
    """Left and right step through the values (with Shift in tenths of the range); digits type a number.

    ``layers          ‹ 30 ›  ────●───────────────  2…100``
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"parameter-line--{part}" for part in ("name", "value", "changed", "slider", "rest", "wrong")
    }
    DEFAULT_CSS = """
    ParameterLine { width: 1fr; height: 1; background: $background; }
    ParameterLine:focus { background: $surface; }
    ParameterLine > .parameter-line--name { color: $foreground; }
    ParameterLine:focus > .parameter-line--name { color: $primary; text-style: bold; }
    ParameterLine > .parameter-line--value { color: $foreground; }
    ParameterLine > .parameter-line--changed { color: $accent; text-style: bold; }
    ParameterLine > .parameter-line--slider { color: $primary; }
    ParameterLine > .parameter-line--rest { color: $text-muted; }
    ParameterLine > .parameter-line--wrong { color: $error; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "lesson.key.less"),
        Binding("right", "step(1)", "lesson.key.more"),
        Binding("shift+left", "leap(-1)", "lesson.key.far_less", show=False),
        Binding("shift+right", "leap(1)", "lesson.key.far_more", show=False),
        Binding("up", "app.focus_previous", "lesson.key.up", show=False),
        Binding("down", "app.focus_next", "lesson.key.down", show=False),
        Binding("backspace", "erase", "lesson.key.erase", show=False),
    ]

    class Changed(Message):
        """The parameter has another value."""

        def __init__(self, line: ParameterLine) -> None:
            super().__init__()
            self.line = line

    def __init__(self, setting: Setting, value: Value) -> None:
        super().__init__()
        self.setting = setting
        self.value = value
        self._typed: str | None = None

    @property
    def problem(self) -> UserError | None:
        """What is wrong with what was typed, if anything."""
        if self._typed is None:
            return None
        try:
            self.setting.parse(self._typed)
        except UserError as error:
            return error
        return None

    @property
    def _options(self) -> tuple[Value, ...]:
        return (False, True) if self.setting.type is bool else self.setting.parameter.choices

    @property
    def _bounds(self) -> tuple[float, float] | None:
        low, high = self.setting.parameter.low, self.setting.parameter.high
        return None if self._options or low is None or high is None else (low, high)

    def set_value(self, value: Value) -> None:
        """Take this value, which must be allowed."""
        self._put(value)

    # --- keys -------------------------------------------------------------------------------------------------------

    def action_step(self, direction: int) -> None:
        """The next value in that direction."""
        if self._options:
            place = self._options.index(self.value) + direction
            self._put(self._options[max(0, min(len(self._options) - 1, place))])
        elif isinstance(self.value, (int, float)):
            self._go(direction, 1 if self.setting.type is int else self._range() / 20, 1 / 20)

    def action_leap(self, direction: int) -> None:
        """A tenth of the range in that direction."""
        if self._options:
            self.action_step(direction)
        elif isinstance(self.value, (int, float)):
            tenth = self._range() / 10
            self._go(direction, max(1, round(tenth)) if self.setting.type is int else tenth, 1 / 10)

    def _go(self, direction: int, step: float, share: float) -> None:
        """By `step`, or on a logarithmic slider by `share` of its length, and at least by one where values are whole."""
        value = float(self.value)
        there = self._at(self._share() + direction * share) if self._is_logarithmic else value + direction * step
        if self.setting.type is int and abs(there - value) < 1:
            there = value + direction
        self._put(there)

    def _range(self) -> float:
        low, high = self._bounds or (0.0, 20.0)
        return high - low

    @property
    def _is_logarithmic(self) -> bool:
        low, high = self._bounds or (0.0, 0.0)
        return low > 0 and high >= _WIDE_RANGE * low

    def _share(self) -> float:
        """Where the value lies on the slider, 0…1."""
        low, high = self._bounds or (0.0, 0.0)
        if high <= low:
            return 0.0
        value = float(self.value)
        return math.log(value / low, high / low) if self._is_logarithmic else (value - low) / (high - low)

    def _at(self, share: float) -> float:
        """The value there; on a logarithmic slider to two digits."""
        low, high = self._bounds or (0.0, 0.0)
        share = min(1.0, max(0.0, share))
        return float(f"{low * (high / low) ** share:.2g}") if self._is_logarithmic else low + (high - low) * share

    def action_erase(self) -> None:
        """Take the last typed character away."""
        if not self._options:
            self._type(self._shown()[:-1])

    def on_key(self, event: events.Key) -> None:
        """Type a number."""
        character = event.character or ""
        if not self._options and len(character) == 1 and character in "0123456789.e-":
            event.stop()
            self._type((self._typed or "") + character)

    def on_blur(self) -> None:
        """What was typed and cannot be is forgotten."""
        self._typed = None
        self.schedule()

    def on_click(self, event: events.Click) -> None:
        """Set the value by the place on the slider."""
        bounds = self._bounds
        place = event.x - self._slider_start()
        if bounds is not None and 0 <= place < _SLIDER_CELLS:
            self._put(self._at(place / (_SLIDER_CELLS - 1)))

    def _type(self, text: str) -> None:
        self._typed = text
        if self.problem is None:
            self.value = self.setting.parse(text)
        self.post_message(self.Changed(self))
        self.schedule()

    def _put(self, value: Value) -> None:
        bounds = self._bounds
        if isinstance(value, (int, float)) and not isinstance(value, bool) and bounds is not None:
            value = min(bounds[1], max(bounds[0], value))
            value = round(value) if self.setting.type is int else value
        self._typed = None
        self.value = self.setting.parse(value)
        self.post_message(self.Changed(self))
        self.schedule()

    # --- painting ---------------------------------------------------------------------------------------------------

    def _shown(self) -> str:
        if self._typed is not None:
            return self._typed
        if isinstance(self.value, bool):
            return self.t("lesson.parameter.on") if self.value else self.t("lesson.parameter.off")
        return f"{self.value:g}" if isinstance(self.value, float) else str(self.value)

    def _name_cells(self) -> int:
        return min(_LONGEST_NAME, max(16, self.size.width // 3))

    def _slider_start(self) -> int:
        return self._name_cells() + _VALUE_CELLS + 6

    def paint(self, width: int, height: int) -> list[Row]:  # noqa: ARG002 (one line)
        """The line."""
        less, more = ("<", ">") if self.ascii_only else ("‹", "›")
        name = fit(clean_line(self.say(self.setting.parameter.label)), self._name_cells())
        changed = self.value != self.setting.default
        style = "wrong" if self.problem else "changed" if changed else "value"
        value = fit(self._shown(), max(_VALUE_CELLS, width_of(self._shown())))
        row: Row = [(f"{name} ", "name"), (f"{less} ", "rest"), (value, style), (f" {more}  ", "rest")]
        if self._bounds is not None:
            low, high = self._bounds
            place = round(self._share() * (_SLIDER_CELLS - 1))
            line, knob = ("-", "o") if self.ascii_only else ("─", "●")
            slider = line * place + knob
            rest = line * (_SLIDER_CELLS - 1 - place)
            row += [(slider, "slider"), (rest, "rest"), (f"  {low:g}…{high:g}", "rest")]
        else:
            row.append(("  ".join(self._option(option) for option in self._options), "rest"))
        return [row]

    def _option(self, option: Value) -> str:
        if isinstance(option, bool):
            return self.t("lesson.parameter.on") if option else self.t("lesson.parameter.off")
        return f"{option:g}" if isinstance(option, float) else str(option)

    def style_of(self, key: StyleKey) -> Style:
        """A part's component style."""
        return self.get_component_rich_style(f"parameter-line--{key}", partial=True)
