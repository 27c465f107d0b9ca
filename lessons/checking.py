"""How an exercise is checked: stage by stage against a reference, and by the mistakes it resembles. Imports torch.

A ``check.py`` defines ``CHECK: Check``. A learner's part goes through the stages of `lessons.exercise.STAGES` and
stops at the first it fails. Then its results are compared with those of every mutant, a named common mistake: equal
on every case means that this is the mistake. Messages name axes, not just sizes.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lessons.exercise import MOST_COLUMNS, MOST_ROWS, STAGES, Difference, Matrix, Stage
from minimind.errors import UserError
from minimind.events import Text
from minimind.model.transformer import MiniMind

Part = Any
"""What the learner wrote: a class or a function."""
_MESSAGE_LENGTH = 300
_COMPARED_LENGTH = 30


@dataclass(frozen=True)
class Case:
    """One input. Floating-point `inputs` get gradients where `gradients`; `relative`, `absolute` bound the error."""

    name: Text
    inputs: Mapping[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)
    relative: float = 1e-4
    absolute: float = 1e-5
    gradients: bool = False


@dataclass(frozen=True)
class Invariant:
    """A property of every right implementation; `wrong` says what it means when it does not hold."""

    wrong: Text
    holds: Callable[[Part, torch.Generator], bool]


@dataclass(frozen=True)
class Longer:
    """Two cases of which the second is longer: a right implementation needs no more operations of torch for it.

    A Python loop over time does. `wrong` says so; `slack` operations more are let pass.
    """

    wrong: Text
    cases: Callable[[torch.Generator], tuple[Case, Case]]
    slack: int = 4


@dataclass(frozen=True)
class Check:
    """Everything needed to check one part.

    `run(part, case)` computes the part's result for a case; `cases` draws the inputs afresh, the first being small;
    `inspect_part` may find fault with how the part is built; `reference` and `mutants` have the part's interface.
    `install(model, part)` puts the part in the place of the model's own, so that the learner can train with it.
    `longer`, where there is one, forbids a loop whose length is that of the input.
    """

    part: str
    parameters: tuple[str, ...]
    axes: tuple[str, ...]
    cases: Callable[[torch.Generator], list[Case]]
    run: Callable[[Part, Case], Tensor]
    reference: Part
    mutants: Mapping[str, Part]
    invariants: tuple[Invariant, ...] = ()
    inspect_part: Callable[[Part], Text | None] = lambda _part: None
    install: Callable[[MiniMind, Part], None] | None = None
    longer: Longer | None = None


class PartError(Exception):
    """The learner's part is not right; holds what to tell them."""

    def __init__(self, text: Text, difference: Difference | None = None) -> None:
        super().__init__(text.en)
        self.text = text
        self.difference = difference


def load_check(path: str | Path) -> Check:
    """The ``CHECK`` of a ``check.py``. Raises UserError when there is none."""
    check = getattr(_load(Path(path), "lesson_exercise_check"), "CHECK", None)
    if not isinstance(check, Check):
        raise UserError(f"{path}: defines no CHECK", f"{path}：没有定义 CHECK")
    return check


def run_check(check: Check, file: str | Path, seed: int) -> dict[str, Any]:
    """The verdict on `file` as JSON data: ``stages`` up to the first failure, the ``mutant`` it resembles, ``difference``."""
    cases = check.cases(torch.Generator().manual_seed(seed))
    stages: list[dict[str, Any]] = []
    part: Part = None
    mutant = None
    difference: Difference | None = None
    try:
        part = load_part(check, Path(file))
        _passed(stages, "import")
        for stage, test in _tests(check, part, cases, seed):
            test()
            _passed(stages, stage)
    except PartError as failure:
        message = {"en": failure.text.en, "zh": failure.text.zh}
        stages.append({"stage": list(STAGES)[len(stages)], "passed": False, "message": message})
        mutant = diagnose(check, part, cases) if part is not None else None
        difference = failure.difference
    return {"stages": stages, "mutant": mutant, "difference": None if difference is None else difference.to_dict()}


