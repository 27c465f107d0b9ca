"""Train a small model with a learner's parts beside the reference: what "use my part" does. Imports torch.

Runs in the process that checks run in. One part stands beside the reference of its exercise; all parts together stand,
as "my MiniMind", beside our own model. Weights, batches and steps are the same, so the curves must be, to rounding.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from lessons.checking import Check, Part, PartError, load_check, load_part, said_error
from lessons.part_runner import AGREE, CHART, REFERENCE, SPEED, YOURS
from minimind.errors import UserError
from minimind.events import Alert, Claim, Event, Level, Note, Progress, Table, Text
from minimind.lab.arms import Arm, Draw, on_text, train_arms
from minimind.lab.floors import ngram_loss, uniform_loss
from minimind.lab.text import byte_text
from minimind.lab.tiny import BATCH_SIZES, SIZES, tiny_model
from minimind.model.transformer import MiniMind

STEPS = 60
TOLERANCE = 1e-3
"""Nats. In this many steps rounding moves a curve by some 1e-6, a mistake by far more than this."""
SAME_OUTPUT = 1e-3
"""Logits: two networks that differ by less on the same weights compute the same function."""
_TIME = SIZES["T0"]["max_position_embeddings"]
_REPEATS = 8
_WARM_UP = 2


@dataclass(frozen=True)
class LearnersPart:
    """One passed exercise, loaded."""

    name: str
    file: Path
    check: Check
    part: Part


def train_parts(requests: Sequence[Mapping[str, Any]], *, together: bool) -> Iterator[Event]:
    """Train with the parts that `requests` name (``name``, ``check``, ``file``) and compare.

    With `together`, all that fit are put into one model. What the learner's code raises becomes an `Alert`.
    """
    try:
        parts = [load_request(request) for request in requests]
        if together:
            fitting, rows = assemble(parts)
            for name, said in rows:
                yield Note(Text(f"{name}: {said.en}", f"{name}：{said.zh}"))
            if fitting:
                yield from _train(plain, partial(model_with, fitting))
        else:
            for item in parts:
                yield from _train(partial(_with_reference, item), partial(model_with, [item]))
    except (PartError, UserError) as problem:
        yield Alert("error", "part", problem.text)
    except Exception as error:
        yield Alert("error", "part", said_error(error))


def load_request(request: Mapping[str, Any]) -> LearnersPart:
    """The part that a request names. Raises PartError or UserError where it cannot be loaded."""
    check, file = load_check(request["check"]), Path(request["file"])
    return LearnersPart(str(request["name"]), file, check, load_part(check, file))


def plain() -> MiniMind:
    """The model that is trained: T0 with one key/value head for two query heads, so that sharing them is used too."""
    return tiny_model("T0", num_key_value_heads=1)


def model_with(parts: Sequence[LearnersPart]) -> MiniMind:
    """That model with these parts installed, one after the other. Raises UserError where one does not fit."""
    model = plain()
    for item in parts:
        _install(item.check, model, item.part)
    return model


def _with_reference(item: LearnersPart) -> MiniMind:
    model = plain()
    _install(item.check, model, item.check.reference)
    return model


def _install(check: Check, model: MiniMind, part: Part) -> None:
    assert check.install is not None
    check.install(model, part)


# --- all parts together ---------------------------------------------------------------------------------------------


def assemble(parts: Sequence[LearnersPart]) -> tuple[list[LearnersPart], list[tuple[str, Text]]]:
    """As many of the parts as fit together in one MiniMind, in the order to install them, and what became of each.

    The part that replaces most comes first, so that smaller ones go inside it. One is left out where it makes another
    network, cannot be put in, would take the place of one that is in already, or leaves no room for several others.
    """
    ordered = sorted(parts, key=_shared_weights)
    kept, said = _fit(ordered)
    in_the_way: dict[str, Text] = {}
    for item in tuple(kept):
        others = [other for other in ordered if other is not item]
        without, reasons = _fit(others)
        if len(without) > len(kept):
            ordered, kept, said = others, without, reasons
            in_the_way[item.name] = Text("it leaves no room for several others", "装上它，就装不下另外几个部件")
    said |= in_the_way
    return kept, [(item.name, said[item.name]) for item in parts]


def _fit(ordered: Sequence[LearnersPart]) -> tuple[list[LearnersPart], dict[str, Text]]:
    """The parts that fit when they are tried in this order, and what became of each."""
    kept: list[LearnersPart] = []
    said: dict[str, Text] = {}
    for item in ordered:
        reason = _reason_against(kept, item)
        said[item.name] = Text("in your model", "已装进你的模型") if reason is None else reason
        if reason is None:
            kept.append(item)
    return kept, said


def _shared_weights(item: LearnersPart) -> int:
    """How many of a model's own weights are left when the part is in: few for a block, all for a function."""
    model = plain()
    before = {id(weight) for weight in model.parameters()}
    try:
        _install(item.check, model, item.part)
    except UserError:
        return len(before)
    return sum(id(weight) in before for weight in model.parameters())


