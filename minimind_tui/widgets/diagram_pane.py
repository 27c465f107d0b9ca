"""The block diagram over the experiment that trains what its switches say."""

from __future__ import annotations

from dataclasses import asdict

from textual import on
from textual.app import ComposeResult
from textual.containers import ScrollableContainer
from textual.content import Content
from textual.widgets import Static

from minimind.lab.switches import SWITCHES, Switches
from minimind_tui.lesson_record import LessonRecord
from minimind_tui.widgets.block_diagram import BlockDiagram
from minimind_tui.widgets.experiment_pane import ExperimentPane
from minimind_tui.widgets.parameter_line import ParameterLine

EXPERIMENT = "what_if"


class DiagramPane(ExperimentPane):
    """The experiment ``what_if``, whose switches are set in the picture; those `shown` can be turned."""

    DEFAULT_CSS = """
    DiagramPane > .picture { height: auto; overflow: auto hidden; scrollbar-size-horizontal: 1; }
    DiagramPane > .about { height: auto; margin: 1 0 0 0; color: $foreground; }
    DiagramPane > .changes { height: auto; color: $text-muted; margin: 0 0 1 0; }
    """

    def __init__(self, shown: tuple[str, ...], record: LessonRecord) -> None:
        usual = {name: str(value) for name, value in asdict(Switches()).items()}
        super().__init__(EXPERIMENT, usual, record, predict=False)
        self._shown = shown

    def compose(self) -> ComposeResult:
        """The picture, what is said of it, and the experiment."""
        with ScrollableContainer(classes="picture", can_focus=False):
            yield BlockDiagram(self._shown)
        yield Static(markup=False, classes="about")
        yield Static(markup=False, classes="changes")
        yield from super().compose()

    @property
    def diagram(self) -> BlockDiagram:
        """The picture."""
        return self.query_one(BlockDiagram)

    def relabel(self) -> None:
        """Speak again; the experiment's own lines for the switches stay out of sight."""
        super().relabel()
        if self.display:  # else the page is being turned
            self._show_switches()

    def _show_switches(self) -> None:
        """Say what the cursor is on and what is changed, and hand the switches to the experiment."""
        self.query_one(".about", Static).update(Content(self.diagram.said_of_current()))
        self.query_one(".changes", Static).update(Content(self.diagram.said_of_changes()))
        values = asdict(self.diagram.switches)
        self._given.update(values)
        for line in self.query(ParameterLine):
            name = line.setting.name
            if name in SWITCHES:
                line.display = False
                if line.value != values[name]:
                    line.set_value(values[name])

    @on(BlockDiagram.Moved)
    def _moved(self, event: BlockDiagram.Moved) -> None:
        event.stop()
        self._show_switches()

    def action_defaults(self) -> None:
        """Set every switch and every parameter as usual."""
        self.diagram.set_switches(Switches())
        self._show_switches()
        super().action_defaults()
