"""What the tests of the lesson screen share: the app opened at a page of the lesson on normalization."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from lessons.lesson import Lesson, load_lesson
from minimind.events import Language
from minimind_tui.app import MiniMindApp
from minimind_tui.screens.lesson import LessonScreen
from tests.tui.driving import until

LESSON: Lesson = load_lesson("normalization")


class Reader:
    """The app, its pilot, and the lesson screen."""

    def __init__(self, app: MiniMindApp, pilot: Pilot[None], screen: LessonScreen) -> None:
        self.app, self.pilot, self.screen = app, pilot, screen

    async def press(self, *keys: str) -> None:
        """Press keys and let the app work."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def focus(self, selector: str) -> Any:
        """Put the focus on the first widget that fits."""
        widget = self.screen.query(selector).first()
        widget.focus()
        await until(self.pilot, lambda: self.app.focused is widget)
        return widget


@asynccontextmanager
async def reading(page: str, *, language: Language = "en", size: tuple[int, int] = (80, 24)) -> AsyncIterator[Reader]:
    """The lesson, open at `page`."""
    app = MiniMindApp(language=language)
    async with app.run_test(size=size, notifications=True) as pilot:
        screen = LessonScreen("normalization", page)
        await app.push_screen(screen)
        await until(pilot, lambda: len(screen.query(".page-end")) == 1 and screen.page.id == page)
        await pilot.pause()
        yield Reader(app, pilot, screen)
