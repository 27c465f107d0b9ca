"""Check a learner's file in a process of its own, within limits on time, memory, output and files."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lessons.exercise import CheckResult, Exercise, difference_of, stage_results
from lessons.exercise_child import Child, Limits
from minimind.errors import UserError
from minimind.events import Text

_NO_VERDICT = Text(
    "your code ended the process before the check was done: remove calls such as exit()",
    "检查还没完成，你的代码就结束了进程：请去掉 exit() 之类的调用",
)


def run_exercise(
    exercise: Exercise,
    file: Path | None = None,
    *,
    limits: Limits | None = None,
    seed: int | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> CheckResult:
    """Check `file` (the learner's own by default). `seed` draws the inputs, fresh ones when None.

    `cancelled` is asked ten times a second. Raises UserError when there is no such file.
    """
    target = (file or exercise.file).absolute()
    if not target.is_file():
        raise UserError(
            f"{target}: no such file: begin with python -m lessons exercise {exercise.name} start",
            f"{target}：没有这个文件：请先运行 python -m lessons exercise {exercise.name} start",
        )
    request = {
        "check": str(exercise.directory / "check.py"),
        "file": str(target),
        "seed": secrets.randbelow(2**31) if seed is None else seed,
    }
    began = time.monotonic()
    child = Child("check", request, limits or Limits(), cancelled)
    verdicts = [message.get("verdict") for message in child.messages()]
    return _result(child, verdicts[0] if verdicts else None, time.monotonic() - began)


def _result(child: Child, verdict: Any, seconds: float) -> CheckResult:
    if child.limit is not None:
        return CheckResult(limit=child.limit, problem=child.problem, output=child.output, seconds=seconds)
    try:
        stages = stage_results(verdict["stages"])
        return CheckResult(
            stages, verdict["mutant"], difference_of(verdict["difference"]), output=child.output, seconds=seconds
        )
    except (KeyError, TypeError, ValueError):
        return CheckResult(problem=_NO_VERDICT, output=child.output, seconds=seconds)
