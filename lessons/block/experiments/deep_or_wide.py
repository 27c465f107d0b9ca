"""The same number of parameters as few wide layers or as many narrow ones: which learns more in the same steps?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from minimind.events import Claim, Event, Scalars, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results
from minimind.lab.races import NAMES, Race, run_race
from minimind.lab.tiny import BYTES, tiny_model
from minimind.lab.verdicts import is_lower, means
from minimind.model.transformer import MiniMind

WIDTHS = {1: 44, 2: 32, 4: 24, 8: 16}
"""The width of the stream at each depth; the feed-forward takes what is left of the parameters."""
PARAMETERS = 33_400
HEADS = 2
FLAT = 0.1
"""Nats; shapes that differ by less share the bottom of the valley."""
SAID_STEPS = 250


@experiment(
    title=Text("Deep or wide?", "深还是宽？"),
    question=Text(
        "With a fixed number of parameters, is it better to stack layers or to widen them?",
        "参数量固定时，该把层叠多，还是把层加宽？",
    ),
    parameters={
        "steps": Parameter(Text("training steps", "训练步数"), low=5, high=3000),
        "rate": Parameter(Text("learning rate", "学习率"), choices=(0.001, 0.003, 0.01)),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 300},
    deep={"seeds": 5, "steps": 2500},
    smoke={"seeds": 1, "steps": 5},
    predict=Text(
        "1, 2, 4 or 8 layers, each with 33 thousand parameters, on text. How do the held-out losses compare?",
        "1、2、4、8 层，都是约 3.3 万参数，在文本上训练。留出集损失相比如何？",
    ),
    choices=(
        Text("the deeper the better", "越深越好"),
        Text("the wider the better", "越宽越好"),
        Text("best in the middle, at two or four layers", "中间最好：两层或四层"),
        Text("no difference anywhere", "哪里都没有差别"),
    ),
    names={
        **NAMES,
        "depth": Text("Held-out loss by depth", "各深度的留出集损失"),
        "layers": Text("layers", "层数"),
        **{f"{layers} layers": Text(f"{layers} layers", f"{layers} 层") for layers in WIDTHS},
    },
)
def deep_or_wide(steps: int = 600, rate: float = 0.003, seeds: int = 3) -> Iterator[Event]:
    """Train four shapes of the same size side by side."""
    arms = [
        Arm(f"{layers} layers", shape(layers, width), {"layers × width": f"{layers} × {width}"})
        for layers, width in WIDTHS.items()
    ]
    results = yield from run_race(Race(arms, steps, seeds, learning_rate=rate))
    for layers in WIDTHS:
        yield Scalars(layers, {"held_out": results.mean(f"{layers} layers")}, axis="layers", chart="depth")
    yield from _claims(results, steps >= SAID_STEPS)


def feed_forward_size(layers: int, width: int) -> int:
    """How wide the feed-forward must be for PARAMETERS in all, embedding and norms included."""
    others = BYTES * width + width + layers * (4 * width * width + 2 * width)
    return round((PARAMETERS - others) / (3 * width * layers))


def shape(layers: int, width: int) -> Callable[[int], MiniMind]:
    """How to build, for a seed, the model of that depth and width with PARAMETERS parameters."""
    return lambda seed: tiny_model(
        "T0",
        seed=seed,
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=HEADS,
        intermediate_size=feed_forward_size(layers, width),
    )


def _claims(results: Results, said: bool) -> Iterator[Event]:
    losses = {layers: results.mean(f"{layers} layers") for layers in WIDTHS}
    best = min(losses, key=losses.__getitem__)
    if max(losses.values()) - min(losses.values()) < FLAT:
        choice = 3
    else:
        choice = 0 if best == max(WIDTHS) else 1 if best == min(WIDTHS) else 2
    said_losses = ", ".join(f"{layers}: {loss:.2f}" for layers, loss in losses.items())
    yield Claim(
        "prediction",
        Text(said_losses, said_losses),
        {"choice": choice, **{f"L{k}": v for k, v in losses.items()}},
        True,
    )
    yield Claim(
        "the_valley_is_flat",
        Text(
            "At the bottom of the valley, two layers and four end within a tenth of a nat of each other",
            "谷底是平的：两层与四层相差不到 0.1 nats",
        ),
        {**{f"L{layers}": loss for layers, loss in losses.items()}, "spread": abs(losses[2] - losses[4])},
        abs(losses[2] - losses[4]) < FLAT if said else None,
    )
    narrow = results.of("8 layers")
    yield Claim(
        "too_narrow_falls_behind",
        Text(
            "Eight layers of width 16 fall behind two of width 32",
            "8 层、宽 16 的模型落后于 2 层、宽 32 的模型",
        ),
        means(eight=narrow, two=results.of("2 layers")),
        is_lower(results.of("2 layers"), narrow) if said else None,
    )
