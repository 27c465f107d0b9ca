"""What an experiment showed: the events drawn, and under them, dim, the curves of the run before."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.containers import Vertical

from lessons.recorded import PREDICTION
from lessons.report import changed_values
from lessons.results import Results
from minimind.events import Claim, Event
from minimind.experiment import Experiment
from minimind_tui.speech import Speaker
from minimind_tui.widgets.event_view import EventView
from minimind_tui.widgets.line import Line

_MOST_CHANGES = 4


class ResultsView(Speaker, Vertical):
    """Results of `experiment`: `begin` anew, `feed` what comes, or `show` all at once."""

    DEFAULT_CSS = """
    ResultsView { height: auto; }
    ResultsView > Line { color: $text-muted; text-style: italic; margin: 0 0 1 0; }
    ResultsView > .-hidden { display: none; }
    """

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        self._experiment = experiment
        self._other: Results | None = None
        self._values = experiment.resolve()
        self.has_other_run = False
        self.shows_other_run = True

    def compose(self) -> ComposeResult:
        """What differs from the run before; the events."""
        yield Line(classes="-hidden")
        yield EventView(names=self._experiment.names)

    def begin(self, results: Results, other: Results | None) -> None:
        """Forget what is drawn; `results` (maybe empty so far) have come after `other`."""
        self._values = dict(results.values)
        self._other = other
        self.has_other_run = other is not None and bool(other.charts)
        view = self.query_one(EventView)
        view.clear()
        self._apply()
        self.feed(results.events)

    def feed(self, events: Iterable[Event]) -> None:
        """Draw what came; the outcome of the prediction is told elsewhere."""
        view = self.query_one(EventView)
        view.feed(event for event in events if not (isinstance(event, Claim) and event.id == PREDICTION))

    def toggle_other_run(self) -> None:
        """Show the run before, or hide it."""
        self.shows_other_run = not self.shows_other_run
        self._apply()

    def _apply(self) -> None:
        shown = self.has_other_run and self.shows_other_run and self._other is not None
        charts = self._other.charts if shown and self._other is not None else {}
        self.query_one(EventView).show_other_run(charts)
        self.query_one(Line).set_class(not shown, "-hidden")
        self.relabel()

    def relabel(self) -> None:
        """Say in what the run before differs."""
        if self._other is None:
            return
        changes = changed_values(self._experiment, self._other.values, self._values, self.language)
        listed = (", " if self.language == "en" else "，").join(changes[:_MOST_CHANGES])
        more = " …" if len(changes) > _MOST_CHANGES else ""
        key = "lesson.experiment.overlay" if changes else "lesson.experiment.overlay_same"
        self.query_one(Line).show(self.t(key, changes=f"{listed}{more}"))
