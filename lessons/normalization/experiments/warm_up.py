"""Does warm-up rescue post-norm? The place of the norm and the length of the warm-up are varied."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial

from minimind.events import Claim, Event, Level, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results, differences, on_text, results_table, train_arms
from minimind.lab.floors import ngram_loss
from minimind.lab.text import byte_text
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import is_lower, means
from minimind.model.transformer import MiniMind
from minimind.model.variants.arrangement import NormPlace
from minimind.model.variants.blocks import set_norm_place

CLEAR = 0.2
"""Nats; what counts as a clear gain here."""
SAID_STEPS = 300
NAMES = {
    "pre": Text("pre-norm", "pre-norm"),
    "pre_warm": Text("pre-norm, warm-up", "pre-norm，有预热"),
    "post": Text("post-norm", "post-norm"),
    "post_warm": Text("post-norm, warm-up", "post-norm，有预热"),
    "loss": Text("Training loss (nats a byte)", "训练损失（nats/字节）"),
    "step": Text("step", "步"),
    "unigram": Text("byte frequencies", "字节频率"),
}


@experiment(
    title=Text("Warm-up", "预热"),
    question=Text(
        "Warm-up raises the learning rate slowly. Who needs it: pre-norm, post-norm or both?",
        "预热让学习率慢慢升上去。谁需要它：pre-norm、post-norm，还是都要？",
    ),
    parameters={
        "depth": Parameter(Text("layers", "层数"), low=2, high=12),
        "rate": Parameter(Text("learning rate at its peak", "学习率峰值"), choices=(0.001, 0.003, 0.01)),
        "warm_up": Parameter(Text("steps of warm-up", "预热步数"), low=0, high=500),
        "steps": Parameter(Text("training steps", "训练步数"), low=10, high=1000),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 305},
    deep={"seeds": 5, "depth": 6, "warm_up": 300, "steps": 600},
    smoke={"seeds": 1, "steps": 10, "depth": 2},
    predict=Text(
        "Four layers, learning rate 0.003. For most of the run the rate rises from 0. Which variant ends clearly lower "
        "than without a warm-up?",
        "四层，学习率 0.003。前大半程学习率从 0 慢慢升上去。哪种结构的损失会明显低于没有预热？",
    ),
    choices=(
        Text("post-norm only", "只有 post-norm"),
        Text("pre-norm only", "只有 pre-norm"),
        Text("both", "两种都会"),
        Text("neither", "都不会"),
    ),
    names=NAMES,
)
def warm_up(
    depth: int = 4, rate: float = 0.003, warm_up: int = 250, steps: int = 400, seeds: int = 3
) -> Iterator[Event]:
    """Four arms: pre-norm and post-norm, each with and without the warm-up; nothing is clipped."""
    text = byte_text()
    settings: dict[str, tuple[NormPlace, int]] = {
        "pre": ("pre", 0),
        "pre_warm": ("pre", warm_up),
        "post": ("post", 0),
        "post_warm": ("post", warm_up),
    }
    arms = [
        Arm(name, partial(_build, depth, place), {"norm": place, "warm-up": f"{length}"}, rate, length)
        for name, (place, length) in settings.items()
    ]
    yield differences(arms)
    yield Level("loss", "unigram", ngram_loss(text.train, text.held_out, 1))
    plan = dataclasses.replace(on_text(text, steps, seeds=seeds, batch=8, time=32), clip=None)
    results: Results = yield from train_arms(arms, plan)
    yield results_table(
        arms,
        results,
        Text("Held-out loss (nats a byte)", "留出集损失（nats/字节）"),
        {"held_out": Text("mean", "平均")},
    )
    yield from _claims(results, said=steps >= SAID_STEPS)


def _build(depth: int, place: NormPlace, seed: int) -> MiniMind:
    return tiny_model("T0", seed=seed, num_hidden_layers=depth, change=lambda model: set_norm_place(model, place))


def _claims(results: Results, said: bool) -> Iterator[Event]:
    pre, pre_warm, post, post_warm = (results.of(name) for name in ("pre", "pre_warm", "post", "post_warm"))
    helped = {"post": is_lower(post_warm, post, CLEAR) is True, "pre": is_lower(pre_warm, pre, CLEAR) is True}
    choice = {(True, False): 0, (False, True): 1, (True, True): 2, (False, False): 3}[helped["post"], helped["pre"]]
    names = ", ".join(f"{place}-norm" for place, gained in helped.items() if gained) or "—"
    yield Claim("prediction", Text(f"clearly lower: {names}", f"明显更低的：{names}"), {"choice": choice}, True)
    yield Claim(
        "warm_up_helps_post_norm",
        Text("A long warm-up gets post-norm off its plateau", "足够长的预热让 post-norm 走出平台"),
        means(post=post, post_warm=post_warm),
        is_lower(post_warm, post, CLEAR) if said else None,
    )
    yield Claim(
        "pre_norm_hardly_needs_it",
        Text("Pre-norm gains much less from it than post-norm", "pre-norm 从中得到的远少于 post-norm"),
        means(pre=pre, pre_warm=pre_warm),
        _gains_more(post, post_warm, pre, pre_warm) if said else None,
    )
    yield Claim(
        "a_gap_remains",
        Text(
            "Even with warm-up, post-norm stays behind pre-norm in this run",
            "即使有预热，这次 post-norm 仍落后于 pre-norm",
        ),
        means(pre_warm=pre_warm, post_warm=post_warm),
        is_lower(pre_warm, post_warm) if said else None,
    )


def _gains_more(post: list[float], post_warm: list[float], pre: list[float], pre_warm: list[float]) -> bool | None:
    """Whether warm-up lowers post-norm's loss by clearly more than pre-norm's, at every seed."""
    gains_post = [before - after for before, after in zip(post, post_warm, strict=True)]
    gains_pre = [before - after for before, after in zip(pre, pre_warm, strict=True)]
    return is_lower(gains_pre, gains_post, CLEAR)