def _reason_against(kept: Sequence[LearnersPart], item: LearnersPart) -> Text | None:
    """Why `item` cannot join the parts that are `kept`; None where it can."""
    tokens = torch.arange(_TIME)[None]  # [1, time]
    files = [part.file for part in [*kept, item]]
    made: list[MiniMind] = []
    found: list[Tensor] = []
    try:
        ran_at_install = files_that_run(lambda: made.append(model_with([*kept, item])), files)
        ran = files_that_run(lambda: found.append(made[0](tokens)), files)
    except UserError as error:
        return error.text
    except Exception as error:
        return said_error(error)
    if item.file not in ran | ran_at_install:
        return Text("nothing in the model calls it", "模型里没有地方用到它")
    wanted = plain()(tokens)  # [1, time, vocabulary]
    if not bool(torch.allclose(found[0], wanted, rtol=0, atol=SAME_OUTPUT)):
        return Text("it makes another network than MiniMind", "装上以后就不是 MiniMind 这个网络了")
    for other in kept:
        if other.file not in ran and _runs_alone(other, tokens):
            return Text(f"it would take the place of {other.name}", f"会占掉 {other.name} 的位置")
    return None


def _runs_alone(item: LearnersPart, tokens: Tensor) -> bool:
    model = model_with([item])
    return item.file in files_that_run(lambda: model(tokens), [item.file])


def files_that_run(act: Callable[[], object], files: Sequence[Path]) -> set[Path]:
    """Those of `files` of which a function is called while `act` runs."""
    names = {str(file): file for file in files}
    ran: set[Path] = set()

    def look(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename in names:
            ran.add(names[frame.f_code.co_filename])

    sys.setprofile(look)
    try:
        with torch.no_grad():
            act()
    finally:
        sys.setprofile(None)
    return ran


# --- training -------------------------------------------------------------------------------------------------------


def _train(reference: Callable[[], MiniMind], yours: Callable[[], MiniMind]) -> Generator[Event, None, None]:
    text = byte_text(60)
    plan = replace(on_text(text, STEPS, batch=BATCH_SIZES["T0"], time=_TIME), chart=CHART)
    for name, level in (("uniform", uniform_loss()), ("unigram", ngram_loss(text.train, text.held_out, 1))):
        yield Level(CHART, name, level)
    arms = (Arm(REFERENCE, lambda _seed: reference()), Arm(YOURS, lambda _seed: yours()))
    results = yield from train_arms(arms, plan)
    first, second = ([loss for _, loss in results.curves[name]] for name in (REFERENCE, YOURS))
    apart = max(abs(a - b) for a, b in zip(first, second, strict=True))
    seconds = yield from _seconds_a_step(results.models, plan.draw)
    yield Claim(
        AGREE,
        Text(
            "with yours in place, the model learns step for step what it learns with the reference",
            "装上你写的部件，模型每一步学到的都和参考实现一样",
        ),
        {"largest_difference_in_nats": apart, "last_loss": second[-1]},
        apart < TOLERANCE,
    )
    ratio = seconds[YOURS] / seconds[REFERENCE]
    columns = (Text("arm", "组"), Text("milliseconds a step", "每步毫秒"), Text("× reference", "与参考之比"))
    rows = ((REFERENCE, 1e3 * seconds[REFERENCE], 1.0), (YOURS, 1e3 * seconds[YOURS], ratio))
    yield Table(SPEED, columns, rows, Text("How fast each is", "各有多快"))


def _seconds_a_step(models: Mapping[str, nn.Module], draw: Draw) -> Generator[Event, None, dict[str, float]]:
    """The median time of a forward and a backward pass of each, measured in turn."""
    taken: dict[str, list[float]] = {name: [] for name in models}
    tokens, labels = draw(torch.Generator().manual_seed(0))  # 2 × [batch, time]
    for repeat in range(_WARM_UP + _REPEATS):
        for name, model in models.items():
            began = time.perf_counter()
            logits = model(tokens)  # [batch, time, vocabulary]
            nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()  # type: ignore[no-untyped-call]
            taken[name].append(time.perf_counter() - began)
            yield Progress(repeat + 1, _WARM_UP + _REPEATS, Text("measuring the speed", "正在测速度"))
    return {name: statistics.median(times[_WARM_UP:]) for name, times in taken.items()}
