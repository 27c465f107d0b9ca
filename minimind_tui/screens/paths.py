"""The paths through the course: real times, what shows that one was walked, and the badges."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from lessons.evidence import Proof, badges, proofs
from lessons.lesson import LearningPath
from minimind.safe_text import clean_line
from minimind_tui.overview import Course
from minimind_tui.screens.base import MiniMindScreen


class PathsScreen(MiniMindScreen):
    """One text: every path with its checklist, then the badges."""

    TITLE_KEY = "paths.title"
    DEFAULT_CSS = """
    PathsScreen VerticalScroll { padding: 1 2; scrollbar-gutter: stable; }
    PathsScreen #paths { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("e", "app.back", "common.key.back", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self._course: Course | None = None

    def compose_body(self) -> ComposeResult:
        """One scrolling text."""
        with VerticalScroll():
            yield Static(markup=False, id="paths")

    def on_mount(self) -> None:
        """Read the course aside."""
        self._read()

    @work(exclusive=True)
    async def _read(self) -> None:
        self._course = await asyncio.to_thread(Course.read)
        self.relabel()

    def relabel(self) -> None:
        """Speak again."""
        course = self._course
        if course is None:
            return
        lines: list[Content] = []
        for path in course.paths:
            lines += [*self._path_lines(course, path), Content("")]
        lines.append(Content.styled(self.t("paths.badges"), "bold $primary"))
        earned = badges(course.lessons, course.progress)
        lines += [self._proof_line(badge) for badge in earned]
        self.query_one("#paths", Static).update(Content("\n").join(lines))

    def _path_lines(self, course: Course, path: LearningPath) -> list[Content]:
        done, _ = course.path_done(path)
        head = self.t(
            "paths.head",
            title=self.say(path.title),
            time=self._takes(path.real_minutes),
            done=done,
            lessons=len(path.steps),
        )
        lines = [Content.styled(head, "bold $primary"), Content(clean_line(self.say(path.about)))]
        return [*lines, *(self._proof_line(proof) for proof in proofs(path, course.progress))]

    def _takes(self, minutes: int) -> str:
        return self.t("home.minutes", n=minutes) if minutes <= 90 else self.t("home.hours", n=round(minutes / 60, 1))

    def _proof_line(self, proof: Proof) -> Content:
        marks = ".+" if self.ascii_only else "○✓"
        count = "" if proof.need <= 1 else f"  {min(proof.have, proof.need)}/{proof.need}"
        words = f"{marks[proof.is_given]} {clean_line(self.say(proof.text))}{count}"
        return Content.styled(words, "$success" if proof.is_given else "$foreground")
