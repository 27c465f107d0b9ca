"""What became of a run, why, and what one can do next; of a live one, its latest alert."""

from __future__ import annotations

from minimind.figures import duration, number, percent, quantity, size
from minimind.safe_text import clean_line
from minimind.training.prediction import Outcome
from minimind.training.run_status import BEGIN_AGAIN, RESUME, START_ANEW
from minimind_tui.run_watch import RunSnapshot
from minimind_tui.speech import Speaker
from minimind_tui.widgets.line import Line

_LOG_LINES = 4
_LONGEST = 400


class RunOutcome(Speaker, Line):
    """A few lines; hidden while there is nothing to say."""

    DEFAULT_CSS = """
    RunOutcome { height: auto; max-height: 9; padding: 0 1; display: none; }
    RunOutcome.-good { display: block; border-left: outer $success; }
    RunOutcome.-bad { display: block; border-left: outer $error; }
    RunOutcome.-quiet { display: block; border-left: outer $rule; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._snapshot: RunSnapshot | None = None
        self._best: float | None = None
        self._can_fine_tune = False
        self._gone = False

    def set(self, snapshot: RunSnapshot, *, best: float | None, can_fine_tune: bool) -> None:
        """Speak about this snapshot; `best` is the lowest held-out loss so far."""
        self._snapshot, self._best, self._can_fine_tune = snapshot, best, can_fine_tune
        self.relabel()

    def set_gone(self) -> None:
        """The run's directory is no longer there."""
        self._gone = True
        self.relabel()

    def relabel(self) -> None:
        """Speak again; nothing is sent where nothing changed."""
        lines, tone = self._say()
        for name in ("good", "bad", "quiet"):
            self.set_class(bool(lines) and tone == name, f"-{name}")
        self.show("\n".join(lines))

    def _say(self) -> tuple[list[str], str]:
        """The lines, and whether they are good, bad or quiet news."""
        snapshot = self._snapshot
        if self._gone:
            return [self.t("run.deleted")], "bad"
        if snapshot is None:
            return [], "quiet"
        if snapshot.loading is not None:
            return [self.t("run.loading", share=percent(snapshot.loading))], "quiet"
        if snapshot.status.live:
            return self._living(snapshot)
        if snapshot.status.state == "finished":
            return self._finished(snapshot), "good"
        return self._ended(snapshot), "quiet" if snapshot.status.state in ("created", "stopped", "elsewhere") else "bad"

    def _living(self, snapshot: RunSnapshot) -> tuple[list[str], str]:
        status = snapshot.status
        usual = status.state == "running" and status.supervised
        lines = [self.t("run.goes_on") if usual else self.say(status.reason)]
        alert = next((alert for alert in reversed(snapshot.alerts) if alert.level != "info"), None)
        if alert is None:
            return lines, "quiet"
        return [clean_line(self.say(alert.text), _LONGEST), *lines], "bad"

    def _finished(self, snapshot: RunSnapshot) -> list[str]:
        time_taken = duration(snapshot.elapsed, self.language)
        key, best = "run.finished", self._best
        if "validation_reward" in snapshot.latest and best is not None:
            key, best = "run.finished_reward", -best  # such a loss is the reward with another sign
        lines = [self.t(key, steps=snapshot.step, time=time_taken, best=number(best))]
        if snapshot.outcomes:
            lines.append(self.t("run.predicted") + " · ".join(map(self._compared, snapshot.outcomes)))
        if snapshot.checkpoints:
            lines.append(self.t("run.next_fine_tune" if self._can_fine_tune else "run.next_chat"))
        return lines

    def _compared(self, outcome: Outcome) -> str:
        """A figure as predicted and as it came."""
        before, after = (self._figure(value, outcome.unit) for value in (outcome.predicted, outcome.actual))
        arrow = "->" if self.ascii_only else "→"
        return f"{self.say(outcome.name)} {before} {arrow} {after}"

    def _figure(self, value: float, unit: str) -> str:
        match unit:
            case "s":
                return duration(value, self.language)
            case "bytes":
                return size(value)
            case "tokens/s":
                return f"{quantity(value)}/s"
            case _:
                return f"{value:.2f} {clean_line(unit, 8)}"

    def _ended(self, snapshot: RunSnapshot) -> list[str]:
        status = snapshot.status
        lines = [self.say(status.reason), *(f"  {line}" for line in status.log_lines[-_LOG_LINES:])]
        if status.state == "created":
            return [*lines, self.t("run.resume_start")]
        if status.advice is not None and not (status.resumable and status.advice in (RESUME, BEGIN_AGAIN)):
            lines.append(self.say(status.advice))
        if status.resumable and status.advice != START_ANEW:
            lines.append(self.t("run.resume_key"))
        if status.state == "stopped" and self._can_fine_tune:
            lines.append(self.t("run.next_fine_tune"))
        return lines
