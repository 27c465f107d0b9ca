"""How much an experiment computes: quick, standard or deep, and about how long that takes."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message

from minimind.experiment import BUDGETS, Budget
from minimind_tui.rows import width_of
from minimind_tui.widgets.painted import Painted, Row, StyleKey

_GAP = "  "


class BudgetLine(Painted, can_focus=True):
    """``Budget  quick  standard  deep    about 40 s of computing``, on two rows where one is too short."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"budget-line--{part}" for part in ("label", "name", "current", "cost")}
    DEFAULT_CSS = """
    BudgetLine { width: 1fr; height: auto; background: $background; }
    BudgetLine:focus { background: $surface; }
    BudgetLine > .budget-line--label { color: $foreground; }
    BudgetLine:focus > .budget-line--label { color: $primary; text-style: bold; }
    BudgetLine > .budget-line--name { color: $text-muted; }
    BudgetLine > .budget-line--current { color: $primary; text-style: bold underline; }
    BudgetLine > .budget-line--cost { color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "lesson.key.less", show=False),
        Binding("right", "move(1)", "lesson.key.more", show=False),
        Binding("up", "app.focus_previous", "lesson.key.up", show=False),
        Binding("down", "app.focus_next", "lesson.key.down", show=False),
    ]

    class Picked(Message):
        """This budget was chosen."""

        def __init__(self, budget: Budget) -> None:
            super().__init__()
            self.budget = budget

    def __init__(self) -> None:
        super().__init__()
        self.current: Budget | None = "standard"
        self._cost = ""

    def tell(self, current: Budget | None, cost: str) -> None:
        """Mark the budget that the parameters are (None: values of one's own), and say what a run costs."""
        if (current, cost) != (self.current, self._cost):
            self.current, self._cost = current, cost
            self.refresh(layout=True)
            self.schedule()

    def action_move(self, direction: int) -> None:
        """The budget beside the current one."""
        names = tuple(BUDGETS)
        place = names.index(self.current) + direction if self.current else 1
        self.post_message(self.Picked(names[max(0, min(len(names) - 1, place))]))

    def on_click(self, event: events.Click) -> None:
        """The budget under the mouse."""
        start = width_of(self._label())
        for budget in BUDGETS:
            end = start + width_of(self._said(budget)) + len(_GAP)
            if start <= event.x < end and event.y == 0:
                self.post_message(self.Picked(budget))
            start = end

    def _label(self) -> str:
        return f"{self.t('lesson.budget.label')}{_GAP}"

    def _said(self, budget: Budget) -> str:
        name = self.say(BUDGETS[budget])
        return f"[{name}]" if budget == self.current else f" {name} "

    def _first_row(self) -> Row:
        row: Row = [(self._label(), "label")]
        for budget in BUDGETS:
            row += [(self._said(budget), "current" if budget == self.current else "name"), (_GAP, "name")]
        if self.current is None:
            row.append((f"[{self.t('lesson.budget.own')}]{_GAP}", "current"))
        return row

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 (Textual's signature)
        """One row, or two."""
        return 1 if self._fits(width) else 2

    def _fits(self, width: int) -> bool:
        return sum(width_of(text) for text, _ in self._first_row()) + width_of(self._cost) <= width

    def paint(self, width: int, height: int) -> list[Row]:  # noqa: ARG002 (as high as it is)
        """The budgets, and the cost beside or below them."""
        first, cost = self._first_row(), (self._cost, "cost")
        if self._fits(width):
            return [[*first, cost]]
        return [first, [cost]]

    def style_of(self, key: StyleKey) -> Style:
        """A part's component style."""
        return self.get_component_rich_style(f"budget-line--{key}", partial=True)
