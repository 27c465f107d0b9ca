"""What a run said: its alerts and notes, and the end of its log. It stays at the end unless one scrolls up."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from minimind.events import Alert, Note
from minimind.safe_text import clean, clean_line
from minimind_tui.run_watch import RunSnapshot
from minimind_tui.speech import Speaker

_MOST = 20
_LONGEST = 600
_STYLES = {"info": "$text-muted", "warning": "$warning", "error": "bold $error"}


class RunLog(Speaker, VerticalScroll, can_focus=True):
    """Alerts, notes and log lines of a run; all of it is untrusted."""

    DEFAULT_CSS = """
    RunLog { height: 1fr; padding: 0 1; }
    RunLog:focus { background: $surface; }
    RunLog Static { height: auto; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._alerts: tuple[Alert, ...] = ()
        self._notes: tuple[Note, ...] = ()
        self._log: tuple[str, ...] = ()
        self._shown: tuple[object, ...] | None = None
        self._text = Static("", markup=False)

    def compose(self) -> ComposeResult:
        """One text."""
        yield self._text

    def on_mount(self) -> None:
        """Speak for the first time."""
        self.relabel()

    def take(self, snapshot: RunSnapshot) -> None:
        """Show what this snapshot has."""
        self._alerts, self._notes, self._log = snapshot.alerts, snapshot.notes, snapshot.log
        self.relabel()

    def relabel(self) -> None:
        """Speak again; nothing is sent where nothing changed."""
        shown = (self.language, self._alerts[-_MOST:], self._notes[-_MOST:], self._log)
        if shown == self._shown:
            return
        self._shown = shown
        at_end = self.scroll_offset.y >= self.max_scroll_y
        parts = [Content.styled(self._alert(alert), _STYLES[alert.level]) for alert in self._alerts[-_MOST:]]
        parts += [Content(clean(self.say(note.text), _LONGEST)) for note in self._notes[-_MOST:]]
        parts += self._lines(self._log)
        self._text.update(Content("\n").join(parts) if parts else Content(self.t("run.log_none")))
        if at_end:
            self.call_after_refresh(self.scroll_end, animate=False)

    def _alert(self, alert: Alert) -> str:
        step = "" if alert.step is None else self.t("run.step", step=alert.step) + ": "
        return step + clean(self.say(alert.text), _LONGEST)

    def _lines(self, log: Sequence[str]) -> list[Content]:
        if not log:
            return []
        return [
            Content.styled("log.txt", "$text-muted"),
            Content("\n".join(clean_line(line, _LONGEST) for line in log)),
        ]
