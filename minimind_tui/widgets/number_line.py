"""A prediction that is a number: a line with a slider, empty until the learner moves it or types."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from minimind.events import Text
from minimind.experiment import Number, Parameter, Setting, Value
from minimind.safe_text import clean_line
from minimind_tui.widgets.painted import Row
from minimind_tui.widgets.parameter_line import ParameterLine

_LABEL = Text("your number", "你的数字")


class NumberLine(ParameterLine):
    """Like a parameter; Enter posts `Given`, once there is a number. Nothing is suggested before."""

    DEFAULT_CSS = """
    NumberLine { width: 1fr; height: 1; background: $background; }
    NumberLine:focus { background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "give", "lesson.key.choose")]

    class Given(Message):
        """This number was predicted."""

        def __init__(self, number: float) -> None:
            super().__init__()
            self.number = number

    def __init__(self, number: Number) -> None:
        middle = (number.low + number.high) / 2
        super().__init__(Setting("prediction", float, middle, Parameter(_LABEL, number.low, number.high)), middle)
        self._unit = number.unit
        self._is_given = False

    def action_give(self) -> None:
        """Predict this number."""
        if self._is_given and self.problem is None:
            self.post_message(self.Given(float(self.value)))

    def _type(self, text: str) -> None:
        self._is_given = True
        super()._type(text)

    def _put(self, value: Value) -> None:
        self._is_given = True
        super()._put(value)

    def _shown(self) -> str:
        return super()._shown() if self._is_given else "?"

    def paint(self, width: int, height: int) -> list[Row]:
        """The line, the unit at its end; without a knob while nothing is chosen."""
        (row,) = super().paint(width, height)
        if not self._is_given:
            row = [(text.replace("●", "─").replace("o", "-") if key == "slider" else text, key) for text, key in row]
        return [[*row, (f" {clean_line(self.say(self._unit))}" if self._unit else "", "rest")]]
