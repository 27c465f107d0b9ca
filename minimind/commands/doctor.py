"""``minimind doctor``: what this machine and terminal can do, what stands in the way, and the remedy."""

from __future__ import annotations

import argparse
import os

from minimind.commands.output import Output
from minimind.doctor import Finding
from minimind.events import Text

_MARKS = {"ok": "✓", "warning": "!", "error": "✗"}
_FAILED = 1


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``doctor``."""
    parser = subparsers.add_parser("doctor", help="check this machine and terminal / 检查这台机器和终端")
    parser.add_argument("--fix", action="store_true", help="put right what can be put right here / 能修的就地修好")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    from minimind import doctor, doctor_terminal

    failed = False
    for source in (doctor.examine(), doctor_terminal.examine(os.environ)):
        for finding in source:
            failed |= finding.level == "error"
            fixed = _fix(finding) if arguments.fix else False
            data = {
                "id": finding.id,
                "level": finding.level,
                "text": {"en": finding.text.en, "zh": finding.text.zh},
                "remedy": {"en": finding.remedy.en, "zh": finding.remedy.zh} if finding.remedy else None,
                "facts": finding.facts,
                "fixed": fixed,
            }
            output.emit(data, _line(finding, fixed))
    return _FAILED if failed else 0


def _fix(finding: Finding) -> bool:
    """Apply the finding's own remedy, if it has one; whether that was done."""
    if finding.fix is None:
        return False
    try:
        finding.fix()
    except OSError:
        return False
    return True


def _line(finding: Finding, fixed: bool) -> Text:
    mark = _MARKS[finding.level]
    en, zh = f"{mark} {finding.text.en}", f"{mark} {finding.text.zh}"
    if fixed:
        return Text(f"{en} — put right", f"{zh} —— 已修好")
    if finding.remedy is not None:
        en, zh = f"{en}\n    → {finding.remedy.en}", f"{zh}\n    → {finding.remedy.zh}"
    return Text(en, zh)
