"""``minimind-tui [learn SLUG | runs [ID] | chat [PATH]]``: the terminal app's command line."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from minimind import __version__
from minimind.commands.output import standard
from minimind.errors import UserError
from minimind.events import Language, Text
from minimind.language import from_locale

USER_ERROR = 2


class _Parser(argparse.ArgumentParser):
    """Mistakes are UserErrors: one line in the person's language."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see minimind-tui --help)", f"{message}（用法：minimind-tui --help）")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = _Parser(
        prog="minimind-tui",
        description="Learn how language models work by building, training and talking to one / "
        "在终端里亲手搭建、训练并与语言模型对话，弄懂它的原理",
    )
    parser.add_argument("--version", action="version", version=f"minimind-tui {__version__}")
    parser.add_argument("--lang", choices=("en", "zh"), help="language / 语言")
    parser.add_argument("--home", metavar="DIR", help="where runs, progress and settings live / 数据目录")
    places = parser.add_subparsers(dest="place", metavar="learn|runs|chat", parser_class=_Parser)
    learn = places.add_parser("learn", help="open a lesson / 打开一课")
    learn.add_argument("argument", metavar="SLUG", nargs="?", help="lesson / 课程名")
    runs = places.add_parser("runs", help="open the runs / 打开训练列表")
    runs.add_argument("argument", metavar="ID", nargs="?", help="run / 训练编号")
    chat = places.add_parser("chat", help="talk to a model / 与模型对话")
    chat.add_argument("argument", metavar="PATH", nargs="?", help="checkpoint, run or model / 检查点、训练或模型名")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app; returns the exit status (2: the person's mistake; 128+n: ended by signal n)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    language = from_locale()
    try:
        options = build_parser().parse_args(arguments)
        language = options.lang or language
        status = _start(options)
    except UserError as error:
        _say(error.text, language)
        return USER_ERROR
    from minimind_tui import lab

    if lab.is_busy():
        # An experiment that ignores its stop would keep the process for as long as it computes.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _start(options: argparse.Namespace) -> int:
    """Prepare the environment, then import Textual and run."""
    from minimind_tui import settings, terminal

    if options.home:
        os.environ["MINIMIND_HOME"] = options.home
    reason = terminal.refusal(os.environ)
    if reason is not None:
        raise UserError(reason.en, reason.zh)
    terminal.prepare(os.environ, settings.Settings.load())

    from minimind_tui.app import MiniMindApp

    target = [] if options.place is None else [options.place] + ([options.argument] if options.argument else [])
    app = MiniMindApp(language=options.lang, target=target)
    app.run()
    if app.crash_log is not None:
        _say(app.t("common.crashed", path=str(app.crash_log)), app.language)
    return app.return_code or 0


def _say(text: Text | str, language: Language) -> None:
    standard(as_json=False, language=language).say(text)


if __name__ == "__main__":
    sys.exit(main())
