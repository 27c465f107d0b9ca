"""The last row: the keys that do something here, in words of the current language."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from minimind_tui.rows import width_of
from minimind_tui.speech import Speaker

_KEY_NAMES = {
    "enter": "⏎",
    "escape": "Esc",
    "space": "Space",
    "tab": "Tab",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "delete": "Del",
    "backspace": "⌫",
    "question_mark": "?",
    "slash": "/",
    "plus": "+",
    "minus": "-",
    "comma": ",",
    "full_stop": ".",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "equals_sign": "=",
}


def key_name(binding: Binding) -> str:
    """How a key is written: ``^p``, ``F1``, ``⏎``, ``PgDn``."""
    if binding.key_display:
        return binding.key_display
    modifiers, key = binding.parse_key()
    name = _KEY_NAMES.get(key, key.upper() if key[:1] == "f" and key[1:].isdigit() else key)
    for modifier in modifiers:
        name = f"^{name}" if modifier == "ctrl" else f"{modifier.title()}+{name}"
    return name


class KeyBar(Speaker, Widget):
    """As many shown bindings as fit, the nearest to the focus first; help and menu always stand on the right."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-bar--key", "key-bar--words", "key-bar--off"}
    DEFAULT_CSS = """
    KeyBar { dock: bottom; height: 1; background: $panel; color: $foreground; }
    KeyBar > .key-bar--key { color: $accent; background: $panel; text-style: bold; }
    KeyBar > .key-bar--words { color: $foreground; background: $panel; }
    KeyBar > .key-bar--off { color: $text-muted; background: $panel; text-style: dim; }
    """

    def on_mount(self) -> None:
        """Follow the focus and the bindings."""
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def _bindings_changed(self, _screen: Screen[object]) -> None:
        self.refresh()

    def relabel(self) -> None:
        """Speak again."""
        self.refresh()

    def _entries(self) -> list[tuple[str, str, str, bool]]:
        """(key, its name, its words, whether it can be used), one an action."""
        seen: set[str] = set()
        entries = []
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if not binding.show or not binding.description or binding.action in seen:
                continue
            seen.add(binding.action)
            entries.append((binding.key, key_name(binding), self.t(binding.description), active.enabled))
        return entries

    def _entry(self, key: str, name: str, words: str, enabled: bool) -> list[Segment]:
        click = Style.from_meta({"@click": f"app.simulate_key('{key}')"}) if enabled else Style.null()
        key_style = self.get_component_rich_style("key-bar--key" if enabled else "key-bar--off")
        words_style = self.get_component_rich_style("key-bar--words" if enabled else "key-bar--off")
        return [Segment(f" {name} ", key_style + click), Segment(f"{words} ", words_style + click)]

    def render_line(self, y: int) -> Strip:
        """The row."""
        if y:
            return Strip.blank(self.size.width, self.rich_style)
        width, base = self.size.width, self.rich_style
        fixed = [
            *self._entry("f1", "F1", self.t("common.key.help"), True),
            *self._entry("ctrl+p", "^p", self.t("common.key.palette"), True),
        ]
        room = width - sum(width_of(segment.text) for segment in fixed)
        left: list[Segment] = []
        used = 0
        for entry in self._entries():
            segments = self._entry(*entry)
            size = sum(width_of(segment.text) for segment in segments)
            if used + size > room:
                break
            left += segments
            used += size
        padding = Segment(" " * max(0, room - used), base)
        return Strip([*left, padding, *fixed]).adjust_cell_length(width, base)
