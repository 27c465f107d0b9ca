"""Which keys work where one is: generated from the bindings themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from minimind_tui import strings
from minimind_tui.rows import fit
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.widgets.key_bar import key_name

_KEY_COLUMN = 16


class HelpScreen(MiniMindScreen):
    """A list of keys and what they do: here first, then everywhere."""

    TITLE_KEY = "help.title"
    DEFAULT_CSS = """
    HelpScreen VerticalScroll { padding: 1 3; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,f1", "app.back", "common.key.back", show=False)]

    def __init__(self, bindings: Mapping[str, ActiveBinding]) -> None:
        super().__init__()
        self._explained = tuple(bindings.values())

    def compose_body(self) -> ComposeResult:
        """One scrolling text."""
        with VerticalScroll():
            yield Static(markup=False)

    def on_mount(self) -> None:
        """Write it."""
        self.relabel()

    def relabel(self) -> None:
        """Write it again in the current language."""
        here = self._lines(everywhere=False)
        everywhere = self._lines(everywhere=True)
        parts: list[Content] = []
        for key, lines in (("help.here", here), ("help.everywhere", everywhere)):
            if lines:
                parts += [Content.styled(self.t(key), "bold"), *lines, Content("")]
        parts.append(Content(self.t("help.mouse")))
        self.query_one(Static).update(Content("\n").join(parts))

    def _lines(self, *, everywhere: bool) -> list[Content]:
        """A line an action: all its keys, then its words; only what has words of ours is listed."""
        keys: dict[str, list[str]] = {}
        for active in self._explained:
            if (active.node is self.app) == everywhere:
                words = self._words(active.binding)
                if words:
                    keys.setdefault(words, []).append(key_name(active.binding))
        return [Content(fit(" / ".join(dict.fromkeys(names)), _KEY_COLUMN) + words) for words, names in keys.items()]

    def _words(self, binding: Binding) -> str:
        for key in (binding.description, f"help.action.{binding.action.partition('(')[0]}"):
            if strings.phrase(key) is not None:
                return self.t(key)
        return ""
