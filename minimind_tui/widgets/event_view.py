"""Draws any stream of events: what an experiment yields, or what a run recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from lessons.results import DIFFERENCES
from minimind.charts import Chart
from minimind.events import Alert, Band, Claim, Event, Heatmap, Level, Note, Progress, Sample, Scalars, Table, Text
from minimind.safe_text import clean, clean_line
from minimind_tui.speech import Speaker
from minimind_tui.widgets.claim_view import ClaimView
from minimind_tui.widgets.heatmap_view import HeatmapView
from minimind_tui.widgets.line_chart import LineChart
from minimind_tui.widgets.progress_line import ProgressLine
from minimind_tui.widgets.table_view import TableView

_WIDE = 110
_MOST_SENTENCES = 100

Part = TypeVar("Part", bound=Widget)


class EventView(Speaker, Vertical):
    """What sets the arms apart, charts (one for each `Scalars.chart`), heatmaps, tables, sentences and claims, as they come.

    `feed` is called on the app's thread, at most ten times a second, with everything since the last time.
    `names` gives charts and series that are not self-explanatory a phrase in both languages.
    """

    DEFAULT_CSS = """
    EventView { width: 1fr; height: auto; }
    EventView > .charts, EventView > .heatmaps { layout: grid; grid-size: 1; grid-gutter: 1 2; height: auto; }
    EventView.-wide > .charts, EventView.-wide > .heatmaps { grid-size: 2; }
    EventView > .charts { grid-rows: 13; }
    EventView > .heatmaps { grid-rows: auto; }
    EventView > .charts LineChart { height: 13; }
    EventView > Vertical { height: auto; margin: 0 0 1 0; }
    EventView > .-empty { display: none; }
    EventView > .sentences { height: auto; margin: 0 0 1 0; }
    """

    def __init__(
        self, *, names: Mapping[str, Text] | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._names = dict(names or {})
        self._parts: dict[tuple[str, str], Widget] = {}
        self._sentences: list[Note | Sample | Alert] = []
        self._waiting: dict[str, list[Level | Band]] = {}
        self._other_run: Mapping[str, Chart] = {}

    def compose(self) -> ComposeResult:
        """A place for each kind of thing, hidden while empty."""
        yield ProgressLine(classes="-empty")
        for name in ("first", "charts", "heatmaps", "tables"):
            yield Vertical(classes=f"{name} -empty")
        yield Static(markup=False, classes="sentences -empty")
        yield Vertical(classes="claims -empty")

    def on_resize(self, event: events.Resize) -> None:
        """Two charts side by side where there is room."""
        self.set_class(event.size.width >= _WIDE, "-wide")

    def clear(self) -> None:
        """Forget everything."""
        for part in self._parts.values():
            part.remove()
        self._parts.clear()
        self._sentences.clear()
        self._waiting.clear()
        for place in self.children:
            place.add_class("-empty")
        self.query_one(ProgressLine).set_progress(None)

    def feed(self, stream: Iterable[Event]) -> None:
        """Draw these events; kinds that have no picture are passed over."""
        said = len(self._sentences)
        for event in stream:
            if isinstance(event, Scalars):
                self._add_scalars(event)
            elif isinstance(event, Heatmap):
                self._part("heatmaps", event.name, HeatmapView).set_heatmap(event)
            elif isinstance(event, Table):
                place = "first" if event.name == DIFFERENCES else "tables"
                self._part(place, event.name, TableView).set_table(event, self._names)
            elif isinstance(event, (Level, Band)):
                self._add_to_chart(event)
            elif isinstance(event, Claim):
                self._add_claim(event)
            elif isinstance(event, Progress):
                line = self.query_one(ProgressLine)
                line.remove_class("-empty")
                line.set_progress(event)
            elif isinstance(event, (Note, Sample, Alert)):
                self._sentences.append(event)
        if len(self._sentences) != said:
            del self._sentences[:-_MOST_SENTENCES]
            self._say_sentences()

    def _add_scalars(self, event: Scalars) -> None:
        chart = self._parts.get(("charts", event.chart))
        if not isinstance(chart, LineChart):
            title = self._names.get(event.chart, event.chart)
            chart = LineChart(title, axis=self._names.get(event.axis, event.axis), auto_log=True)
            self._place("charts", event.chart, chart)
            self._show_other_run(event.chart, chart)
            for waiting in self._waiting.pop(event.chart, []):
                self._add_to_chart(waiting)
        for name, value in event.values.items():
            chart.append(name, event.x, value, label=self._names.get(name))

    def _add_to_chart(self, event: Level | Band) -> None:
        """A level or a band, which waits for the first point of its chart."""
        chart = self._parts.get(("charts", event.chart))
        if not isinstance(chart, LineChart):
            self._waiting.setdefault(event.chart, []).append(event)
        elif isinstance(event, Level):
            chart.set_level(event.name, event.value, label=self._names.get(event.name))
        else:
            chart.set_band(event.name, event.x, event.low, event.high)

    def show_other_run(self, charts: Mapping[str, Chart]) -> None:
        """Draw the curves of another run dim under those of this one; none takes them away."""
        self._other_run = charts
        for (place, name), part in self._parts.items():
            if place == "charts" and isinstance(part, LineChart):
                self._show_other_run(name, part)

    def _show_other_run(self, name: str, chart: LineChart) -> None:
        other = self._other_run.get(name)
        chart.set_ghosts({} if other is None else other.curves)

    def _add_claim(self, event: Claim) -> None:
        known = self._parts.get(("claims", event.id))
        if isinstance(known, ClaimView):
            known.set_claim(event)
        else:
            self._place("claims", event.id, ClaimView(event))

    def _part(self, place: str, name: str, made: type[Part]) -> Part:
        """The widget of this name, made at its first event."""
        known = self._parts.get((place, name))
        if isinstance(known, made):
            return known
        part = made()
        self._place(place, name, part)
        return part

    def _place(self, place: str, name: str, part: Widget) -> None:
        self._parts[place, name] = part
        container = self.query_one(f".{place}", Vertical)
        container.remove_class("-empty")
        container.mount(part)

    def relabel(self) -> None:
        """Speak the sentences again (the parts look after themselves)."""
        self._say_sentences()

    def _say_sentences(self) -> None:
        place = self.query_one(".sentences", Static)
        place.set_class(not self._sentences, "-empty")
        place.update(Content("\n").join([self._sentence(item) for item in self._sentences]))

    def _sentence(self, item: Note | Sample | Alert) -> Content:
        if isinstance(item, Note):
            return Content(clean(self.say(item.text)))
        if isinstance(item, Sample):
            known = self._names.get(item.name)
            name = clean_line(self.say(known) if known else item.name, 40)
            name = "" if item.name in ("", item.prompt) else f"{name}  "
            return Content.assemble(
                (f"{item.step:>6} {name}", "$text-muted"),
                (clean_line(item.prompt, 200), "$text-muted"),
                clean_line(item.text, 1000),
            )
        color = {"error": "$error", "warning": "$warning"}.get(item.level, "$primary")
        return Content.assemble(("! ", f"bold {color}"), clean(self.say(item.text)))
