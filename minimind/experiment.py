"""What an experiment is: a generator of events with typed, bounded parameters. Standard library only.

    @experiment(
        title=Text("Depth and the signal", "深度与信号"),
        question=Text("What is left of the input after L layers?", "过了 L 层，输入还剩多少？"),
        parameters={"depth": Parameter(Text("layers", "层数"), low=1, high=100)},
        quick={"seeds": 1},
        deep={"seeds": 5},
    )
    def depth_signal(depth: int = 30, seeds: int = 3) -> Iterator[Event]:
        yield Scalars(...)

`yield` is what makes an experiment stream, cancellable (``close()``), recordable and testable. Yield at least every
50 ms of work.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from minimind.errors import UserError
from minimind.events import Event, Text
from minimind.wording import allowed

Value = int | float | str | bool
Budget = Literal["quick", "standard", "deep"]
BUDGETS: dict[Budget, Text] = {
    "quick": Text("quick", "快速"),
    "standard": Text("standard", "标准"),
    "deep": Text("deep", "深入"),
}
BUDGET_CPU_SECONDS: dict[Budget, float] = {"quick": 10.0, "standard": 60.0, "deep": 600.0}
"""What a run of each budget may take on one thread; the content doctor holds experiments to it."""
SMOKE_CPU_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Parameter:
    """How a parameter may be set: its label, and bounds or choices. The default is the function's own."""

    label: Text
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] = ()
    help: Text | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """A prediction that is a number between `low` and `high`; `unit` is what is counted.

    It is right within a factor of `within` of the truth, or no more than `margin` away from it.
    """

    low: float
    high: float
    unit: Text | None = None
    within: float = 1.5
    margin: float = 0.0

    def is_right(self, guess: float, truth: float) -> bool:
        """Whether `guess` is close enough to `truth`."""
        if abs(guess - truth) <= self.margin:
            return True
        return guess * truth > 0 and 1 / self.within <= guess / truth <= self.within


@dataclass(frozen=True, slots=True)
class Setting:
    """A parameter joined with its name, type and default, as read from the function's signature."""

    name: str
    type: type[Value]
    default: Value
    parameter: Parameter

    def parse(self, raw: Value) -> Value:
        """`raw` as this setting's type. Raises UserError naming the parameter, the value and what is allowed."""
        try:
            value: Value
            if self.type is bool:
                value = raw if isinstance(raw, bool) else {"true": True, "false": False}[str(raw).strip().lower()]
            else:
                value = self.type(raw)
        except (ValueError, KeyError, OverflowError):
            raise self._refused(raw) from None
        low, high = self.parameter.low, self.parameter.high
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            in_bounds = (low is None or value >= low) and (high is None or value <= high)
            if not in_bounds or value != value:
                raise self._refused(raw)
        if self.parameter.choices and value not in self.parameter.choices:
            raise self._refused(raw)
        return value

    def _refused(self, raw: Value) -> UserError:
        words = allowed(self.type, self.parameter.low, self.parameter.high, self.parameter.choices)
        return UserError(
            f"parameter {self.name}={raw!r} is not allowed: use {words.en}",
            f"参数 {self.name}={raw!r} 不可用：请用{words.zh}",
        )


@dataclass(frozen=True)
class Experiment:
    """A runnable experiment: its texts, its settings and its generator function."""

    name: str
    title: Text
    question: Text
    settings: tuple[Setting, ...]
    quick: Mapping[str, Value]
    deep: Mapping[str, Value]
    smoke: Mapping[str, Value]
    predict: Text | None
    choices: tuple[Text, ...]
    number: Number | None
    names: Mapping[str, Text]
    function: Callable[..., Iterator[Event]] = field(repr=False)

    def resolve(self, values: Mapping[str, Value] | None = None) -> dict[str, Value]:
        """Defaults overlaid with `values`, each checked. Raises UserError for an unknown name or a value out of range."""
        known = {setting.name: setting for setting in self.settings}
        resolved = {setting.name: setting.default for setting in self.settings}
        for name, raw in (values or {}).items():
            if name not in known:
                names = ", ".join(known)
                raise UserError(
                    f"{self.name} has no parameter {name!r}: it has {names}",
                    f"{self.name} 没有参数 {name!r}：可用的有 {names}",
                )
            resolved[name] = known[name].parse(raw)
        return resolved

    def budget(self, budget: Budget) -> dict[str, Value]:
        """The values of a run of this budget: ``standard`` is the defaults, the others change some of them."""
        return self.resolve({"quick": self.quick, "standard": {}, "deep": self.deep}[budget])

    def run(self, values: Mapping[str, Value] | None = None) -> Iterator[Event]:
        """The stream of events for these values (checked before the first one is computed)."""
        return self.function(**self.resolve(values))


def experiment(
    *,
    title: Text,
    question: Text,
    parameters: Mapping[str, Parameter],
    quick: Mapping[str, Value],
    deep: Mapping[str, Value] | None = None,
    smoke: Mapping[str, Value] | None = None,
    predict: Text | None = None,
    choices: tuple[Text, ...] = (),
    number: Number | None = None,
    names: Mapping[str, Text] | None = None,
) -> Callable[[Callable[..., Iterator[Event]]], Experiment]:
    """Turn a generator function into an `Experiment`.

    The defaults are the ``standard`` budget (three seeds where chance plays a part); `quick` says what differs in a run
    of at most ten CPU-seconds with one seed, `deep` in one of five seeds, `smoke` in the tests' run of a second or so
    (`quick` where it is not given). `predict` is the question asked before the first run; its answers are `choices`, and
    a claim called ``prediction`` with the measurement ``choice`` says which came true; or its answer is a `number`, and
    the claim's measurement ``number`` says what it was. `names` are what people call the
    charts, axes and series of the events where their own names are not for people.
    Raises TypeError, at import, when signature and `parameters` disagree.
    """

    def decorate(function: Callable[..., Iterator[Event]]) -> Experiment:
        settings = tuple(_setting(function, name, parameters) for name in inspect.signature(function).parameters)
        unknown = set(parameters) - {setting.name for setting in settings}
        if unknown:
            raise TypeError(f"{function.__name__}: parameters without an argument: {sorted(unknown)}")
        made = Experiment(
            name=function.__name__,
            title=title,
            question=question,
            settings=settings,
            quick=dict(quick),
            deep=dict(deep or {}),
            smoke=dict(quick if smoke is None else smoke),
            predict=predict,
            choices=choices,
            number=number,
            names=dict(names or {}),
            function=function,
        )
        for values in (made.quick, made.deep, made.smoke):
            made.resolve(values)
        if predict is not None and bool(choices) == (number is not None):
            raise TypeError(f"{function.__name__}: a prediction needs either choices or a number")
        return made

    return decorate


def _setting(function: Callable[..., Any], name: str, parameters: Mapping[str, Parameter]) -> Setting:
    default = inspect.signature(function).parameters[name].default
    if name not in parameters:
        raise TypeError(f"{function.__name__}: argument {name!r} has no Parameter")
    if not isinstance(default, (int, float, str, bool)):
        raise TypeError(f"{function.__name__}: argument {name!r} needs a default that is a number, a string or a bool")
    return Setting(name=name, type=type(default), default=default, parameter=parameters[name])
