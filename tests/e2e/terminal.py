"""A real terminal for tests: a program in a pty, its output drawn by a terminal emulator, keys typed by name."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import pyte

KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "shift+tab": "\x1b[Z",
    "space": " ",
    "backspace": "\x7f",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "f1": "\x1bOP",
    "f2": "\x1bOQ",
    "f3": "\x1bOR",
    "f4": "\x1bOS",
    "f5": "\x1b[15~",
    "f8": "\x1b[19~",
} | {f"ctrl+{letter}": chr(ord(letter) - 96) for letter in "abcdefghijklmnopqrstuvwxyz"}

# What the emulator does not know and would print: private CSI (kitty keys, mode queries), OSC, DCS.
_UNKNOWN = re.compile(
    rb"\x1b\[[<>=?][0-9;]*[$]?[a-gi-zA-Z]|\x1b\[[0-9;]*[$ ][a-zA-Z]|\x1bP.*?\x1b\\|\x1b\].*?(?:\x07|\x1b\\)", re.S
)


class Terminal:
    """Run `command` on a screen of `columns` x `rows`; leave the `with` block and it is gone."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], *, columns: int = 100, rows: int = 30) -> None:
        self.raw = bytearray()
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        full = {
            "PATH": os.environ["PATH"],
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
        } | dict(env)
        self.process = subprocess.Popen(
            list(command), stdin=slave, stdout=slave, stderr=slave, env=full, start_new_session=True, close_fds=True
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size as a window manager does."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def press(self, *keys: str) -> None:
        """Press keys by name (`enter`, `ctrl+p`, `a`), one after the other, each in its own write."""
        for key in keys:
            os.write(self._master, KEYS.get(key, key).encode())
            self.pump(0.06)

    def type(self, text: str) -> None:
        """Type text as a person does."""
        for letter in text:
            os.write(self._master, letter.encode())
            self.pump(0.01)

    def pump(self, seconds: float) -> None:
        """Let the program run and draw for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([self._master], [], [], left)
            if not ready:
                return
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            if not data:
                return
            self.raw += data
            self._stream.feed(_UNKNOWN.sub(b"", data))

    def focus(self, label: str, *, most: int = 30) -> None:
        """Press Tab until the terminal's own cursor stands in the line of field `label`, as it does when it is focused."""
        for _ in range(most):
            if self._screen.display[self._screen.cursor.y].split()[:1] == [label]:
                return
            self.press("tab")
            self.pump(0.4)
        raise AssertionError(f"no field {label!r} came into focus:\n{self.text}")

    @property
    def text(self) -> str:
        """The screen as lines of text; the second cell of a wide character is dropped."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def wait_for(self, pattern: str, timeout: float = 30.0) -> str:
        """Pump until `pattern` (a regular expression) is on the screen; fail with the screen's text otherwise."""
        return self.wait_until(lambda text: re.search(pattern, text) is not None, f"/{pattern}/", timeout)

    def wait_until(self, condition: Callable[[str], bool], what: str, timeout: float = 30.0) -> str:
        """Pump until `condition` holds of the screen's text."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self.pump(0.1)
            if condition(self.text):
                return self.text
            if self.process.poll() is not None:
                self.pump(0.2)
                if condition(self.text):
                    return self.text
                raise AssertionError(f"the program ended ({self.process.returncode}) before {what}:\n{self.text}")
        raise AssertionError(f"{what} did not appear within {timeout:.0f} s:\n{self.text}")

    def wait_for_exit(self, timeout: float = 15.0) -> int:
        """Pump until the program has left; its exit status."""
        end = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < end, f"still running after {timeout:.0f} s:\n{self.text}"
            self.pump(0.1)
        return self.process.returncode
