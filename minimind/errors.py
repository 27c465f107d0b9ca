"""The one error a person is meant to read."""

from __future__ import annotations

from minimind.events import Text


class UserError(Exception):
    """Something the person can put right: says what is wrong, where, and the remedy, in both languages.

    Command lines print it as one line on stderr and leave with status 2; screens show it in place.
    ``str(error)`` is the English sentence; ``error.text`` holds both.
    """

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.text = Text(en, zh)
