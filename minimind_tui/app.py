"""The app: three modes, the keys that work everywhere, language and theme, and a clean end whatever happens."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast, runtime_checkable

from rich.text import Text as RichText
from textual import work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import CommandPalette, Provider
from textual.filter import LineFilter
from textual.reactive import reactive

from minimind import paths
from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import LANGUAGES, Language, Text
from minimind.language import from_locale
from minimind.safe_text import clean
from minimind_tui import crash, settings, strings, terminal
from minimind_tui.filters import NoControls
from minimind_tui.garbage import settle
from minimind_tui.rows import width_of
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.speech import relabel_tree
from minimind_tui.themes import THEMES
from minimind_tui.typography import install as install_typography

if TYPE_CHECKING:
    from lessons.lesson import LearningPath
    from minimind_tui.run_news import News, RunNews

_SCREENS = {
    "learn": "home:HomeScreen",
    "lesson": "lesson:LessonScreen",
    "review": "review:ReviewScreen",
    "mine": "mine:MineScreen",
    "search": "search:SearchScreen",
    "known": "known:KnownScreen",
    "paths": "paths:PathsScreen",
    "recap": "recap:RecapScreen",
    "runs": "runs:RunsScreen",
    "run": "run:RunScreen",
    "compare": "compare:CompareScreen",
    "lens": "lens:LensScreen",
    "train": "new_run:NewRunScreen",
    "recipes": "recipes:RecipesScreen",
    "ablation": "ablation:AblationScreen",
    "chat": "chat:ChatScreen",
    "settings": "settings:SettingsScreen",
    "doctor": "doctor:DoctorScreen",
    "guide": "guide:GuideScreen",
    "help": "help:HelpScreen",
}
"""Where each screen's class is; imported when first shown."""

_WATCHDOG_SECONDS = 5.0
_NEWS_SECONDS = 5.0
_NOTICE_SECONDS = 4.0
_WARNING_SECONDS = 8.0
_CELLS_READ = 15.0
"""Columns of text a person reads in a second, without hurry."""


def screen_class(name: str) -> Callable[..., MiniMindScreen]:
    """The class of the screen `name`, importing its module."""
    module, _, attribute = _SCREENS[name].partition(":")
    return cast(
        "Callable[..., MiniMindScreen]", getattr(importlib.import_module(f"minimind_tui.screens.{module}"), attribute)
    )


@runtime_checkable
class OpensModel(Protocol):
    """A chat screen: `open_model` loads another model, and does nothing where it is the one it has."""

    def open_model(self, path: str) -> None:
        """Load the model at `path` (a checkpoint, a run id or a shipped model's name)."""


def _menu() -> type[Provider]:
    from minimind_tui.menu import Menu

    return Menu


def _live_runs() -> int:
    """How many runs are training on this machine."""
    from minimind.training.runs import list_runs

    return sum(view.status().live for view in list_runs())


