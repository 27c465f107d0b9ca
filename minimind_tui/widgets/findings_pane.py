"""What the rules of `minimind.training.diagnose` say about a run: verdict, evidence, next step, lesson."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from minimind.figures import number
from minimind.safe_text import clean, clean_line
from minimind.training.rules.finding import Finding, Severity
from minimind_tui.metrics import name_of
from minimind_tui.speech import Speaker

_MARKS: dict[Severity, tuple[str, str, str]] = {
    "error": ("✗", "x", "bold $error"),
    "warning": ("▲", "!", "bold $warning"),
    "info": ("●", "*", "bold $primary"),
}


class FindingsPane(Speaker, VerticalScroll, can_focus=True):
    """The findings, worst first; Enter asks for the lesson of the current one."""

    DEFAULT_CSS = """
    FindingsPane { height: 1fr; padding: 0 1; }
    FindingsPane Static { height: auto; margin: 0 0 1 0; }
    FindingsPane:focus .-current { background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "table.key.up", show=False),
        Binding("down,j", "move(1)", "table.key.down", show=False),
        Binding("enter", "lesson", "run.key.lesson"),
    ]

    class LessonWanted(Message):
        """The lesson `slug` was asked for."""

        def __init__(self, slug: str) -> None:
            super().__init__()
            self.slug = slug

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._findings: tuple[Finding, ...] | None = None
        self._step = 0
        self._current = 0
        self._shown: tuple[object, ...] | None = None
        self._texts: list[Static] = []

    def compose(self) -> ComposeResult:
        """A text, to which more come as findings do."""
        yield self._text(0)

    def on_mount(self) -> None:
        """Speak for the first time."""
        self.relabel()

    def set_findings(self, findings: Sequence[Finding] | None, step: int) -> None:
        """Show these, found up to `step`; None: nobody has looked yet."""
        self._findings, self._step = None if findings is None else tuple(findings), step
        self._current = max(0, min(self._current, len(self._findings or ()) - 1))
        self.relabel()

    def relabel(self) -> None:
        """Speak again; nothing is sent where nothing changed."""
        step = 0 if self._findings else self._step
        shown = (self.language, self.ascii_only, self._findings, self._current, step)
        if shown == self._shown:
            return
        self._shown = shown
        blocks = [self._block(finding) for finding in self._findings or ()]
        if not blocks:
            key = "run.findings_waiting" if self._findings is None else "run.findings_none"
            blocks = [Content(self.t(key, step=self._step))]
        while len(self._texts) < len(blocks):
            self.mount(self._text(len(self._texts)))
        for place, text in enumerate(self._texts):
            text.display = place < len(blocks)
            if text.display:
                text.update(blocks[place])
                text.set_class(bool(self._findings) and place == self._current, "-current")

    def _text(self, place: int) -> Static:
        made = Static("", markup=False, name=str(place))
        self._texts.append(made)
        return made

    def _block(self, finding: Finding) -> Content:
        mark, plain, style = _MARKS[finding.severity]
        sign = plain if self.ascii_only else mark
        title = clean_line(self.say(finding.title))
        if finding.steps is not None:
            first, last = finding.steps
            title += " · " + self.t("run.finding_steps", first=f"{first:,}", last=f"{last:,}")
        evidence = " · ".join(
            f"{clean_line(self.say(name_of(name)))} {number(value)}" for name, value in finding.evidence.items()
        )
        parts = [
            Content.styled(f"{sign} {title}", style),
            Content("  " + clean(self.say(finding.text))),
            Content.styled(f"  {evidence}", "$text-muted"),
            Content(f"  {'->' if self.ascii_only else '→'} {clean(self.say(finding.advice))}"),
            Content.styled("  " + self.t("run.finding_lesson", lesson=finding.lesson), "$text-muted"),
        ]
        return Content("\n").join(parts)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 (Textual's signature)
        """A lesson only where there is a finding."""
        return bool(self._findings) if action == "lesson" else True

    def action_move(self, steps: int) -> None:
        """To another finding; a single long one is scrolled."""
        count = len(self._findings or ())
        goal = max(0, min(self._current + steps, count - 1))
        if goal == self._current:
            self.scroll_relative(y=steps, animate=False)
            return
        self._current = goal
        self.relabel()
        self._texts[goal].scroll_visible(animate=False)

    def action_lesson(self) -> None:
        """Ask for the lesson that explains the current finding."""
        if self._findings:
            self.post_message(self.LessonWanted(self._findings[self._current].lesson))

    def on_click(self, event: events.Click) -> None:
        """A click makes a finding the current one."""
        widget = event.widget
        if self._findings and isinstance(widget, Static) and widget in self._texts:
            self._current = self._texts.index(widget)
            self.relabel()