def diagnose(check: Check, part: Part, cases: list[Case]) -> str | None:
    """The mutant whose results equal those of `part` on every case, or None."""
    observed = [_outcome(check, part, case) for case in cases]
    for name, mutant in check.mutants.items():
        if all(_same(seen, _outcome(check, mutant, case), case) for seen, case in zip(observed, cases, strict=True)):
            return name
    return None


def self_test(check: Check, seed: int) -> list[str]:
    """What is wrong with the check itself: a reference that fails, a mutant that passes or is taken for another."""
    cases = check.cases(torch.Generator().manual_seed(seed))
    problems = []
    for name, part in {"the reference": check.reference, **check.mutants}.items():
        try:
            for _, test in _tests(check, part, cases, seed):
                test()
            if name != "the reference":
                problems.append(f"{name} passes")
        except PartError as failure:
            found = diagnose(check, part, cases)
            if name == "the reference":
                problems.append(f"{name} fails: {failure.text.en}")
            elif found != name:
                problems.append(f"{name} is diagnosed as {found}")
    return problems


def _tests(check: Check, part: Part, cases: list[Case], seed: int) -> Iterator[tuple[Stage, Callable[[], None]]]:
    """The stages after loading, each as a call that raises PartError."""
    yield "runs", lambda: _check_runs(check, part, cases[0])
    yield "shape", lambda: _each(cases, lambda case: _check_shape(check, part, case))
    yield "dtype", lambda: _each(cases, lambda case: _check_dtype(check, part, case))
    yield "values", lambda: _each(cases, lambda case: _check_values(check, part, case))
    yield "gradients", lambda: _each(cases, lambda case: _check_gradients(check, part, case))
    yield "invariants", lambda: _check_invariants(check, part, seed)
    yield "efficiency", lambda: _check_efficiency(check, part, seed)


def _each(cases: list[Case], test: Callable[[Case], None]) -> None:
    for case in cases:
        test(case)


def _passed(stages: list[dict[str, Any]], stage: Stage) -> None:
    stages.append({"stage": stage, "passed": True, "message": None})


def _load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: not a Python file", f"{path}：不是 Python 文件")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load_part(check: Check, file: Path) -> Part:
    """The learner's part. Raises PartError with the line of a syntax error, or what is missing."""
    try:
        module = _load(file, "learner")
    except SyntaxError as error:
        raise PartError(
            Text(f"line {error.lineno}: {error.msg}", f"第 {error.lineno} 行有语法错误：{error.msg}")
        ) from None
    except Exception as error:
        raise PartError(said_error(error, file)) from None
    part = getattr(module, check.part, None)
    if part is None:
        raise PartError(Text(f"the file does not define {check.part}", f"文件里没有定义 {check.part}"))
    parameters = tuple(inspect.signature(part).parameters)
    if parameters[: len(check.parameters)] != check.parameters:
        wanted, given = ", ".join(check.parameters), ", ".join(parameters)
        raise PartError(
            Text(
                f"{check.part} takes ({given}); it should take ({wanted})",
                f"{check.part} 的参数是 ({given})，应为 ({wanted})",
            )
        )
    try:
        fault = check.inspect_part(part)
    except Exception as error:
        raise PartError(said_error(error, file)) from None
    if fault is not None:
        raise PartError(fault)
    return part


def said_error(error: BaseException, file: Path | None = None) -> Text:
    """An exception of the learner's code, with the line of their file where it came from."""
    line = None
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__")
        if name == "learner" or (file is not None and trace.tb_frame.f_code.co_filename == str(file)):
            line = trace.tb_lineno
        trace = trace.tb_next
    what = f"{type(error).__name__}: {error}"[:_MESSAGE_LENGTH]
    return Text(f"line {line}: {what}", f"第 {line} 行：{what}") if line else Text(what, what)


def _result(check: Check, part: Part, case: Case) -> Tensor:
    try:
        with torch.no_grad():
            return check.run(part, case)
    except Exception as error:
        said = said_error(error)
        raise PartError(Text(f"on {case.name.en}: {said.en}", f"在“{case.name.zh}”上：{said.zh}")) from None


