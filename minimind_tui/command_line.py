"""The command line of the app: parsed and checked before Textual is imported."""

from __future__ import annotations

import argparse
import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace

from minimind import __version__, paths
from minimind.commands.output import standard
from minimind.commands.parsing import Parser, asked_language
from minimind.errors import UserError
from minimind.events import LANGUAGES, Language, Text
from minimind_tui import settings, strings, terminal

USER_ERROR = 2

_READER = "textual-input"
"""The thread in which Textual reads keys."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = Parser(
        prog="minimind-tui",
        description="Learn how language models work by building, training and talking to one / "
        "在终端里亲手搭建、训练并与语言模型对话，弄懂它的原理",
        epilog="Without a terminal: minimind --help, python -m lessons --help / 没有终端时用这两个命令",
    )
    parser.add_argument("--version", action="version", version=f"minimind-tui {__version__}")
    parser.add_argument("--lang", choices=("en", "zh"), help="language / 语言")
    parser.add_argument("--home", metavar="DIR", help="where runs, progress and settings live / 数据目录")
    parser.add_argument(
        "--color", choices=settings.COLOR_DEPTHS, help="colours, whatever the terminal says / 颜色数，不看终端的说法"
    )
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal / 不接管鼠标")
    # Plain positionals, not subcommands: the options may stand before, between and after them.
    parser.add_argument("place", nargs="?", choices=("learn", "runs", "chat"), help="where to begin / 从哪里开始")
    parser.add_argument(
        "argument",
        nargs="?",
        metavar="SLUG|ID|PATH",
        help="the lesson to open, the run to watch, or the model to talk to (checkpoint, run or name) / "
        "要打开的课程、要查看的训练，或要对话的模型（检查点、训练或模型名）",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app; returns the exit status (2: the person's mistake; 128+n: ended by signal n)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    language = asked_language(sys.argv[1:] if arguments is None else arguments)
    try:
        return _leave(_start(build_parser().parse_args(arguments)))
    except UserError as error:
        _say(error.text, language)
        return USER_ERROR
    except OSError:
        if terminal.is_attached():
            raise
        return _leave(128 + signal.SIGHUP)  # the last escape sequences found no terminal


def _start(options: argparse.Namespace) -> int:
    """Prepare the environment, then import Textual and run."""
    if options.home:
        paths.use_home(options.home)
    reason = terminal.refusal(os.environ)
    if reason is not None:
        raise UserError(reason.en, reason.zh)
    _check_target(options)
    chosen = settings.Settings.load()
    terminal.prepare(os.environ, replace(chosen, color=options.color or chosen.color))
    gc.disable()  # a fifth of the way to the first paint is looking for garbage; the app turns it on again

    from minimind_tui.app import MiniMindApp

    target = [] if options.place is None else [options.place] + ([options.argument] if options.argument else [])
    app = MiniMindApp(language=options.lang, target=target)
    app.run(mouse=not options.no_mouse)
    if app.has_crashed:
        path = str(app.crash_log or "–")
        _say(Text(*(strings.speak("common.crashed", each, path=path) for each in LANGUAGES)), app.language)
    return app.return_code or 0


def _check_target(options: argparse.Namespace) -> None:
    """Refuse a lesson or a run that is not there before the screen is taken."""
    if options.place == "learn" and options.argument:
        from lessons.lesson import load_lesson

        load_lesson(options.argument)
    elif options.place == "runs" and options.argument:
        from minimind.training.runs import find_run

        find_run(options.argument)


def _leave(status: int) -> int:
    """Leave at once where a thread would keep the process.

    That is an experiment that ignores its stop, for as long as it computes; or Textual's reader of keys where the
    terminal is gone: writing the last escape sequences failed before it was told to end, and it reads nothing for ever.
    """
    from minimind_tui import lab

    if lab.is_busy() or any(thread.name == _READER for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _say(text: Text, language: Language) -> None:
    standard(as_json=False, language=language).say(Text(f"minimind-tui: {text.en}", f"minimind-tui：{text.zh}"))
