"""A form made from a config's declarations: a row a field, its help beside it, its error under it."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, Select, Static

from minimind.config import Config, Declared, parse_value
from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean
from minimind_tui import strings
from minimind_tui.speech import Speaker
from minimind_tui.widgets.phrase import Phrase

Editor: TypeAlias = "Input | Select[str]"


def as_text(declared: Declared, value: Any) -> str:
    """`value` as a person would type it."""
    if value is None:
        return ""
    if declared.type is tuple:
        return shlex.join(value)
    if declared.type is bool:
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_value(declared: Declared, typed: Any) -> Any:
    """The value of what was typed. Raises UserError naming the field, what was typed and the remedy."""
    if declared.type is tuple and isinstance(typed, str):
        try:
            typed = tuple(shlex.split(typed))
        except ValueError:
            raise UserError(
                f"{declared.name}: a quotation mark is not closed", f"{declared.name}：引号没有配对"
            ) from None
    return parse_value(declared, typed)


class SettingRow(Speaker, Widget):
    """One field: name, editor, help, and an error line while there is an error."""

    DEFAULT_CSS = """
    SettingRow { height: auto; layout: vertical; }
    SettingRow Horizontal { height: 1; }
    SettingRow .setting-name { width: 25; padding: 0 1; color: $foreground; }
    SettingRow .setting-help { width: 1fr; padding: 0 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    SettingRow .setting-error { display: none; color: $error; padding: 0 1 0 3; height: auto; }
    SettingRow.-wrong .setting-error { display: block; }
    SettingRow.-changed .setting-name { text-style: bold; color: $accent; }
    SettingRow Input, SettingRow Select { width: 20; }
    SettingRow Input { background: $surface; }
    SettingRow Input:focus { background: $panel; }
    """

    def __init__(self, declared: Declared, value: Any, suggestions: Iterable[str] = ()) -> None:
        super().__init__(classes="-hidden" if declared.about.advanced else None)
        self.declared = declared
        self.error: Text | None = None
        self._first = value
        self.editor: Editor = self._make_editor(value, tuple(suggestions))
        self._error_line = Static("", markup=False, classes="setting-error")

    def _make_editor(self, value: Any, suggestions: tuple[str, ...]) -> Editor:
        declared = self.declared
        choices = ("false", "true") if declared.type is bool else declared.about.choices
        if declared.type is tuple:
            suggestions, choices = suggestions or choices, ()
        if choices:
            shown = as_text(declared, value)
            return Select[str]([(name, name) for name in choices], value=shown, allow_blank=False, compact=True)
        editor = Input(
            as_text(declared, value),
            placeholder="none" if declared.optional else "",
            suggester=SuggestFromList(suggestions) if suggestions else None,
            compact=True,
            select_on_focus=False,
        )
        editor.cursor_blink = False
        return editor

    def compose(self) -> ComposeResult:
        """Name, editor and help on one line; the error below."""
        with Horizontal():
            yield Static(Content(self.declared.name), classes="setting-name")
            yield self.editor
            yield Phrase(self.declared.about.help, classes="setting-help")
        yield self._error_line

    @property
    def typed(self) -> Any:
        """What the editor holds."""
        value = self.editor.value
        # A Select has its value only once it is mounted.
        return as_text(self.declared, self._first) if value is Select.NULL else value

    def suggest(self, words: Iterable[str]) -> None:
        """Offer to complete what is typed to one of these."""
        if isinstance(self.editor, Input):
            self.editor.suggester = SuggestFromList(tuple(words))

    def put(self, value: Any, first: Any) -> None:
        """Show `value`; it counts as changed where it differs from `first`."""
        self._first = first
        shown = as_text(self.declared, value)
        if shown != self.editor.value:
            self.editor.value = shown
        self.mark()

    def mark(self, error: Text | None = None) -> None:
        """Show `error` under the field (None: nothing), and whether the field was changed."""
        self.error = error
        self.set_class(error is not None, "-wrong")
        try:
            changed = as_value(self.declared, self.typed) != self._first
        except UserError:
            changed = True
        self.set_class(changed, "-changed")
        self.relabel()

    def relabel(self) -> None:
        """Speak again."""
        self._error_line.update(Content(clean(self.say(self.error))) if self.error else "")


class ConfigForm(Speaker, VerticalScroll):
    """A row for each field of a config class but `skip`, under the heading of the part that declares it.

    Of the `exclusive` fields, which must be optional, filling in one empties the others. Until asked, only the `main` fields are shown and those of the chosen method. A field that names the methods it is
    for is there only while one of the form's choices is one of them.
    """

    DEFAULT_CSS = """
    ConfigForm { height: 1fr; }
    ConfigForm SettingRow.-hidden { display: none; }
    ConfigForm.-all SettingRow.-hidden { display: block; }
    ConfigForm SettingRow.-off { display: none; }
    ConfigForm .form-group { display: none; height: 1; padding: 0 1; color: $primary; text-style: bold; }
    ConfigForm.-all .form-group { display: block; }
    ConfigForm.-all .form-group.-off { display: none; }
    ConfigForm #form-error { color: $error; padding: 0 1; height: auto; }
    """

    class Changed(Message):
        """Something was typed or chosen."""

        def __init__(self, form: ConfigForm) -> None:
            super().__init__()
            self.form = form

        @property
        def control(self) -> ConfigForm:
            """The form, for `on` selectors."""
            return self.form

    def __init__(
        self,
        config: Config,
        *,
        main: Iterable[str] | None = None,
        skip: Iterable[str] = (),
        suggestions: Mapping[str, Iterable[str]] | None = None,
        exclusive: Iterable[str] = (),
        id: str | None = None,
    ) -> None:
        super().__init__(id=id, can_focus=False)
        self._type = type(config)
        self._base = config
        left_out = set(skip)
        self._rows = {
            declared.name: SettingRow(
                declared, getattr(config, declared.name), (suggestions or {}).get(declared.name, ())
            )
            for declared in config.declared()
            if declared.name not in left_out
        }
        shown = None if main is None else set(main)
        for name, row in self._rows.items():
            if shown is not None:
                about = row.declared.about
                row.set_class(name not in shown and (about.advanced or not about.methods), "-hidden")
        self._groups = self._make_groups()
        self._exclusive = frozenset(exclusive)
        self._last_typed = self._typed()
        self._problem: Text | None = None
        self._problem_line = Static("", markup=False, id="form-error")

    def _make_groups(self) -> dict[str, Phrase]:
        """A heading for each part of the config, by the first of its fields that has a row."""
        groups: dict[str, Phrase] = {}
        seen = set()
        for name in self._rows:
            part = next(base.__name__ for base in self._type.__mro__ if name in inspect.get_annotations(base))
            if part not in seen:
                seen.add(part)
                key = f"config.group.{part}"
                groups[name] = Phrase(key if strings.phrase(key) else "config.group.other", classes="form-group")
        return groups if len(groups) > 1 else {}

    def compose(self) -> ComposeResult:
        """The rows in declaration order with their headings, and a line for problems of several fields together."""
        for name, row in self._rows.items():
            if name in self._groups:
                yield self._groups[name]
            yield row
        yield self._problem_line

    def on_mount(self) -> None:
        """Show what applies."""
        self._show_what_applies()

    def _show_what_applies(self) -> None:
        """Take away the fields that mean nothing with what is chosen, and headings that are left without fields."""
        chosen = {row.typed for row in self._rows.values() if isinstance(row.editor, Select)}
        group: Phrase | None = None
        for name, row in self._rows.items():
            methods = row.declared.about.methods
            applies = not methods or not chosen.isdisjoint(methods)
            row.set_class(not applies, "-off")
            if name in self._groups:
                group = self._groups[name]
                group.set_class(True, "-off")
            if group is not None and applies:
                group.set_class(False, "-off")

    @property
    def shows_all(self) -> bool:
        """Whether the fields hidden at first are shown."""
        return self.has_class("-all")

    def toggle_all(self) -> None:
        """Show or hide the fields that are not the main ones."""
        self.toggle_class("-all")

    def row(self, name: str) -> SettingRow:
        """The row of the field `name`."""
        return self._rows[name]

    def put(self, config: Config, first: Config | None = None) -> None:
        """Show the values of another config of the same class; those that differ from `first` count as changed."""
        self._base = config
        with self.prevent(Input.Changed, Select.Changed):
            for name, row in self._rows.items():
                row.put(getattr(config, name), getattr(first or config, name))
        self._show_what_applies()
        self._last_typed = self._typed()
        self._set_problem(None)

    def read(self) -> Config | None:
        """The config as typed, or None while something is wrong; what is wrong is shown at its place."""
        values: dict[str, Any] = {}
        wrong = False
        for name, row in self._rows.items():
            try:
                values[name] = as_value(row.declared, row.typed)
                row.mark()
            except UserError as error:
                if row.has_class("-off"):  # typed for another method
                    continue
                row.mark(error.text)
                wrong = True
        self._set_problem(None)
        if wrong:
            return None
        try:
            return self._base.replace(**values)
        except UserError as error:
            self.blame(error.text)
            return None

    def blame(self, problem: Text) -> None:
        """Show `problem` under the first field that it names, or else under the form."""
        for name, row in self._rows.items():
            if name in problem.en.replace(",", " ").replace(":", " ").split():
                row.mark(problem)
                return
        self._set_problem(problem)

    def focus_problem(self) -> None:
        """Bring the first wrong field into view and focus."""
        for row in self._rows.values():
            if row.error is not None:
                if row.has_class("-hidden") and not self.shows_all:
                    self.toggle_all()
                row.editor.focus()
                return

    def relabel(self) -> None:
        """Speak again."""
        self._set_problem(self._problem)

    def _set_problem(self, problem: Text | None) -> None:
        self._problem = problem
        self._problem_line.update(Content(clean(self.say(problem))) if problem else "")

    @on(Input.Changed)
    @on(Select.Changed)
    def _edited(self, event: Message) -> None:
        event.stop()
        typed = self._typed()
        # Editors also report the value they came with.
        if typed != self._last_typed:
            self._empty_others(typed)
            self._last_typed = self._typed()
            self._show_what_applies()
            self.read()
            self.post_message(self.Changed(self))

    def _empty_others(self, typed: tuple[Any, ...]) -> None:
        """Of fields that exclude each other, the one that was just filled in holds."""
        names = zip(self._rows, typed, self._last_typed, strict=True)
        filled = {name for name, now, before in names if now != before and now and name in self._exclusive}
        if len(filled) == 1:
            with self.prevent(Input.Changed):
                for name in self._exclusive - filled:
                    editor = self._rows[name].editor
                    if isinstance(editor, Input):
                        editor.value = ""

    def _typed(self) -> tuple[Any, ...]:
        return tuple(row.typed for row in self._rows.values())
