"""How screens and widgets speak: in the app's current language, again when it changes."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from textual.app import App
from textual.dom import DOMNode

from minimind.events import Language, Text
from minimind_tui import strings


@runtime_checkable
class Localized(Protocol):
    """Anything with words of its own: `relabel` is called after the language changed."""

    def relabel(self) -> None:
        """Show every word in the current language, losing nothing else."""


def language_of(app: App[Any]) -> Language:
    """The language `app` speaks (English for an app that has none)."""
    language: Language = getattr(app, "language", "en")
    return language


class Speaker:
    """Mixin of screens and widgets: `t` for interface strings, `say` for `Text` values."""

    app: Any

    @property
    def language(self) -> Language:
        """The current language."""
        return language_of(self.app)

    @property
    def ascii_only(self) -> bool:
        """Whether to draw with ASCII characters alone."""
        return bool(getattr(self.app, "ascii_only", False))

    def t(self, key: str, **values: Any) -> str:
        """The interface string of `key`, in the current language."""
        return strings.speak(key, self.language, **values)

    def say(self, text: Text) -> str:
        """`text` in the current language."""
        return text.of(self.language)


def relabel_tree(root: DOMNode) -> None:
    """Tell `root` and everything below it that the language changed."""
    for node in root.walk_children(DOMNode, with_self=True):
        if isinstance(node, Localized):
            node.relabel()