def _check_runs(check: Check, part: Part, case: Case) -> None:
    result = _result(check, part, case)
    if not isinstance(result, Tensor):
        kind = type(result).__name__
        raise PartError(Text(f"it returns {kind}, not a tensor", f"返回的是 {kind}，不是张量"))


def _named(axes: tuple[str, ...], shape: tuple[int, ...]) -> str:
    if len(axes) != len(shape):
        return str(list(shape))
    return "[" + ", ".join(f"{axis} {size}" for axis, size in zip(axes, shape, strict=True)) + "]"


def _check_shape(check: Check, part: Part, case: Case) -> None:
    given, wanted = _result(check, part, case).shape, _result(check, check.reference, case).shape
    if given != wanted:
        expected, got = _named(check.axes, tuple(wanted)), _named(check.axes, tuple(given))
        raise PartError(
            Text(
                f"on {case.name.en}: expected {expected}, got {got}",
                f"在“{case.name.zh}”上：应为 {expected}，得到 {got}",
            )
        )


def _check_dtype(check: Check, part: Part, case: Case) -> None:
    found, right = _result(check, part, case), _result(check, check.reference, case)
    for given, wanted in ((found.dtype, right.dtype), (found.device, right.device)):
        if given != wanted:
            raise PartError(
                Text(
                    f"on {case.name.en}: expected {wanted}, got {given}",
                    f"在“{case.name.zh}”上：应为 {wanted}，得到 {given}",
                )
            )


def _check_values(check: Check, part: Part, case: Case) -> None:
    given, wanted = _result(check, part, case), _result(check, check.reference, case)
    if not _close(given, wanted, case):
        given, wanted = given.float(), wanted.float()
        raise PartError(_said_difference(given, wanted, case), _shown_difference(given, wanted, case))


def _worst(given: Tensor, wanted: Tensor) -> int:
    """The place, in the flattened tensors, at which they differ most."""
    return int((given - wanted).abs().nan_to_num(nan=torch.inf).argmax())


