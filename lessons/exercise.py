"""An exercise: what to write, the hints for each known mistake, and what a check of it found. No torch.

A folder ``exercises/<name>`` holds ``exercise.toml`` (texts), ``solution.py`` and ``check.py`` (the cases, the
reference and the mutants: see `lessons.checking`). What the learner starts from is the solution with its holes open:

        # hole: return x
        # 1. what to do first
        # 2. and then
        real = code(x)
        return real
        # end hole

becomes the two comments and ``return x``. The learner's own file is ``<name>.py`` in `minimind.paths.exercises`; the
folder is never written to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lessons.fields import Fields, unique
from minimind import paths
from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean

HINT_RUNGS = 3
_INSTALLS = re.compile(r"^\s+install=", re.MULTILINE)
"""The argument of the check; reading it keeps torch out of the app."""
_HOLE, _HOLE_END = "# hole: ", "# end hole"
Stage = Literal["import", "runs", "shape", "dtype", "values", "gradients", "invariants", "efficiency"]
STAGES: Mapping[Stage, Text] = {
    "import": Text("loads and has the right signature", "能载入，签名正确"),
    "runs": Text("runs on a small example", "能在小例子上运行"),
    "shape": Text("shape", "形状"),
    "dtype": Text("dtype and device", "数据类型与设备"),
    "values": Text("values", "数值"),
    "gradients": Text("gradients", "梯度"),
    "invariants": Text("properties that must hold", "应有的性质"),
    "efficiency": Text("no more work than needed", "没有多余的计算"),
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A known mistake: what it is, and three hints from a nudge to the line of code."""

    id: str
    what: Text
    hints: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Exercise:
    """One thing to write. `part` is the name the learner's file must define."""

    name: str
    lesson: str
    directory: Path
    title: Text
    task: Text
    part: str
    reference: str
    difficulty: int
    minutes: int
    hints: tuple[Text, ...]
    mutants: tuple[Mutant, ...]

    @property
    def file(self) -> Path:
        """The learner's file; it may not exist yet."""
        return paths.exercises() / f"{self.name}.py"

    @property
    def can_be_installed(self) -> bool:
        """Whether a model can be trained with the part: its check says how to put it in."""
        return _INSTALLS.search((self.directory / "check.py").read_text(encoding="utf-8")) is not None

    @property
    def stub(self) -> str:
        """What the learner starts from."""
        return stub_of(self._source)

    @property
    def solution(self) -> str:
        """One right answer."""
        return solution_of(self._source)

    @property
    def _source(self) -> str:
        return (self.directory / "solution.py").read_text(encoding="utf-8")

    def start(self) -> Path:
        """The learner's file, made from the stub where it does not exist. Raises UserError when it cannot be written."""
        if not self.file.exists():
            self.write(self.stub)
        return self.file

    def write(self, source: str) -> None:
        """Keep `source` as the learner's file. Raises UserError when it cannot be written."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            aside = self.file.with_suffix(".py.new")
            aside.write_text(source, encoding="utf-8")
            aside.replace(self.file)
        except OSError as error:
            raise UserError(
                f"{self.file}: cannot be written: {error.strerror}", f"{self.file}：写不进去：{error.strerror}"
            ) from None

    def hints_for(self, mutant: str | None) -> tuple[Text, ...]:
        """The three hints for a diagnosed mistake, or the general ones."""
        found = self.mutant(mutant)
        return found.hints if found else self.hints

    def mutant(self, name: str | None) -> Mutant | None:
        """The known mistake called `name`."""
        return next((mutant for mutant in self.mutants if mutant.id == name), None)


@dataclass(frozen=True, slots=True)
class StageResult:
    """What one stage of a check found; `message` explains a failure."""

    stage: Stage
    passed: bool
    message: Text | None = None


Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A piece of the learner's result beside the expected one, with the worst cell in it, at most `MOST_ROWS` × `MOST_COLUMNS`.

    All axes but the last are laid one below the other; `row` and `column` are where the piece begins.
    """

    case: Text
    yours: Matrix
    expected: Matrix
    row: int = 0
    column: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON data; numbers that JSON has no name for are text."""
        return {
            "case": _plain(self.case),
            "yours": [[str(value) for value in row] for row in self.yours],
            "expected": [[str(value) for value in row] for row in self.expected],
            "row": self.row,
            "column": self.column,
        }


MOST_ROWS, MOST_COLUMNS = 12, 16


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found. `stages` ends with the first that failed; `limit` names a limit that was reached.
    `difference` shows the values where they are wrong.

    `problem` is there when no verdict came (the code ended the process, or a limit did); `output` is what the code
    printed, made safe to show.
    """

    stages: tuple[StageResult, ...] = ()
    mutant: str | None = None
    difference: Difference | None = None
    limit: str | None = None
    problem: Text | None = None
    output: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every stage passed."""
        return self.problem is None and len(self.stages) == len(STAGES) and all(s.passed for s in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        stages = [
            {"stage": s.stage, "passed": s.passed, "message": None if s.message is None else _plain(s.message)}
            for s in self.stages
        ]
        return {
            "passed": self.passed,
            "stages": stages,
            "mutant": self.mutant,
            "difference": None if self.difference is None else self.difference.to_dict(),
            "limit": self.limit,
            "problem": None if self.problem is None else _plain(self.problem),
            "output": self.output,
            "seconds": round(self.seconds, 2),
        }


def stage_results(data: Any) -> tuple[StageResult, ...]:
    """The stages a verdict lists, its text made safe. Raises KeyError, TypeError or ValueError for anything else."""
    results = []
    for item in data:
        message = item["message"]
        text = None if message is None else Text(clean(str(message["en"]), 2000), clean(str(message["zh"]), 2000))
        if item["stage"] not in STAGES:
            raise ValueError(item["stage"])
        results.append(StageResult(item["stage"], bool(item["passed"]), text))
    return tuple(results)


def difference_of(data: Any) -> Difference | None:
    """The inverse of `Difference.to_dict`, cut to size, its text made safe. Raises KeyError, TypeError or ValueError."""
    if data is None:
        return None
    case = Text(clean(str(data["case"]["en"]), 200), clean(str(data["case"]["zh"]), 200))
    yours, expected = _matrix(data["yours"]), _matrix(data["expected"])
    return Difference(case, yours, expected, int(data["row"]), int(data["column"]))


def _matrix(rows: Any) -> Matrix:
    return tuple(tuple(float(value) for value in row[:MOST_COLUMNS]) for row in rows[:MOST_ROWS])


def read_exercise(directory: Path, lesson: str) -> Exercise:
    """The exercise in `directory`. Raises UserError naming file and field."""
    fields = Fields.read(directory / "exercise.toml")
    mutants = [_mutant(item) for item in fields.tables("mutant")]
    exercise = Exercise(
        name=directory.name,
        lesson=lesson,
        directory=directory,
        title=fields.text("title"),
        task=fields.text("task"),
        part=fields.string("part"),
        reference=fields.string("reference"),
        difficulty=fields.integer("difficulty", 1, 5),
        minutes=fields.integer("minutes", 1, 600),
        hints=_hints(fields),
        mutants=unique(mutants, lambda mutant: mutant.id, fields.where),
    )
    fields.close()
    for name in ("solution.py", "check.py"):
        if not (directory / name).is_file():
            raise fields.wrong(f"{name} is missing beside it", f"旁边缺少 {name}")
    if exercise.stub == exercise.solution:
        raise fields.wrong("solution.py has no hole", "solution.py 里没有 hole", "")
    return exercise


def stub_of(source: str) -> str:
    """`source` with its holes open: the comments that follow the mark, then the code the mark gives."""
    lines: list[str] = []
    closing: str | None = None
    in_comments = False
    for line in source.splitlines():
        mark = line.strip()
        if mark.startswith(_HOLE):
            indent = line[: len(line) - len(line.lstrip())]
            closing, in_comments = indent + mark.removeprefix(_HOLE), True
        elif mark == _HOLE_END and closing is not None:
            lines.append(closing)
            closing = None
        elif closing is None or (in_comments and mark.startswith("#")):
            lines.append(line)
        else:
            in_comments = False
    return "\n".join(lines) + "\n"


def solution_of(source: str) -> str:
    """`source` without the marks and comments of its holes."""
    lines: list[str] = []
    in_comments = False
    for line in source.splitlines():
        mark = line.strip()
        in_comments = mark.startswith(_HOLE) or (in_comments and mark.startswith("#"))
        if not in_comments and mark != _HOLE_END:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _mutant(fields: Fields) -> Mutant:
    mutant = Mutant(fields.string("id"), fields.text("what"), _hints(fields))
    fields.close()
    return mutant


def _hints(fields: Fields) -> tuple[Text, ...]:
    hints = []
    for item in fields.tables("hint"):
        hints.append(item.own_text())
        item.close()
    if len(hints) != HINT_RUNGS:
        raise fields.wrong(f"needs {HINT_RUNGS} hints", f"需要 {HINT_RUNGS} 条提示", "hint")
    return tuple(hints)


def _plain(text: Text) -> dict[str, str]:
    return {"en": text.en, "zh": text.zh}