class MiniMindApp(App[None]):
    """The terminal app. `show_…` open a screen; `t` speaks; `language` switches live."""

    TITLE = "MiniMind"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar[set[Any]] = {_menu}
    DEFAULT_MODE = "learn"
    MODES: ClassVar[dict[str, Any]] = {"learn": lambda: screen_class("learn")(), "runs": lambda: screen_class("runs")()}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1,question_mark", "help", "common.key.help", show=False),
        Binding("f2,1", "go('learn')", "common.key.learn", show=False),
        Binding("f3,2", "go('runs')", "common.key.runs", show=False),
        Binding("f4,3", "go('chat')", "common.key.chat", show=False),
        Binding("f5", "train", "common.key.train", show=False),
        Binding("f6", "show('settings')", "common.key.settings", show=False),
        Binding("f7", "show('doctor')", "common.key.doctor", show=False),
        Binding("f8,ctrl+l", "next_language", "common.key.language", show=False),
        Binding("f9", "next_theme", "common.key.theme", show=False),
        Binding("slash", "show('search')", "common.key.search", show=False),
        Binding("escape", "back", "common.key.back", show=False),
        Binding("q", "quit", "common.key.quit"),
        Binding("ctrl+z", "suspend_process", "common.key.suspend", show=False),
    ]

    language: reactive[Language] = reactive[Language]("en", init=False)
    ascii_only: reactive[bool] = reactive(False, init=False)

    def __init__(self, *, language: Language | None = None, target: Sequence[str] = ()) -> None:
        no_color = os.environ.get("NO_COLOR")
        self.no_colors = bool(no_color)
        super().__init__(ansi_color=True if no_color else None)
        if no_color:  # Textual takes it out of the environment; children need it
            os.environ["NO_COLOR"] = no_color
        install_typography()
        self.animation_level = "none"
        self.remote = terminal.is_remote(os.environ)
        self.settings = settings.Settings.load()
        self.has_crashed = False
        self.crash_log: Path | None = None
        self._chat_path: str | None = None
        self._target = tuple(target)
        self._last_net = NoControls()
        self._news: RunNews | None = None
        self.last_run: Path | None = None
        """The run that was looked at last: the list's cursor goes there."""
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = "minimind-ansi" if self.no_colors else self.settings.theme
        self.set_reactive(MiniMindApp.language, language or self.settings.language or from_locale())
        self.set_reactive(MiniMindApp.ascii_only, self.settings.ascii_only or terminal.lacks_braille(os.environ))
        self.add_mode("chat", lambda: screen_class("chat")(self._chat_path))

    def t(self, key: str, **values: Any) -> str:
        """The interface string of `key`, in the current language."""
        return strings.speak(key, self.language, **values)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters and the last net against control characters."""
        return [*super().get_line_filters(), self._last_net]

    # --- life ---------------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Catch the signals that would leave the terminal in disorder, watch for its loss, open what was asked for."""
        if not self.is_headless:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, partial(self.exit, None, 128 + number))
            self.set_interval(_WATCHDOG_SECONDS, self._leave_without_terminal)
            self.set_interval(_NEWS_SECONDS, self.look_for_news)
            self.app_resume_signal.subscribe(self, self._paint_again)
        if not gc.isenabled():
            self.call_after_refresh(settle)
        if self._target:
            self.call_after_refresh(self._open_target)

    @work(group="news", exclusive=True)
    async def look_for_news(self) -> None:
        """Tell of alerts and ends of runs, whatever is on the screen; a bell rings unless it is switched off."""
        news = await asyncio.to_thread(self._poll_news)
        for item in news:
            self.tell(item.text, severity=item.level)
        if news and self.settings.bell:
            self.bell()

    def _poll_news(self) -> list[News]:
        from minimind.training.queue import wake_runner
        from minimind_tui.run_news import RunNews

        wake_runner()
        if self._news is None:
            self._news = RunNews()
        return self._news.poll()

    def _paint_again(self, _app: App[None]) -> None:
        """After ctrl+z and fg the terminal is empty, which Textual does not notice."""
        self.screen.refresh(layout=True)

    def _leave_without_terminal(self) -> None:
        if not terminal.is_attached():
            self.exit(return_code=128 + signal.SIGHUP)

    def _handle_exception(self, error: Exception) -> None:
        # Textual would print the traceback with local values; a person gets one line, the file has the rest.
        self._return_code = 1
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
            self.has_crashed = True
            self.crash_log = crash.write(error)
        self._close_messages_no_wait()

    # --- language and looks ---------------------------------------------------------------------------------------

    def watch_language(self) -> None:
        """Speak the new language on every open screen, and remember it."""
        for screen in self.screen_stack:
            if isinstance(screen, MiniMindScreen):
                screen.speak()
            else:
                relabel_tree(screen)
        self.settings.language = self.language
        self.settings.save()

    def watch_ascii_only(self) -> None:
        """Redraw with or without characters beyond ASCII."""
        for screen in self.screen_stack:
            relabel_tree(screen)
        self.settings.ascii_only = self.ascii_only
        self.settings.save()

    def action_next_language(self) -> None:
        """Switch between English and Chinese."""
        self.language = LANGUAGES[(LANGUAGES.index(self.language) + 1) % len(LANGUAGES)]

    def action_next_theme(self) -> None:
        """Dark, light, the terminal's own colours, and round again."""
        names = settings.THEMES
        current = names.index(self.settings.theme)
        self.choose_theme(names[(current + 1) % len(names)])

    def choose_theme(self, name: settings.Theme) -> None:
        """Use a theme and remember it; under NO_COLOR it is only remembered."""
        self.settings.theme = name
        self.settings.save()
        if self.no_colors:
            self.tell(self.t("common.no_color"))
        else:
            self.theme = name

    # --- where to ---------------------------------------------------------------------------------------------------

    async def action_go(self, mode: str) -> None:
        """Switch to a mode, as it was left."""
        if mode == self.current_mode:
            await self._unwind()
        else:
            await self.switch_mode(mode)

    async def action_show(self, name: str) -> None:
        """Open a screen that stands above the current one (once)."""
        made = screen_class(name)
        if type(self.screen) is not made:
            await self.push_screen(made())

    async def action_train(self) -> None:
        """Open the form of a new run."""
        await self.show_new_run()

    async def action_back(self) -> None:
        """Close this screen; from a mode's first screen, go home."""
        if len(self.screen_stack) > 1:
            await self.pop_screen()
        elif self.current_mode != "learn":
            await self.switch_mode("learn")

    def action_command_palette(self) -> None:
        """Open the menu of everything."""
        if not any(isinstance(screen, CommandPalette) for screen in self.screen_stack):
            self.push_screen(CommandPalette(placeholder=self.t("menu.placeholder"), id="--command-palette"))

    def action_screenshot(self, filename: str | None = None, path: str | None = None) -> None:
        """Save the screen as an SVG picture among the person's files, and say where."""
        folder = Path(path) if path else paths.pictures()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            saved = self.save_screenshot(filename, str(folder))
        except OSError as error:
            self.tell(self.t("common.not_saved", path=str(folder), reason=error.strerror or ""), severity="error")
        else:
            self.tell(self.t("common.saved", path=saved))

    async def action_quit(self) -> None:
        """Leave; what trains goes on, and is said so."""
        live = await asyncio.to_thread(_live_runs)
        self.exit(message=RichText(self.t("common.runs_go_on", count=live)) if live else None)

    async def action_help(self) -> None:
        """Explain the keys that work here."""
        await self.push_screen(screen_class("help")(self.screen.active_bindings))

    async def show_lesson(self, slug: str, page: str | None = None, path: LearningPath | None = None) -> None:
        """Open a lesson in the learn mode, at `page` or where the reader stopped, as a stop of `path`."""
        await self._show_in("learn", "lesson", slug, page, path)

    def leave_for_lesson(self, slug: str, page: str | None = None) -> None:
        """Open a lesson from a screen above: by a message of the app's own, for a screen cannot wait for its own end."""
        self.call_later(self.show_lesson, slug, page)

    async def show_lesson_after(self, slug: str, path: LearningPath | None = None) -> None:
        """Open the lesson that follows `slug` (on `path`); where none does, the path's questions, or home."""
        from minimind_tui.overview import Course

        course = await asyncio.to_thread(Course.read)
        following = course.lesson_after(slug, None if path is None else path.id)
        if following is not None:
            await self.show_lesson(following, None, path)
        elif path is not None and path.recap:
            await self.show_recap(path.id)
        else:
            await self._unwind()

    async def show_recap(self, path_id: str) -> None:
        """Open the questions at the end of a path."""
        await self._show_in("learn", "recap", path_id)

    async def show_test(self, slug: str) -> None:
        """Open the test that shows that one knows a lesson already."""
        await self._show_in("learn", "known", slug)

    async def show_run(self, directory: Path) -> None:
        """Open a run in the runs mode."""
        self.last_run = directory
        await self._show_in("runs", "run", directory)

    async def show_comparison(self, directories: Sequence[Path]) -> None:
        """Open several runs in one chart, in the runs mode."""
        await self._show_in("runs", "compare", directories)

    async def show_lens(self, config: TrainConfig) -> None:
        """Open, above this screen, the samples that a run with `config` trains on."""
        await self.push_screen(screen_class("lens")(config))

    async def show_new_run(self, values: Mapping[str, Any] | None = None) -> None:
        """Open the form of a new run, filled in with `values` (fields of TrainConfig)."""
        await self._show_in("runs", "train", values)

    async def show_chat(self, path: str | None = None) -> None:
        """Open the chat, with a checkpoint, a run id or a shipped model's name."""
        if path is not None:
            self._chat_path = path
        await self.switch_mode("chat")
        await self._unwind()
        if path is not None and isinstance(self.screen, OpensModel):
            self.screen.open_model(path)

    async def _show_in(self, mode: str, name: str, *arguments: Any) -> None:
        try:
            made = screen_class(name)(*arguments)
        except UserError as error:
            self.tell(error.text, severity="error")
            return
        if mode != self.current_mode:
            await self.switch_mode(mode)
        await self._unwind()
        await self.push_screen(made)

    async def _unwind(self) -> None:
        while len(self.screen_stack) > 1:
            await self.pop_screen()

    async def _open_target(self) -> None:
        """Open what the command line asked for."""
        mode, *rest = self._target
        argument = rest[0] if rest else None
        if mode == "learn" and argument:
            await self.show_lesson(argument)
        elif mode == "runs" and argument:
            await self._find_and_show_run(argument)
        elif mode == "chat":
            await self.show_chat(argument)
        else:
            await self.action_go(mode)

    async def _find_and_show_run(self, text: str) -> None:
        from minimind.training.runs import find_run

        try:
            directory = find_run(text)
        except UserError as error:
            self.tell(error.text, severity="error")
        else:
            await self.show_run(directory)

    def tell(self, message: str | Text, severity: Literal["information", "warning", "error"] = "information") -> None:
        """Show a short message for as long as it takes to read. May be called from any thread."""
        words = clean(message if isinstance(message, str) else message.of(self.language))
        timeout = (_NOTICE_SECONDS if severity == "information" else _WARNING_SECONDS) + width_of(words) / _CELLS_READ
        self.notify(words, severity=severity, timeout=timeout, markup=False)
