"""An experiment that computes nothing, and what it yields, for the tests of everything that shows results."""

from __future__ import annotations

from collections.abc import Iterator

from minimind.events import Band, Claim, Event, Heatmap, Level, Note, Progress, Scalars, Table, Text
from minimind.experiment import Number, Parameter, experiment


@experiment(
    title=Text("Two arms", "两组对比"),
    question=Text("Which is lower?", "哪个更低？"),
    parameters={
        "steps": Parameter(Text("steps", "步数"), low=1, high=1000),
        "seeds": Parameter(Text("seeds", "种子数"), low=1, high=5),
        "tied": Parameter(Text("tied", "绑定")),
    },
    quick={"steps": 10, "seeds": 1},
    deep={"steps": 100, "seeds": 5},
    predict=Text("How large is the share?", "占多大比例？"),
    number=Number(0, 100, unit=Text("%", "%"), within=1.5),
    names={
        "loss": Text("Loss", "损失"),
        "step": Text("step", "步"),
        "a": Text("with", "有"),
        "b": Text("without", "无"),
    },
)
def two_arms(steps: int = 50, seeds: int = 3, tied: bool = False) -> Iterator[Event]:
    """Two straight lines, a floor, a band, a map, a table, three claims."""
    yield Table(
        "differences",
        (Text("arm", "组"), Text("what differs", "不同之处")),
        (("a", "—"), ("b", "norm: on → off")),
        Text("The only difference", "唯一的不同"),
    )
    yield Level("loss", "floor", 1.0)
    for step in range(1, steps + 1):
        yield Progress(step, steps)
        yield Scalars(step, {"a": 5 - 3 * step / steps, "b": 5 - 2 * step / steps}, chart="loss")
    xs = (1.0, float(steps))
    yield Band("loss", "a", xs, (4.5, 1.5), (5.5, 2.5))
    yield Heatmap("map", ((0.0, 1.0), (float("nan"), 0.5)), ("x", "y"), ("p", "q"), title=Text("Map", "图"))
    yield Table("results", (Text("arm", "组"), Text("loss", "损失")), (("a", 2.0), ("b\x1b[31m", 3.0)))
    yield Note(Text("Two straight lines.", "两条直线。"))
    yield Claim("prediction", Text("it is 35", "是 35"), {"number": 35.0}, True)
    yield Claim("lower", Text("a ends lower", "a 更低"), {"a": 2.0, "b": 3.0, "seeds": seeds}, not tied)
    yield Claim("open", Text("nobody knows", "没人知道"), {}, None)
