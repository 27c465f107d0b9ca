"""A button named by a string key."""

from __future__ import annotations

from textual.widgets import Button

from minimind_tui.speech import Speaker


class SpokenButton(Speaker, Button):
    """One row high; its name follows the language. With `danger` it turns red when it has the focus."""

    DEFAULT_CSS = """
    SpokenButton { width: auto; min-width: 10; margin: 0 2 0 0; background: $panel; color: $foreground; text-style: none; }
    SpokenButton:hover { background: $rule; color: $foreground; }
    SpokenButton:focus { background: $primary; color: $block-cursor-foreground; text-style: bold underline !important; background-tint: transparent; }
    SpokenButton.-danger:focus { background: $error; }
    """

    def __init__(self, key: str, *, id: str, danger: bool = False) -> None:
        super().__init__("", id=id, classes="-danger" if danger else None, compact=True)
        self._key = key

    def on_mount(self) -> None:
        """Speak for the first time."""
        self.relabel()

    def name_by(self, key: str) -> None:
        """Take another name."""
        self._key = key
        self.relabel()

    def relabel(self) -> None:
        """Speak again."""
        self.label = f" {self.t(self._key)} "
        self.refresh(layout=True)
