"""What the terminal can show: colours, characters, size, and whether copying reaches the clipboard."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Iterator, Mapping

from minimind.doctor import Finding
from minimind.events import Text

LEAST_WIDTH, LEAST_HEIGHT = 60, 16
_GOOD_WIDTH, _GOOD_HEIGHT = 80, 24
_ANSWER_SECONDS = 0.5
_CURSOR = re.compile(rb"\x1b\[\d+;(\d+)R")


def examine(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Look at the terminal; what needs one to ask is left out where standard output is none."""
    yield check_kind(environment)
    yield check_colors(environment)
    yield check_encoding(environment)
    if sys.stdin.isatty() and sys.stdout.isatty():
        yield check_size(*shutil.get_terminal_size())
        yield check_widths(ambiguous_width())
    if environment.get("TMUX"):
        yield check_tmux_clipboard(_tmux("show-options", "-gv", "set-clipboard"))


def check_kind(environment: Mapping[str, str]) -> Finding:
    """Whether the terminal can be drawn on at all."""
    name = environment.get("TERM", "")
    if name in {"", "dumb"}:
        remedy = Text("export TERM=xterm-256color", "export TERM=xterm-256color")
        return Finding("terminal", "error", Text(f"TERM={name!r} cannot draw", f"TERM={name!r} 画不了界面"), remedy)
    if name == "linux":
        text = Text("the Linux console has no Braille characters", "Linux 控制台没有盲文字符")
        return Finding("terminal", "warning", text, Text("charts are drawn in ASCII", "图会改用 ASCII 字符绘制"))
    return Finding("terminal", "ok", Text(f"terminal: {name}", f"终端：{name}"), facts={"term": name})


def check_colors(environment: Mapping[str, str]) -> Finding:
    """How many colours the terminal says it has."""
    if environment.get("NO_COLOR"):
        return Finding(
            "colors", "ok", Text("NO_COLOR is set: no colours", "已设置 NO_COLOR：不用颜色"), facts={"depth": "none"}
        )
    if environment.get("COLORTERM", "").lower() in {"truecolor", "24bit"}:
        return Finding("colors", "ok", Text("16 million colours", "1600 万色"), facts={"depth": "truecolor"})
    depth = "256" if "256" in environment.get("TERM", "") or environment.get("TERM") == "tmux" else "16"
    return Finding(
        "colors",
        "warning",
        Text(f"COLORTERM is not set: {depth} colours are used", f"没有设置 COLORTERM：只用 {depth} 色"),
        Text(
            "if your terminal can do more (most can): export COLORTERM=truecolor (ssh does not pass it on)",
            "若终端支持真彩色（多数都支持）：export COLORTERM=truecolor（ssh 不会自动传递它）",
        ),
        {"depth": depth},
    )


def check_encoding(environment: Mapping[str, str]) -> Finding:
    """Whether the locale speaks UTF-8."""
    value = next((environment[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environment.get(name)), "")
    if "utf-8" in value.lower().replace("utf8", "utf-8"):
        return Finding("encoding", "ok", Text(f"UTF-8 ({value})", f"UTF-8（{value}）"))
    return Finding(
        "encoding",
        "warning",
        Text(f"the locale {value or '(unset)'} is not UTF-8", f"当前 locale（{value or '未设置'}）不是 UTF-8"),
        Text("export LANG=C.UTF-8", "export LANG=C.UTF-8"),
    )


def check_size(width: int, height: int) -> Finding:
    """Whether there is room."""
    text = Text(f"{width}×{height} characters", f"{width}×{height} 字符")
    facts = {"width": width, "height": height}
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        least = f"{LEAST_WIDTH}×{LEAST_HEIGHT}"
        return Finding("size", "error", text, Text(f"at least {least} are needed", f"至少需要 {least}"), facts)
    if width < _GOOD_WIDTH or height < _GOOD_HEIGHT:
        good = f"{_GOOD_WIDTH}×{_GOOD_HEIGHT}"
        return Finding("size", "warning", text, Text(f"{good} or more is comfortable", f"{good} 以上更舒服"), facts)
    return Finding("size", "ok", text, facts=facts)


def check_widths(width: int | None) -> Finding:
    """Whether characters of ambiguous width take one cell, as is assumed when drawing."""
    if width is None:
        return Finding("widths", "ok", Text("the terminal does not say how wide … is", "终端没有回答“…”占几格"))
    if width == 1:
        return Finding("widths", "ok", Text("… ─ │ take one cell each", "… ─ │ 各占一格"))
    return Finding(
        "widths",
        "warning",
        Text(f"… takes {width} cells: frames will not line up", f"“…”占 {width} 格：框线会错位"),
        Text(
            "set your terminal's ambiguous-width characters to narrow, or turn on ASCII in the settings (F6)",
            "请把终端的“不定宽字符”设为窄，或在设置（F6）里打开 ASCII",
        ),
    )


def check_tmux_clipboard(value: str | None) -> Finding:
    """Whether tmux passes a copy on to the terminal outside."""
    if value == "on":
        return Finding("clipboard", "ok", Text("tmux passes copies on", "tmux 会转发复制内容"))
    return Finding(
        "clipboard",
        "warning",
        Text(f"tmux keeps copies to itself (set-clipboard {value})", f"tmux 不转发复制内容（set-clipboard {value}）"),
        Text("tmux set -g set-clipboard on", "tmux set -g set-clipboard on"),
        fix=lambda: _set_clipboard(),
    )


def _set_clipboard() -> None:
    _tmux("set-option", "-g", "set-clipboard", "on")


def _tmux(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["tmux", *arguments], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def ambiguous_width() -> int | None:
    """How many cells the terminal gives to ``…``: it is written, and the cursor's column asked for (CPR)."""
    descriptor = sys.stdin.fileno()
    try:
        before = termios.tcgetattr(descriptor)
    except termios.error:
        return None
    try:
        tty.setcbreak(descriptor)
        os.write(sys.stdout.fileno(), "\r…\x1b[6n".encode())
        answer = _read_answer(descriptor)
    finally:
        os.write(sys.stdout.fileno(), b"\r\x1b[K")
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
    found = _CURSOR.search(answer)
    return int(found[1]) - 1 if found else None


def _read_answer(descriptor: int) -> bytes:
    answer = b""
    until = time.monotonic() + _ANSWER_SECONDS
    while not _CURSOR.search(answer):
        left = until - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            break
        answer += os.read(descriptor, 64)
    return answer
