"""How much does each kind of context buy? Predictors that count, and a Transformer that learns, on the same bytes."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterator
from itertools import pairwise

from minimind.events import Claim, Event, Level, Note, Scalars, Table, Text
from minimind.experiment import Number, Parameter, experiment
from minimind.lab.arms import Arm, Results, on_text, train_arms
from minimind.lab.floors import ngram_loss, uniform_loss
from minimind.lab.text import byte_text
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import agree

EVERY = 50
COUNTERS = ("uniform", "unigram", "bigram", "trigram")
NAMES = {
    "uniform": Text("uniform (knows nothing)", "均匀（什么都不知道）"),
    "unigram": Text("unigram (byte frequencies)", "一元（字节频率）"),
    "bigram": Text("bigram (one byte before)", "二元（看前一个字节）"),
    "trigram": Text("trigram (two bytes before)", "三元（看前两个字节）"),
    "transformer": Text("Transformer", "Transformer"),
    "loss": Text("Training loss (nats a byte)", "训练损失（nats/字节）"),
    "loss_held_out": Text("Held-out loss (nats a byte)", "留出集损失（nats/字节）"),
    "step": Text("step", "步"),
}


@experiment(
    title=Text("The ladder of predictors", "预测器的阶梯"),
    question=Text(
        "How far do you get by counting, and when does a small Transformer overtake it?",
        "只靠数数能走多远？小小的 Transformer 什么时候能超过它？",
    ),
    parameters={
        "language": Parameter(Text("language of the text", "文本的语言"), choices=("en", "zh")),
        "steps": Parameter(Text("training steps", "训练步数"), low=20, high=2000),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 365},
    deep={"seeds": 5, "steps": 1000},
    smoke={"seeds": 1, "steps": 25},
    predict=Text(
        "After how many training steps (16 × 64 bytes each) does a Transformer of 120,000 parameters beat "
        "the trigram, a table of counts?",
        "一个 12 万参数的 Transformer，要训练多少步（每步 16 × 64 个字节）才能胜过三元模型，一张纯粹数出来的表？",
    ),
    number=Number(1, 2000, Text("steps", "步"), within=1.5),
    names=NAMES,
)
def predictor_ladder(language: str = "en", steps: int = 500, seeds: int = 3) -> Iterator[Event]:
    """Count first, then train; every predictor is judged on the same held-out bytes."""
    text = byte_text(240, "zh" if language == "zh" else "en")
    floors = {"uniform": uniform_loss()}
    floors |= {name: ngram_loss(text.train, text.held_out, order) for order, name in enumerate(COUNTERS[1:], 1)}
    for name, loss in floors.items():
        yield Level("loss_held_out", name, loss)
    plan = dataclasses.replace(on_text(text, steps, seeds=seeds), evaluate_every=EVERY)
    training = train_arms([Arm("transformer", lambda seed: tiny_model("T1", seed=seed))], plan)
    crossed = math.nan
    while True:
        try:
            event = next(training)
        except StopIteration as stop:
            results: Results = stop.value
            break
        yield event
        if isinstance(event, Scalars) and event.chart == "loss_held_out" and math.isnan(crossed):
            crossed = event.x if event.values["transformer"] < floors["trigram"] else math.nan
    yield _table(floors, results)
    yield Note(
        Text(
            "All of them read the same training bytes and are judged on the same other ones. 1 nat = 1.44 bits.",
            "它们读的是同一批训练字节，也在同一批没见过的字节上评判。1 nat = 1.44 比特。",
        )
    )
    yield from _claims(floors, results, crossed)


def _table(floors: dict[str, float], results: Results) -> Event:
    losses = floors | {"transformer": results.mean("transformer")}
    rows = tuple(
        (name, f"{loss:.3f}", f"{loss / math.log(2):.3f}", f"{math.exp(loss):.1f}") for name, loss in losses.items()
    )
    columns = (
        Text("predictor", "预测器"),
        Text("nats a byte", "nats/字节"),
        Text("bits a byte", "比特/字节"),
        Text("perplexity", "困惑度"),
    )
    return Table("ladder", columns, rows, Text("On held-out bytes", "在留出的字节上"))


def _claims(floors: dict[str, float], results: Results, crossed: float) -> Iterator[Event]:
    learned = results.of("transformer")
    if not math.isnan(crossed):
        said = Text(f"it passed the trigram by step {crossed:.0f}", f"到第 {crossed:.0f} 步已超过三元模型")
        yield Claim("prediction", said, {"number": crossed}, True)
    else:
        said = Text("it did not pass the trigram in this run", "这次运行中没有超过三元模型")
        yield Claim("prediction", said, {"number": math.inf}, None)
    order = [floors[name] for name in COUNTERS]
    yield Claim(
        "context_pays",
        Text("Every byte of context that is counted lowers the loss", "多数一个字节的上文，损失就低一截"),
        dict(floors),
        all(a > b for a, b in pairwise(order)),
    )
    beaten = [loss < floors["trigram"] for loss in learned]
    yield Claim(
        "transformer_overtakes",
        Text("Trained long enough, the Transformer beats the trigram", "训练够久，Transformer 胜过三元模型"),
        {
            "transformer": statistics.fmean(learned),
            "trigram": floors["trigram"],
            "step": crossed,
            "seeds": len(learned),
        },
        True if agree(beaten) else None,
    )
    early = {step: loss for step, loss in results.curves["transformer"] if step <= 60}
    at = max(early)
    yield Claim(
        "counting_wins_at_first",
        Text(
            "Early in training the Transformer is worse than counting pairs of bytes",
            "训练初期，Transformer 还不如数一数字节对",
        ),
        {"step": at, "transformer": early[at], "bigram": floors["bigram"]},
        early[at] > floors["bigram"],
    )
