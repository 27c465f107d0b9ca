"""Where a run stands, in three rows: state and progress, then its latest figures."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style

from minimind.figures import duration, number, percent, quantity, size
from minimind.safe_text import clean_line
from minimind_tui.rows import cut, width_of
from minimind_tui.run_watch import RunSnapshot
from minimind_tui.widgets.painted import Painted, Row, StyleKey

FIGURES = (
    ("reward", "reward", number),
    ("validation_reward", "held_out", number),
    ("loss", "loss", number),
    ("validation_loss", "held_out", number),
    ("accuracy", "accuracy", percent),
    ("kl", "kl", number),
    ("learning_rate", "learning_rate", number),
    ("gradient_norm", "gradient_norm", number),
    ("tokens_per_second", "speed", quantity),
    ("memory_bytes", "memory", size),
    ("tokens", "tokens", quantity),
    ("epoch", "epoch", number),
    ("validation_bits_per_byte", "bits", number),
)
"""Series, string key and format, in the order in which they are given up when there is no room."""

_LOSSES = ("loss", "validation_loss")
_LONGEST_BAR = 40


class RunFacts(Painted):
    """Three rows that follow a run."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"run-facts--{part}" for part in ("label", "value", "good", "bad", "busy", "quiet", "done", "todo")
    }
    DEFAULT_CSS = """
    RunFacts { height: 3; background: $surface; }
    RunFacts > .run-facts--label { color: $text-muted; }
    RunFacts > .run-facts--value { color: $foreground; text-style: bold; }
    RunFacts > .run-facts--good { color: $success; text-style: bold; }
    RunFacts > .run-facts--bad { color: $error; text-style: bold; }
    RunFacts > .run-facts--busy { color: $accent; text-style: bold; }
    RunFacts > .run-facts--quiet { color: $text-muted; text-style: bold; }
    RunFacts > .run-facts--done { color: $primary; }
    RunFacts > .run-facts--todo { color: $rule; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._snapshot: RunSnapshot | None = None
        self._state, self._tone = "", "quiet"

    def set(self, snapshot: RunSnapshot, state: str, tone: str) -> None:
        """Show this; `state` in words, `tone` good, bad, busy or quiet."""
        self._snapshot, self._state, self._tone = snapshot, state, tone
        self.schedule()

    def paint(self, width: int, height: int) -> list[Row]:
        """State and progress, then as many figures as fit."""
        snapshot = self._snapshot
        if snapshot is None:
            return [[] for _ in range(height)]
        rows = [self._progress(snapshot, width), *self._figures(snapshot, width, height - 1)]
        return (rows + [[] for _ in range(height)])[:height]

    def style_of(self, key: StyleKey) -> Style:
        """The style of a part."""
        return self.get_component_rich_style(f"run-facts--{key}", partial=True)

    def _progress(self, snapshot: RunSnapshot, width: int) -> Row:
        row: Row = [(f" {self._state}  ", self._tone)]
        words = self._progress_words(snapshot)
        room = min(_LONGEST_BAR, width - sum(width_of(text) for text, _ in row) - width_of(words) - 3)
        progress = snapshot.progress
        if room >= 8 and progress and progress.total:
            done = round(room * min(1.0, max(0.0, progress.done / progress.total)))
            full, empty = ("#", "-") if self.ascii_only else ("━", "─")
            row += [(full * done, "done"), (empty * (room - done), "todo"), ("  ", "label")]
        row.append((cut(words, width - sum(width_of(text) for text, _ in row)), "value"))
        return row

    def _progress_words(self, snapshot: RunSnapshot) -> str:
        progress, words = snapshot.progress, []
        if progress is not None:
            if progress.label is not None:
                words.append(clean_line(self.say(progress.label), 60))
            if progress.total:
                words.append(percent(min(1.0, progress.done / progress.total)))
                words.append(f"{progress.done:,.0f}/{progress.total:,.0f}")
        elif snapshot.step:
            words.append(self.t("run.step", step=snapshot.step))
        eta = snapshot.latest.get("eta_seconds")
        if snapshot.status.state == "running" and eta is not None:
            words.append(self.t("run.left", time=duration(eta, self.language)))
        if snapshot.elapsed:
            key = "run.elapsed" if snapshot.status.live else "run.took"
            words.append(self.t(key, time=duration(snapshot.elapsed, self.language)))
        return " · ".join(words)

    def _figures(self, snapshot: RunSnapshot, width: int, count: int) -> list[Row]:
        rows: list[Row] = [[]]
        used = 0
        # The loss of a method that earns rewards says nothing, and its held-out one is the reward with another sign.
        silent = _LOSSES if "reward" in snapshot.latest else ()
        for series, key, shown in FIGURES:
            if series not in snapshot.latest or series in silent:
                continue
            label, value = f" {self.t(f'run.figure.{key}')} ", f"{shown(snapshot.latest[series])}  "
            needed = width_of(label) + width_of(value)
            if used + needed > width and rows[-1]:
                rows.append([])
                used = 0
            rows[-1] += [(label, "label"), (value, "value")]
            used += needed
        return rows[:count]
