"""The app's process in a real terminal: what it refuses, what it leaves behind, and what it does not import."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from minimind_tui import command_line, terminal
from minimind_tui.settings import Settings
from tests.e2e.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "minimind_tui"]
COLOR_CODE = re.compile(rb"\x1b\[[0-9;]*?\b(?:3[0-7]|4[0-7]|9[0-7]|10[0-7]|[34]8;[25])[0-9;]*m")


def environment(home: Path, **extra: str) -> dict[str, str]:
    return {"MINIMIND_HOME": str(home), "PYTHONPATH": str(ROOT), "LANG": "en_US.UTF-8"} | extra


def run_without_terminal(arguments: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    full = {"PATH": os.environ["PATH"]} | dict(env)
    return subprocess.run(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=full,
        timeout=60,
        check=False,
    )


def test_piped_it_names_the_commands_that_need_no_terminal(home: Path) -> None:
    for lang, words in (("en_US.UTF-8", "needs a terminal"), ("zh_CN.UTF-8", "都要是终端")):
        done = run_without_terminal([], environment(home, TERM="xterm-256color", LANG=lang, PYTHONUTF8="1"))
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert words in done.stderr
        assert "minimind runs list" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lang", "fr"], "--lang"),
        (["--nosuch"], "--nosuch"),
        (["sing"], "sing"),
        (["learn", "a", "b"], "b"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(home: Path, arguments: list[str], words: str) -> None:
    done = run_without_terminal(arguments, environment(home))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_mistakes_are_told_in_the_language_asked_for(home: Path) -> None:
    done = run_without_terminal(["sing", "--lang", "zh"], environment(home, PYTHONUTF8="1"))
    assert done.stderr == "minimind-tui：place: 没有 'sing'：可用 learn, runs, chat（用法见 minimind-tui --help）\n"


def test_version_and_help_need_no_terminal(home: Path) -> None:
    assert run_without_terminal(["--version"], environment(home)).stdout.startswith("minimind-tui ")
    assert "--lang" in run_without_terminal(["--help"], environment(home, PYTHONUTF8="1")).stdout


def test_a_dumb_terminal_is_refused(home: Path) -> None:
    with Terminal(COMMAND, environment(home, TERM="dumb")) as screen:
        assert screen.wait_for_exit() == 2
        assert "TERM=dumb cannot draw" in screen.text
        assert b"\x1b[" not in screen.raw


@pytest.mark.parametrize(("place", "words"), [("learn", "no lesson 'nosuch'"), ("runs", "there are no runs")])
def test_a_place_that_is_not_there_is_refused_before_the_screen_is_taken(home: Path, place: str, words: str) -> None:
    with Terminal([*COMMAND, place, "nosuch"], environment(home)) as screen:
        assert screen.wait_for_exit() == 2
        assert words in screen.text
        assert b"\x1b[?1049h" not in screen.raw


def test_it_starts_in_the_chosen_language_and_quits_cleanly(home: Path) -> None:
    with Terminal([*COMMAND, "--lang", "zh"], environment(home), columns=80, rows=24) as screen:
        screen.wait_for("训练你的第一个模型")
        screen.press("q")
        assert screen.wait_for_exit() == 0
        assert screen.raw.count(b"\x1b[?1049h") == screen.raw.count(b"\x1b[?1049l") == 1
        assert b"\x1b[?25h" in screen.raw[screen.raw.rindex(b"\x1b[?1049l") - 400 :]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_the_terminal_in_order(home: Path, number: signal.Signals, status: int) -> None:
    with Terminal(COMMAND, environment(home), columns=80, rows=24) as screen:
        screen.wait_for("Train your first model")
        screen.process.send_signal(number)
        assert screen.wait_for_exit() == status
        for mode in (b"1049", b"1000", b"1003", b"2004"):
            switched = re.findall(rb"\x1b\[\?" + mode + rb"([hl])", screen.raw)
            assert not switched or switched[-1] == b"l", mode


def test_under_no_color_no_colour_is_sent(home: Path) -> None:
    with Terminal(COMMAND, environment(home, NO_COLOR="1"), columns=80, rows=24) as screen:
        screen.wait_for("Train your first model")
        screen.press("down", "down", "f1")
        screen.wait_for("Everywhere")
        screen.press("f1")
        screen.wait_for("Train your first model")
        screen.press("q")
        screen.wait_for_exit()
        assert COLOR_CODE.search(bytes(screen.raw)) is None
    with Terminal(COMMAND, environment(home), columns=80, rows=24) as screen:
        screen.wait_for("Train your first model")
        assert COLOR_CODE.search(bytes(screen.raw)) is not None  # the test above can fail


def test_the_home_screen_is_up_before_anything_heavy(home: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from minimind_tui.app import MiniMindApp\n"
        "async def look():\n"
        "    app = MiniMindApp(language='en')\n"
        "    async with app.run_test(size=(80, 24)) as pilot:\n"
        "        for _ in range(100):\n"
        "            await pilot.pause(0.05)\n"
        "            if app.screen.has_class('-no-runs'): break\n"
        "asyncio.run(look())\n"
        "print(sorted({'torch', 'numpy', 'tokenizers', 'safetensors', 'plotext', 'pygments', 'pynvml'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]} | environment(home),
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_ctrl_z_and_back_draws_the_screen_again(home: Path) -> None:
    with Terminal(COMMAND, environment(home), columns=80, rows=24) as screen:
        screen.wait_for("Train your first model")
        screen.press("ctrl+z")
        end = time.monotonic() + 10
        while os.waitid(os.P_PID, screen.process.pid, os.WSTOPPED | os.WNOWAIT | os.WNOHANG) is None:
            assert time.monotonic() < end
            screen.pump(0.05)
        before = len(screen.raw)
        assert b"\x1b[?1049l" in screen.raw
        screen.process.send_signal(signal.SIGCONT)
        screen.wait_until(lambda _text: b"Train your first model" in screen.raw[before:], "the action again")
        screen.press("q")
        assert screen.wait_for_exit() == 0


def test_a_lost_terminal_ends_the_app(home: Path) -> None:
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "import minimind_tui.app as app; app._WATCHDOG_SECONDS = 0.2\n"
        "app.signal.SIGHUP = signal.SIGUSR1\n"  # as under nohup: nobody hears the hang-up
        "from minimind_tui.command_line import main; raise SystemExit(main([]))"
    )
    screen = Terminal([sys.executable, "-c", code], environment(home), columns=80, rows=24)
    screen.wait_for("Train your first model")
    os.close(screen._master)
    assert screen.process.wait(20) != 0


def test_a_colour_depth_on_the_command_line_holds(home: Path) -> None:
    with Terminal([*COMMAND, "--color", "256"], environment(home), columns=80, rows=24) as screen:
        screen.wait_for("Train your first model")
        assert re.search(rb"\x1b\[[0-9;]*38;5;", screen.raw)
        assert not re.search(rb"\x1b\[[0-9;]*[34]8;2;", screen.raw)


def test_a_crash_is_one_line_and_a_log(home: Path) -> None:
    code = (
        "from minimind_tui.app import MiniMindApp\n"
        "async def broken(self): raise RuntimeError('a fault of ours')\n"
        "MiniMindApp.action_help = broken\n"
        "from minimind_tui.command_line import main; raise SystemExit(main([]))"
    )
    with Terminal([sys.executable, "-c", code], environment(home), columns=100, rows=24) as screen:
        screen.wait_for("Train your first model")
        screen.press("f1")
        assert screen.wait_for_exit() == 1
        screen.pump(0.2)
        after = bytes(screen.raw).rpartition(b"\x1b[?1049l")[2].decode()
        assert "met a fault of its own" in after
        assert "Traceback" not in after
        log = next((home / "crashes").glob("*.txt"))
        assert log.name in after
        assert "RuntimeError: a fault of ours" in log.read_text(encoding="utf-8")


def test_an_experiment_that_does_not_listen_does_not_keep_the_app(home: Path) -> None:
    code = (
        "import time\n"
        "from minimind_tui.app import MiniMindApp\n"
        "from minimind_tui.inbox import Inbox\n"
        "from minimind_tui.lab import Lab\n"
        "def deaf():\n"
        "    time.sleep(60)\n"
        "    yield from ()\n"
        "MiniMindApp.on_ready = lambda self: Lab(deaf, Inbox()).start()\n"
        "from minimind_tui.command_line import main; raise SystemExit(main([]))"
    )
    with Terminal([sys.executable, "-c", code], environment(home), columns=80, rows=24) as screen:
        screen.wait_for("Train your first model")
        screen.press("q")
        assert screen.wait_for_exit(10) == 0


def test_what_textual_reads_is_set_and_what_a_person_set_stays() -> None:
    env: dict[str, str] = {}
    terminal.prepare(env, Settings())
    assert env["TEXTUAL_ANIMATIONS"] == "none"
    assert "TEXTUAL_COLOR_SYSTEM" not in env
    assert "TEXTUAL_FPS" not in env
    env = {"SSH_CONNECTION": "1 2 3 4", "TEXTUAL_ANIMATIONS": "full"}
    terminal.prepare(env, Settings(color="256"))
    assert env["TEXTUAL_ANIMATIONS"] == "full"
    assert env["TEXTUAL_COLOR_SYSTEM"] == "256"
    assert int(env["TEXTUAL_FPS"]) < 60
    assert terminal.lacks_braille({"TERM": "linux"})
    assert not terminal.lacks_braille({"TERM": "xterm-256color"})


class Left(Exception):
    """The process would have been left at once."""


@pytest.fixture
def leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(status: int) -> None:
        raise Left(status)

    monkeypatch.setattr(command_line.os, "_exit", leave)


@pytest.mark.usefixtures("leaves")
def test_a_reader_of_keys_without_a_terminal_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    reader = threading.Thread(target=ended.wait, name="textual-input")  # as Textual leaves it where a write failed
    reader.start()
    try:

        def broken(_options: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(command_line, "_start", broken)
        monkeypatch.setattr(command_line.terminal, "is_attached", lambda: False)
        with pytest.raises(Left, match="129"):
            command_line.main([])
        monkeypatch.setattr(command_line, "_start", lambda _options: 7)
        with pytest.raises(Left, match="7"):
            command_line.main([])
    finally:
        ended.set()
        reader.join()
    assert command_line.main([]) == 7
    monkeypatch.setattr(command_line, "_start", broken)
    monkeypatch.setattr(command_line.terminal, "is_attached", lambda: True)
    with pytest.raises(OSError, match="Input/output"):
        command_line.main([])
