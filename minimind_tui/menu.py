"""The menu of everything (ctrl+p): what the keys here do, where one can go, every lesson and run; found in either language."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.screen import Screen
from textual.types import IgnoreReturnCallbackType

from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean_line
from minimind_tui import strings

if TYPE_CHECKING:
    from minimind_tui.app import MiniMindApp

_MOST_RUNS = 50
_PLACES = (
    ("menu.train", "train"),
    ("menu.learn", "go('learn')"),
    ("menu.search", "show('search')"),
    ("menu.paths", "show('paths')"),
    ("menu.review", "show('review')"),
    ("menu.mine", "show('mine')"),
    ("menu.runs", "go('runs')"),
    ("menu.recipes", "show('recipes')"),
    ("menu.ablation", "show('ablation')"),
    ("menu.chat", "go('chat')"),
    ("menu.settings", "show('settings')"),
    ("menu.doctor", "show('doctor')"),
    ("menu.guide", "show('guide')"),
    ("menu.help", "help"),
    ("menu.language", "next_language"),
    ("menu.theme", "next_theme"),
    ("menu.screenshot", "screenshot"),
    ("menu.quit", "quit"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the menu: its words in both languages, a hint, and what it does."""

    words: Text
    hint: str
    act: IgnoreReturnCallbackType


class Menu(Provider):
    """Everything the app can do from here."""

    _entries: tuple[Entry, ...] = ()

    @property
    def _app(self) -> MiniMindApp:
        return cast("MiniMindApp", self.app)

    async def startup(self) -> None:
        """Gather the lines; lessons and runs are read off the event loop."""
        found = await asyncio.to_thread(_read_places, self._app)
        self._entries = (*self._here(), *self._everywhere(), *found)

    def _here(self) -> Iterator[Entry]:
        """What the keys of this screen do."""
        seen: set[str] = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            words = strings.phrase(binding.description)
            if active.node is self.app or not active.enabled or words is None or binding.action in seen:
                continue
            # A screen's own keys are all there; of a widget's those that its key row shows, for most only move a cursor.
            if binding.show or binding.system or isinstance(active.node, Screen):
                seen.add(binding.action)
                act = partial(self._app.run_action, binding.action, active.node)
                yield Entry(words, self._app.t("menu.here"), act)

    def _everywhere(self) -> Iterator[Entry]:
        for key, action in _PLACES:
            words = strings.phrase(key)
            if words is not None:
                yield Entry(words, "", partial(self._app.run_action, action))

    async def discover(self) -> Hits:
        """Everything, before a word is typed."""
        for entry in self._entries:
            yield DiscoveryHit(Content(self._shown(entry)), entry.act, text=self._shown(entry), help=entry.hint)

    async def search(self, query: str) -> Hits:
        """Lines that match in the current language or the other one."""
        matcher = self.matcher(query)
        for entry in self._entries:
            score = max(matcher.match(entry.words.en), matcher.match(entry.words.zh))
            if score > 0:
                yield Hit(score, Content(self._shown(entry)), entry.act, text=self._shown(entry), help=entry.hint)

    def _shown(self, entry: Entry) -> str:
        return clean_line(entry.words.of(self._app.language), 100)


def _read_places(app: MiniMindApp) -> tuple[Entry, ...]:
    """A line for every lesson and for the newest runs."""
    from lessons.lesson import load_lessons
    from minimind.training.runs import list_runs

    entries = []
    try:
        for lesson in load_lessons():
            entries.append(_entry("menu.lesson", lesson.title, partial(app.show_lesson, lesson.slug)))
    except UserError as error:
        entries.append(Entry(error.text, "", app.action_help))
    for run in list_runs()[:_MOST_RUNS]:
        name = run.name or run.id
        entries.append(_entry("menu.run", Text(name, name), partial(app.show_run, run.directory)))
    return tuple(entries)


def _entry(key: str, name: Text, act: Callable[[], object]) -> Entry:
    words = Text(strings.speak(key, "en", name=name.en), strings.speak(key, "zh", name=name.zh))
    return Entry(words, "", act)
