"""What becomes of the loss beyond the length a model was trained on, and which stretching of RoPE helps?

Networks trained on short sequences read texts several times as long; the loss is taken place by place. The rotary
network is read as it is and stretched in three ways, always the same trained weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from minimind.events import Claim, Event, Level, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, differences, train_arms
from minimind.lab.floors import ngram_loss
from minimind.lab.lengths import PlaceLosses, long_windows, plan_of_seed
from minimind.lab.text import byte_text
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import all_hold, is_close, is_lower, means
from minimind.model.transformer import MiniMind
from minimind.model.variants.positions import Positions, Scaling, scale_positions, set_positions

TRAINED = 64
ARMS: tuple[Positions, ...] = ("rotary", "alibi", "none", "learned")
METHODS: dict[str, tuple[Positions, Scaling]] = {
    "rotary": ("rotary", "none"),
    "interpolate": ("rotary", "interpolate"),
    "ntk": ("rotary", "ntk"),
    "yarn": ("rotary", "yarn"),
    "alibi": ("alibi", "none"),
    "none": ("none", "none"),
    "learned": ("learned", "none"),
}
"""Which network is read, and how it is stretched."""
STRETCHED = ("interpolate", "ntk", "yarn")
BATCH = 8
INSIDE = 1
"""The number of the bin that is the second half of the trained length."""
SAID_STEPS = 120
"""With fewer steps the networks have hardly learnt: comparisons stay undecided."""


@experiment(
    title=Text("Beyond the trained length", "超出训练长度"),
    question=Text(
        f"Trained on {TRAINED} positions, asked to read {8 * TRAINED}. Who still understands?",
        f"只在 {TRAINED} 个位置上训练过，却要读 {8 * TRAINED} 个。谁还读得懂？",
    ),
    parameters={
        "steps": Parameter(Text("training steps", "训练步数"), low=10, high=1500),
        "factor": Parameter(Text("stretched how many times", "拉伸倍数"), choices=(2.0, 4.0, 8.0)),
        "length": Parameter(Text("length read", "读多长"), choices=(256, 512)),
        "base": Parameter(Text("base of the frequencies", "频率的底数"), choices=(100.0, 10_000.0, 1_000_000.0)),
        "beta_fast": Parameter(Text("YaRN: turns to stay", "YaRN：几圈以上不变"), choices=(1.0, 4.0, 32.0)),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"steps": 135, "seeds": 1},
    deep={"steps": 1000, "seeds": 5},
    smoke={"steps": 10, "seeds": 1, "length": 256},
    predict=Text(
        "At eight times the trained length, without any further training: which has the lowest loss?",
        "读到训练长度的八倍处，不再做任何训练：哪一种损失最低？",
    ),
    choices=(
        Text("RoPE as it is: it knows distances only", "原样的 RoPE：它只看距离"),
        Text("RoPE with stretched frequencies (NTK or YaRN)", "拉伸频率后的 RoPE（NTK 或 YaRN）"),
        Text("ALiBi: a penalty that grows with distance", "ALiBi：越远扣分越多"),
        Text("the model without any positions", "不带任何位置编码的模型"),
    ),
    names={
        "loss": Text("Training loss", "训练损失"),
        "place": Text("Loss by position", "各位置的损失"),
        "position": Text("position", "位置"),
        "step": Text("step", "步"),
        "rotary": Text("RoPE", "RoPE"),
        "interpolate": Text("RoPE, interpolated", "RoPE，线性内插"),
        "ntk": Text("RoPE, NTK", "RoPE，NTK"),
        "yarn": Text("RoPE, YaRN", "RoPE，YaRN"),
        "alibi": Text("ALiBi", "ALiBi"),
        "none": Text("none", "无"),
        "learned": Text("learned", "可学习"),
        "bigram": Text("bigram", "二元（bigram）"),
    },
)
def extrapolate(
    steps: int = 280,
    factor: float = 8.0,
    length: int = 512,
    base: float = 10_000.0,
    beta_fast: float = 32.0,
    seeds: int = 3,
) -> Iterator[Event]:
    """Train the networks, a seed at a time, and read long held-out text with every method."""
    text = byte_text()
    bigram = ngram_loss(text.train, text.held_out, 2)
    edges = tuple(edge for edge in (0, 32, 64, 96, 128, 256, 512) if edge <= length)
    places = PlaceLosses(edges, *long_windows(text.held_out, length))
    yield differences(_arms(0, base, beta_fast))
    yield Level("loss", "bigram", bigram)
    yield Level("place", "bigram", bigram)
    for seed in range(seeds):
        plan = plan_of_seed(text, steps, seed, batch=BATCH, time=TRAINED)
        chart = "loss" if seed == 0 else f"loss_{seed}"
        results = yield from train_arms(_arms(seed, base, beta_fast), replace(plan, chart=chart))
        for method, (positions, scaling) in METHODS.items():
            model = results.models[positions]
            if positions == "rotary":
                scale_positions(model, scaling, factor)
            yield from places.read(method, model)
        yield places.heatmap()
    yield from places.curves("place")
    yield places.table()
    yield from _claims(places, bigram, steps >= SAID_STEPS)


def _arms(seed: int, base: float, beta_fast: float) -> list[Arm]:
    def builder(kind: Positions) -> Callable[[int], MiniMind]:
        return lambda _: tiny_model(
            seed=seed,
            rope_theta=base,
            beta_fast=beta_fast,
            max_position_embeddings=TRAINED,
            change=lambda model: set_positions(model, kind),
        )

    return [Arm(kind, builder(kind), {"positions": kind}) for kind in ARMS]


def _claims(places: PlaceLosses, bigram: float, said: bool) -> Iterator[Event]:
    inside = {method: places.at(method, INSIDE) for method in METHODS}
    outside = {method: places.at(method, -1) for method in METHODS}
    best = min(METHODS, key=lambda method: places.mean(method, -1))
    choice = {"rotary": 0, "alibi": 2, "none": 3}.get(best, 1)
    yield Claim("prediction", Text(f"lowest: {best}", f"最低的是 {best}"), {"choice": choice}, True)
    yield Claim(
        "rotary_collapses",
        Text(
            "RoPE as it is gets worse than a bigram beyond the trained length, although it knows distances only",
            "原样的 RoPE 虽然只看距离，超出训练长度后却比二元模型还差",
        ),
        {**means(inside=inside["rotary"], outside=outside["rotary"]), "bigram": bigram},
        all_hold([is_lower(inside["rotary"], outside["rotary"], 0.5), all(x > bigram for x in outside["rotary"])])
        if said
        else None,
    )
    yield from _claims_on_stretching(inside, outside, said)
    yield Claim(
        "alibi_carries_on",
        Text(
            "ALiBi reads on beyond the trained length with less than 0.15 nats of loss more",
            "ALiBi 超出训练长度后照样读，损失增加不到 0.15 nats",
        ),
        means(inside=inside["alibi"], outside=outside["alibi"]),
        is_close(inside["alibi"], outside["alibi"], 0.15) if said else None,
    )
    yield Claim(
        "flat_but_poor",
        Text(
            "Without positions, and with learned ones that stop at the last, nothing collapses, but little was learnt: "
            "ALiBi is lower everywhere",
            "不带位置编码的，以及越界后停在最后一个向量的可学习编码，都不会崩，但本来就学得少：ALiBi 处处更低",
        ),
        means(none_inside=inside["none"], none=outside["none"], learned=outside["learned"], alibi=outside["alibi"]),
        all_hold(
            [
                is_lower(losses["alibi"], losses[kind], 0.1)
                for losses in (inside, outside)
                for kind in ("none", "learned")
            ]
        )
        if said
        else None,
    )


def _claims_on_stretching(
    inside: dict[str, list[float]], outside: dict[str, list[float]], said: bool
) -> Iterator[Event]:
    yield Claim(
        "stretching_reaches_further",
        Text(
            "Stretching the frequencies by NTK or YaRN lowers the loss in the last bin, without any training",
            "用 NTK 或 YaRN 拉伸频率，不用训练，就能降低最后一段的损失",
        ),
        means(raw=outside["rotary"], ntk=outside["ntk"], yarn=outside["yarn"]),
        all_hold([is_lower(outside[method], outside["rotary"]) for method in ("ntk", "yarn")]) if said else None,
    )
    yield Claim(
        "stretching_costs_inside",
        Text(
            "Every stretching makes the loss inside the trained length worse",
            "无论哪种拉伸，训练长度之内的损失都会变差",
        ),
        means(raw=inside["rotary"], ntk=inside["ntk"], yarn=inside["yarn"], interpolated=inside["interpolate"]),
        all_hold([is_lower(inside["rotary"], inside[method]) for method in STRETCHED]) if said else None,
    )
    yield Claim(
        "interpolation_needs_training",
        Text(
            "Dividing all positions alike, without fine-tuning, costs far more inside than NTK or YaRN",
            "把所有位置一律除以倍数，不微调，训练长度之内付出的代价远大于 NTK 和 YaRN",
        ),
        means(interpolated=inside["interpolate"], ntk=inside["ntk"], yarn=inside["yarn"]),
        all_hold([is_lower(inside[method], inside["interpolate"], 0.3) for method in ("ntk", "yarn")])
        if said
        else None,
    )
