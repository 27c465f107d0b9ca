"""What happened to live runs since one last looked, wherever in the app one is: alerts, and how they ended. No Textual.

Polled off the event loop every few seconds. A run at rest costs a stat, one that trains the end of its file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from minimind import paths
from minimind.events import Alert, Text
from minimind.training.run_events import parse_record
from minimind.training.run_files import EVENTS
from minimind.training.run_status import STATE_NAMES, RunStatus
from minimind.training.run_view import RunView
from minimind.training.runs import list_runs
from minimind.training.tail import last_records

_END_BYTES = 64 << 10
Level = Literal["information", "warning", "error"]
_GOOD_ENDS = ("finished", "stopped")


@dataclass(frozen=True, slots=True)
class News:
    """Something a person should hear of the run in `directory`."""

    directory: Path
    text: Text
    level: Level


@dataclass(slots=True)
class _Known:
    live: bool
    size: int = -1
    alerts: set[tuple[str, int | None, str]] = field(default_factory=set)


class RunNews:
    """Remembers what it has told; the first look tells nothing."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        self._known: dict[Path, _Known] = {}
        self._views: list[RunView] = []
        self._names: frozenset[str] | None = None
        self._looked = False

    def poll(self) -> list[News]:
        """What is new, oldest run last."""
        news = []
        self._look_for_runs()
        for view in self._views:
            status = view.status()
            known = self._known.get(view.directory)
            if known is None:
                known = self._known[view.directory] = _Known(status.live)
                if not self._looked or not status.live:
                    if status.live:
                        self._alerts(view.directory, known)
                    continue
            name = view.name or view.id
            if known.live or status.live:
                news += [_alert_news(view.directory, name, alert) for alert in self._alerts(view.directory, known)]
            if known.live and not status.live:
                news.append(_end_news(view.directory, name, status))
            known.live = status.live
        here = {view.directory for view in self._views}
        self._known = {directory: known for directory, known in self._known.items() if directory in here}
        self._looked = True
        return news

    def _look_for_runs(self) -> None:
        """Open the runs anew where one came or went."""
        root = self._root or paths.runs()
        try:
            names = frozenset(entry.name for entry in root.iterdir())
        except OSError:
            names = frozenset()
        if names != self._names:
            self._names, self._views = names, list_runs(root)

    def _alerts(self, directory: Path, known: _Known) -> list[Alert]:
        """The alerts at the end of the file that were not there before."""
        path = directory / EVENTS
        try:
            size = path.stat().st_size
        except OSError:
            return []
        if size == known.size:
            return []
        known.size = size
        found = []
        for record in last_records(path, _END_BYTES):
            timed = parse_record(record) if record.get("kind") == Alert.kind else None
            if timed is None or not isinstance(timed.event, Alert):
                continue
            alert = timed.event
            key = (alert.code, alert.step, alert.text.en)
            if key not in known.alerts and alert.level != "info":
                known.alerts.add(key)
                found.append(alert)
        return found


def _alert_news(directory: Path, name: str, alert: Alert) -> News:
    text = Text(f"{name}: {alert.text.en}", f"{name}：{alert.text.zh}")
    return News(directory, text, "error" if alert.level == "error" else "warning")


def _end_news(directory: Path, name: str, status: RunStatus) -> News:
    state = STATE_NAMES[status.state]
    if status.state in _GOOD_ENDS:
        return News(directory, Text(f"{name}: {state.en}", f"{name}：{state.zh}"), "information")
    text = Text(f"{name}: {state.en} — {status.reason.en}", f"{name}：{state.zh}，{status.reason.zh}")
    return News(directory, text, "error")
