"""Should the output layer be the embedding read backwards? Trained both ways, and counted at every size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from minimind.config import MODEL_PRESETS
from minimind.events import Claim, Event, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results
from minimind.lab.races import NAMES, Race, run_race
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import NOISE, is_lower, means
from minimind.model.transformer import MiniMind
from minimind.scale import parameter_counts

SAID_STEPS = 150
ARMS = {"tied": Text("tied", "共享"), "untied": Text("two matrices", "两个矩阵")}
SHOWN = ("nano", "mini", "small", "minimind3")


@experiment(
    title=Text("One matrix or two", "一个矩阵还是两个"),
    question=Text(
        "Embedding and output layer can share one matrix. Does that help, and what does it save?",
        "嵌入和输出层可以共用一个矩阵。这有帮助吗？省下多少？",
    ),
    parameters={
        "steps": Parameter(Text("training steps", "训练步数"), low=4, high=1500),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 160},
    deep={"seeds": 5, "steps": 600},
    smoke={"seeds": 1, "steps": 4},
    predict=Text(
        "A small byte-level model, the same steps for both. Which has the lower held-out loss?",
        "一个按字节的小模型，两种各练同样多步。哪种的留出集损失更低？",
    ),
    choices=(
        Text("tied: what it learns counts twice", "共享的：学一次用两次"),
        Text("two matrices: each does its own job", "两个矩阵的：各司其职"),
        Text("no clear difference", "没有明显差别"),
    ),
    names={**NAMES, **ARMS},
)
def tied_embeddings(steps: int = 300, seeds: int = 3) -> Iterator[Event]:
    """Two arms, then what the shared matrix is of the whole at the released sizes."""
    arms = [
        Arm("tied", partial(_build, True), {"tie_word_embeddings": "true"}),
        Arm("untied", partial(_build, False), {"tie_word_embeddings": "false"}),
    ]
    results: Results = yield from run_race(Race(arms, steps, seeds, size="T1"))
    yield _table()
    yield from _claims(results, said=steps >= SAID_STEPS)


def _build(tied: bool, seed: int) -> MiniMind:
    return tiny_model("T1", seed=seed, tie_word_embeddings=tied)


def _share(name: str) -> float:
    """The embedding's share of a preset's parameters, in per cent."""
    counts = parameter_counts(MODEL_PRESETS[name])
    return 100 * counts.embedding / counts.total


def _table() -> Event:
    columns = (
        Text("model", "模型"),
        Text("parameters", "参数量"),
        Text("embedding", "嵌入"),
        Text("share %", "占比 %"),
        Text("untied it would be", "不共享则为"),
    )
    rows: list[tuple[str | float, ...]] = []
    for name in SHOWN:
        counts = parameter_counts(MODEL_PRESETS[name])
        untied = counts.total + counts.embedding
        rows.append((name, f"{counts.total:,}", f"{counts.embedding:,}", f"{_share(name):.1f}", f"{untied:,}"))
    return Table("shares", columns, tuple(rows), Text("What the shared matrix is of the whole", "共享的那个矩阵占多少"))


def _no_better(tied: Sequence[float], untied: Sequence[float]) -> bool | None:
    """Whether sharing is behind on average and nowhere clearly ahead; None where seeds are of two minds."""
    if any(one < two - NOISE for one, two in zip(tied, untied, strict=True)):
        return False if is_lower(tied, untied) else None
    return sum(tied) > sum(untied)


def _claims(results: Results, said: bool) -> Iterator[Event]:
    tied, untied = results.of("tied"), results.of("untied")
    lower = is_lower(tied, untied)
    choice = 2 if lower is None else 0 if lower else 1
    words = (
        Text("tied", "共享的更低"),
        Text("two matrices", "两个矩阵的更低"),
        Text("no clear difference", "没有明显差别"),
    )
    yield Claim("prediction", words[choice], {"choice": choice}, True)
    yield Claim(
        "sharing_is_no_gain",
        Text(
            "At this size one matrix learns no better than two, and no seed says otherwise clearly",
            "在这个规模上，一个矩阵并不比两个学得好，没有哪个种子明显唱反调",
        ),
        means(tied=tied, untied=untied),
        _no_better(tied, untied) if said else None,
    )
    yield Claim(
        "the_share_shrinks_with_size",
        Text("The larger the model, the smaller the share that tying saves", "模型越大，共享省下的比例越小"),
        {name: _share(name) for name in SHOWN}
        | {"saved_millions": parameter_counts(MODEL_PRESETS["minimind3"]).embedding / 1e6},
        _share("nano") > _share("mini") > _share("minimind3"),
    )
