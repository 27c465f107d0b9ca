"""What a person can set: language, colours, characters; and where their files are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from minimind import paths
from minimind.events import LANGUAGES
from minimind.safe_text import clean_line
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.settings import COLOR_DEPTHS, THEMES
from minimind_tui.widgets.list_table import Column, ListTable, TableRow

_COLUMNS = (Column("settings.column.setting", 28), Column("settings.column.value", 0))
Choice = TypeVar("Choice")


class SettingsScreen(MiniMindScreen):
    """A line a setting; Enter takes the next value, which holds at once and is kept."""

    TITLE_KEY = "settings.title"
    DEFAULT_CSS = """
    SettingsScreen ListTable { height: 8; margin: 1 1 0 1; }
    SettingsScreen #about { height: auto; margin: 1 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space", "change(1)", "settings.key.next"),
        Binding("left", "change(-1)", "settings.key.previous"),
    ]

    def compose_body(self) -> ComposeResult:
        """The table, and where things are."""
        yield ListTable(_COLUMNS)
        yield Static(markup=False, id="about")

    def on_mount(self) -> None:
        """Speak for the first time."""
        self.relabel()

    def relabel(self) -> None:
        """Show every value in the current language."""
        settings = self.app.settings
        values = {
            "language": self.t("common.language_name"),
            "theme": self.t(f"settings.theme.{settings.theme}"),
            "ascii_only": self.t("settings.on" if self.app.ascii_only else "settings.off"),
            "color": self.t(f"settings.color.{settings.color}"),
            "bell": self.t("settings.on" if settings.bell else "settings.off"),
        }
        rows = [TableRow(name, (self.t(f"settings.name.{name}"), f"‹ {value} ›")) for name, value in values.items()]
        self.query_one(ListTable).set_rows(rows)
        places = (("home", paths.home()), ("runs", paths.runs()), ("progress", paths.progress()))
        lines = [f"{self.t(f'settings.place.{name}')}  {clean_line(str(place))}" for name, place in places]
        lines += ["", self.t("settings.home_hint"), self.t("settings.training_hint")]
        self.query_one("#about", Static).update(Content("\n".join(lines)))

    @on(ListTable.Chosen)
    def _choose(self) -> None:
        self.action_change(1)

    def action_change(self, step: int) -> None:
        """The next or the previous value of the setting under the cursor."""
        changes: dict[str, Callable[[int], None]] = {
            "language": self._change_language,
            "theme": self._change_theme,
            "ascii_only": self._change_ascii,
            "color": self._change_color,
            "bell": self._change_bell,
        }
        current = self.query_one(ListTable).current
        if current is not None:
            changes[current](step)
            self.relabel()

    def _change_language(self, step: int) -> None:
        self.app.language = _neighbour(LANGUAGES, self.app.language, step)

    def _change_theme(self, step: int) -> None:
        self.app.choose_theme(_neighbour(THEMES, self.app.settings.theme, step))

    def _change_ascii(self, _step: int) -> None:
        self.app.ascii_only = not self.app.ascii_only

    def _change_bell(self, _step: int) -> None:
        self.app.settings.bell = not self.app.settings.bell
        self.app.settings.save()

    def _change_color(self, step: int) -> None:
        self.app.settings.color = _neighbour(COLOR_DEPTHS, self.app.settings.color, step)
        self.app.settings.save()
        self.app.tell(self.t("settings.at_next_start"))


def _neighbour(choices: Sequence[Choice], current: Choice, step: int) -> Choice:
    return choices[(list(choices).index(current) + step) % len(choices)]
