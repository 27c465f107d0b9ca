"""What if we don't? Two networks side by side: the small model as it is, and the same with some switches set otherwise.

The baseline is the model of the other experiments. Both start from the same weights wherever a tensor is in both, read
the same batches and take the same steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from minimind.errors import UserError
from minimind.events import Claim, Event, Note, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results, trained_copy
from minimind.lab.floors import uniform_loss
from minimind.lab.races import NAMES, Race, bigram_loss, run_race
from minimind.lab.switches import SWITCHES, Switches, difference
from minimind.lab.text import ByteText, byte_text, evaluate
from minimind.lab.tiny import BATCH_SIZES, SIZES
from minimind.lab.verdicts import NOISE, is_lower, means
from minimind.model.transformer import MiniMind
from minimind.model.variants.attention import set_mask

FEW_SEEDS, COARSE = 3, 0.3
"""With fewer seeds than that only a difference of this many nats is called one: seeds alone differ by nearly as much."""
SIZE_TOLERANCE = 0.02
"""Parameter counts that differ by a larger share are pointed out."""


@experiment(
    title=Text("What if we don't?", "不这样会怎样？"),
    question=Text(
        "Set some switches otherwise. Does the network still learn, and how well beside the usual one?",
        "拨动几个开关。网络还学得会吗？和通常的相比如何？",
    ),
    parameters={
        **{
            name: Parameter(switch.label, choices=tuple(switch.choices), help=switch.help)
            for name, switch in SWITCHES.items()
        },
        "layers": Parameter(Text("layers", "层数"), choices=(1, 2, 4, 8)),
        "rate": Parameter(Text("learning rate", "学习率"), choices=(0.001, 0.003, 0.01, 0.03)),
        "steps": Parameter(Text("training steps", "训练步数"), low=5, high=2000),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"steps": 200, "seeds": 1},
    deep={"steps": 1200, "seeds": 5},
    smoke={"steps": 5, "seeds": 1},
    names={
        **NAMES,
        "baseline": Text("as it is", "原样"),
        "switched": Text("switched", "改动后"),
    },
)
def what_if(
    positions: str = "rotary",
    norm: str = "rms",
    norm_place: str = "pre",
    residual: str = "none",
    order: str = "attention_first",
    attention: str = "yes",
    heads: int = 4,
    kv_heads: int = 4,
    mask: str = "causal",
    scale: str = "yes",
    projections: str = "separate",
    qk_norm: str = "no",
    feed_forward: str = "swiglu",
    ratio: int = 4,
    output_scale: str = "no",
    tied: str = "yes",
    layers: int = 2,
    rate: float = 0.003,
    steps: int = 400,
    seeds: int = 3,
) -> Iterator[Event]:
    """Train the baseline and the switched network side by side on bytes of the embedded corpus."""
    given: dict[str, Any] = dict(locals())
    switched = Switches(**{name: given[name] for name in SWITCHES})
    changed = difference(Switches(), switched)
    if not changed:
        raise UserError("no switch is set otherwise: change one first", "没有改动任何开关：请先拨动一个")
    arms = [
        Arm(name, partial(_build, made, layers), _settings(switched, made))
        for name, made in (("baseline", Switches()), ("switched", switched))
    ]
    yield from _remarks(arms)
    race = Race(arms, steps, seeds, "T1", rate)
    if switched.mask == "none":
        text = byte_text()
        race = Race(
            arms, steps, seeds, "T1", rate,
            {"honest": lambda model: _honest_loss(model, text)},
            {"held_out": Text("as trained", "按训练时的方式"), "honest": Text("without the future", "不看未来")},
        )  # fmt: skip
    results = yield from run_race(race)
    yield from _claims(results, switched)


def _build(made: Switches, layers: int, seed: int) -> MiniMind:
    return made.build("T1", seed, layers)


def _settings(switched: Switches, made: Switches) -> dict[str, str]:
    """The switches of `made` that `switched` sets otherwise than usual."""
    return {SWITCHES[name].label.en: str(getattr(made, name)) for name in difference(Switches(), switched)}


def _remarks(arms: list[Arm]) -> Iterator[Event]:
    """Where the comparison is not of equals, say so."""
    usual, other = (arm.build(0).parameter_count() for arm in arms)
    if abs(other - usual) > SIZE_TOLERANCE * usual:
        more = other / usual - 1
        yield Note(
            Text(
                f"The switched network has {abs(more):.0%} {'more' if more > 0 else 'fewer'} parameters: size differs too.",
                f"改动后的网络参数{'多' if more > 0 else '少'} {abs(more):.0%}：大小也不同了。",
            )
        )


def _honest_loss(model: MiniMind, text: ByteText) -> float:
    """The held-out loss of a network that may not look ahead, however it was trained."""
    batches = text.evaluation(BATCH_SIZES["T1"], SIZES["T1"]["max_position_embeddings"])
    honest = trained_copy(model)
    set_mask(honest, "causal")
    return evaluate(honest, batches)


def _claims(results: Results, switched: Switches) -> Iterator[Event]:
    measure = "honest" if switched.mask == "none" else "held_out"
    usual, other = results.of("baseline", measure), results.of("switched", measure)
    worse = is_lower(usual, other, NOISE if len(usual) >= FEW_SEEDS else COARSE)
    gap = results.mean("switched", measure) - results.mean("baseline", measure)
    yield Claim(
        "verdict",
        _verdict(worse, gap),
        {**means(baseline=usual, switched=other), "gap": gap},
        None if worse is None else True,
    )
    bigram = bigram_loss()
    lost = max(other)
    learned = Text("The switched network beats counting pairs of bytes", "改动后的网络胜过数字节对")
    if lost > uniform_loss():
        learned = Text("The switched network predicts worse than guessing", "改动后的网络还不如瞎猜")
    elif lost > bigram:
        learned = Text("The switched network does not beat counting pairs of bytes", "改动后的网络没有胜过数字节对")
    yield Claim("learned", learned, {"worst": lost, "bigram": bigram, "uniform": uniform_loss()}, True)
    if switched.mask == "none":
        seen = results.of("switched", "held_out")
        yield Claim(
            "loss_is_fake",
            Text(
                "The loss it shows in training is not its own work: without the future it is at least half a nat higher",
                "它训练时的损失不是真本事：看不到未来时至少高出 0.5 nats",
            ),
            means(as_trained=seen, honest=other),
            is_lower(seen, other, 0.5),
        )


def _verdict(worse: bool | None, gap: float) -> Text:
    """The sentence that the seeds decided."""
    if worse is None:
        return Text(
            f"The switches make a difference: {gap:+.2f} nats, too small for these seeds to tell",
            f"这些开关有影响：{gap:+.2f} nats，太小，这几个种子说不准",
        )
    if worse:
        return Text(f"Switched, it predicts worse: {gap:+.2f} nats a byte", f"改动后预测变差：{gap:+.2f} nats/字节")
    return Text(f"Switched, it predicts better: {gap:+.2f} nats a byte", f"改动后预测变好：{gap:+.2f} nats/字节")