def _shown_difference(given: Tensor, wanted: Tensor, case: Case) -> Difference:
    """A piece of both around the worst place."""
    columns = wanted.shape[-1] if wanted.dim() else 1
    row, column = divmod(_worst(given, wanted), columns)
    top = max(0, min(row - MOST_ROWS // 2, wanted.numel() // columns - MOST_ROWS))
    left = max(0, min(column - MOST_COLUMNS // 2, columns - MOST_COLUMNS))

    def piece(tensor: Tensor) -> Matrix:
        rows = tensor.reshape(-1, columns)[top : top + MOST_ROWS, left : left + MOST_COLUMNS]  # [rows, columns]
        return tuple(tuple(values) for values in rows.tolist())

    return Difference(case.name, piece(given), piece(wanted), top, left)


def _said_difference(given: Tensor, wanted: Tensor, case: Case) -> Text:
    """Where two tensors differ most, and whether they differ by one factor everywhere."""
    flat = _worst(given, wanted)
    place = "[" + ", ".join(str(int(index)) for index in torch.unravel_index(torch.tensor(flat), wanted.shape)) + "]"
    yours, expected = float(given.flatten()[flat]), float(wanted.flatten()[flat])
    ratios = (given / wanted)[wanted.abs() > case.absolute]
    en = f"on {case.name.en}: expected {expected:.5g} at {place}, got {yours:.5g}"
    zh = f"在“{case.name.zh}”上：{place} 处应为 {expected:.5g}，得到 {yours:.5g}"
    said = _said_ratios(ratios[ratios.isfinite()])
    return Text(f"{en}{said.en}", f"{zh}{said.zh}")


def _said_ratios(ratios: Tensor) -> Text:
    """How the learner's values relate to those expected [count]: one factor everywhere, or between which ones most lie."""
    if len(ratios) < 2:
        return Text("", "")
    mean = float(ratios.mean())
    if float(ratios.std()) < 1e-3 * abs(mean):
        return Text(
            f"; yours is {mean:.4g} times what is expected, everywhere", f"；你的结果处处是应有值的 {mean:.4g} 倍"
        )
    low, middle, high = ratios.quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()
    return Text(
        f"; yours over the expected: median {middle:.3g}, most between {low:.3g} and {high:.3g}",
        f"；你的结果与应有值之比：中位数 {middle:.3g}，大多在 {low:.3g} 到 {high:.3g} 之间",
    )


def _gradients(check: Check, part: Part, case: Case) -> dict[str, Tensor | None]:
    """The gradients of a weighted sum of the result with respect to the case's floating-point inputs."""
    inputs = {
        name: value.detach().clone().requires_grad_(value.is_floating_point()) for name, value in case.inputs.items()
    }
    result = check.run(part, Case(case.name, inputs, case.settings))
    weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view_as(result)
    wanted = {name: value for name, value in inputs.items() if value.requires_grad}
    found = torch.autograd.grad((result * weights).sum(), list(wanted.values()), allow_unused=True)
    return dict(zip(wanted, found, strict=True))


def _check_gradients(check: Check, part: Part, case: Case) -> None:
    if not case.gradients:
        return
    expected = _gradients(check, check.reference, case)
    try:
        given = _gradients(check, part, case)
    except Exception as error:
        said = said_error(error)
        raise PartError(Text(f"no gradient comes through: {said.en}", f"梯度传不回来：{said.zh}")) from None
    for name, wanted in expected.items():
        found = given[name]
        if found is None or wanted is None:
            raise PartError(
                Text(
                    f"no gradient reaches {name}: is there a detach(), .data or no_grad()?",
                    f"梯度传不到 {name}：是不是用了 detach()、.data 或 no_grad()？",
                )
            )
        if not _close(found, wanted, case):
            said = _said_difference(found.float(), wanted.float(), case)
            raise PartError(Text(f"the gradient of {name} {said.en}", f"{name} 的梯度：{said.zh}"))


def _check_invariants(check: Check, part: Part, seed: int) -> None:
    for number, invariant in enumerate(check.invariants):
        generator = torch.Generator().manual_seed(seed + number)
        try:
            holds = invariant.holds(part, generator)
        except Exception as error:
            raise PartError(said_error(error)) from None
        if not holds:
            raise PartError(invariant.wrong)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what torch is asked to compute."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, function: Any, _types: Any, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        self.count += 1
        return function(*arguments, **(named or {}))


def _check_efficiency(check: Check, part: Part, seed: int) -> None:
    if check.longer is None:
        return
    counts = []
    for case in check.longer.cases(torch.Generator().manual_seed(seed)):
        with _Operations() as operations:
            _result(check, part, case)
        counts.append(operations.count)
    short, long = counts
    if long > short + check.longer.slack:
        wrong = check.longer.wrong
        raise PartError(
            Text(
                f"{wrong.en} ({short} operations, {long} for a longer input)",
                f"{wrong.zh}（短输入 {short} 次运算，长输入 {long} 次）",
            )
        )


def _close(given: Tensor, wanted: Tensor, case: Case) -> bool:
    return bool(torch.allclose(given.float(), wanted.float(), rtol=case.relative, atol=case.absolute, equal_nan=True))


def _outcome(check: Check, part: Part, case: Case) -> Tensor | Exception:
    try:
        with torch.no_grad():
            return check.run(part, case)
    except Exception as error:
        return error


def _same(first: Tensor | Exception, second: Tensor | Exception, case: Case) -> bool:
    """Whether two implementations did the same: equal results, or the same exception."""
    if isinstance(first, Exception) or isinstance(second, Exception):
        return type(first) is type(second) and str(first)[:_COMPARED_LENGTH] == str(second)[:_COMPARED_LENGTH]
    if not isinstance(first, Tensor) or first.shape != second.shape or first.dtype != second.dtype:
        return False
    return _close(first, second, case)
