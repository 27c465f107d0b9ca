"""What the model writes for the same prompts as it learns: the newest, or any earlier step."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content, Span
from textual.widget import Widget
from textual.widgets import Static

from minimind.events import Sample
from minimind.safe_text import clean, clean_line
from minimind_tui.speech import Speaker

_LONGEST = 4000
_INLINE = 12
"""Characters of a name that still stands before its prompt; a longer one (a reward and its parts) has its own line."""


class SamplesPane(Speaker, Widget):
    """The samples of one step; it follows the newest until an older one is asked for."""

    DEFAULT_CSS = """
    SamplesPane { height: 1fr; }
    SamplesPane .pane-title { height: 1; color: $text-muted; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    SamplesPane VerticalScroll { height: 1fr; }
    SamplesPane VerticalScroll:focus { background: $surface; }
    SamplesPane .sample-text { height: auto; padding: 0 1; }
    """

    def __init__(self, *, dialogue: bool = False, id: str | None = None, classes: str | None = None) -> None:
        """With `dialogue` the model answers a question; otherwise it goes on with a text."""
        super().__init__(id=id, classes=classes)
        self._joint = "\n" if dialogue else ""
        self._samples: tuple[Sample, ...] = ()
        self._step: int | None = None
        self._shown: tuple[object, ...] | None = None
        self._title = Static("", markup=False, classes="pane-title")
        self._text = Static("", markup=False, classes="sample-text")

    def compose(self) -> ComposeResult:
        """A title row and the samples."""
        yield self._title
        with VerticalScroll(can_focus=True):
            yield self._text

    def on_mount(self) -> None:
        """Speak for the first time."""
        self.relabel()

    @property
    def steps(self) -> list[int]:
        """The steps that have samples, ascending."""
        return sorted({sample.step for sample in self._samples})

    def set_samples(self, samples: Sequence[Sample]) -> None:
        """All samples there are, oldest first."""
        self._samples = tuple(samples)
        if self._step is not None and self._step not in self.steps:
            self._step = None
        self.relabel()

    def turn(self, steps: int) -> None:
        """Go `steps` samplings towards the newest (negative: older); at the newest it follows again."""
        known = self.steps
        if not known:
            return
        place = len(known) - 1 if self._step is None else known.index(self._step)
        place = max(0, min(len(known) - 1, place + steps))
        self._step = None if place == len(known) - 1 else known[place]
        self.relabel()

    def relabel(self) -> None:
        """Speak again; nothing is sent where nothing changed."""
        known = self.steps
        step = self._step if self._step is not None else known[-1] if known else None
        samples = tuple(sample for sample in self._samples if sample.step == step)
        shown = (self.language, step, len(known), samples)
        if shown == self._shown:
            return
        self._shown = shown
        if step is None:
            self._title.update(Content(self.t("run.samples_none")))
            self._text.update(Content(""))
            return
        key = "run.samples_newest" if self._step is None else "run.samples_older"
        self._title.update(Content(self.t(key, step=step, number=known.index(step) + 1, count=len(known))))
        self._text.update(_content(samples, self._joint))


def _content(samples: Sequence[Sample], joint: str) -> Content:
    """Each sample: its prompt marked, `joint`, then how the model went on."""
    text = ""
    spans: list[Span] = []
    for sample in samples:
        if text:
            text += "\n\n"
        if sample.name and sample.name != sample.prompt:
            name = clean_line(sample.name, 120)
            name += "\n" if len(name) > _INLINE else "  "
            spans.append(Span(len(text), len(text) + len(name), "$text-muted"))
            text += name
        prompt = clean(sample.prompt, _LONGEST)
        spans.append(Span(len(text), len(text) + len(prompt), "bold $primary"))
        text += prompt + joint + clean(sample.text, _LONGEST)
    return Content(text, spans)
