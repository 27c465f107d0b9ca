"""``minimind bench ui``: measured by the app's own package in a process of its own, since this one may not import it."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys

from minimind.commands.output import Output
from minimind.errors import UserError


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``ui``."""
    text = "first paint, key to screen, bytes sent / 首屏时间、按键到显示的时间、发送的字节数"
    parser = subparsers.add_parser("ui", help=text, description=text)
    parser.add_argument("--starts", type=int, default=7, metavar="N", help="starts to measure / 测几次启动")
    parser.add_argument("--keys", type=int, default=100, metavar="N", help="keys in each situation / 每种情形按多少键")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    for name in ("starts", "keys"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} must be 1 or more", f"--{name} 至少为 1")
    if importlib.util.find_spec("minimind_tui") is None:
        raise UserError(
            "the terminal app is not installed: pip install minimind-tui", "没有安装终端界面：pip install minimind-tui"
        )
    command = [sys.executable, "-m", "minimind_tui.bench", "--lang", output.language]
    command += ["--starts", str(arguments.starts), "--keys", str(arguments.keys)]
    return subprocess.run([*command, *(["--json"] if output.as_json else [])], check=False).returncode
