"""``minimind bench train --time-to-loss STEPS``: how long our recipe and engine take to the released recipe's loss.

The released recipe (AdamW at 5e-4, a cosine to a tenth without warm-up, a document a row) is run for STEPS updates to
see which held-out loss it reaches; our engine does that run, since what is learned from a batch does not depend on who
computes it. How long it takes the other side is the tokens of that run over the speed of the other side's own steps:
a plain padded float32 step, or with ``--against`` the reference's own loop. Speeds are the medians of runs in turn with
ours, so that the ratio holds on a machine that other programs use too.

Our recipe gets ever more steps, each time from the beginning and with its whole schedule, until it ends at that loss or
below; the time of the run that does is what counts. The engine's part is what our engine gains on the released recipe,
the recipe's part is the rest.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from minimind.benchmarks.reference import Reference
from minimind.benchmarks.training_steps import Padded, our_step, plain_step, reference_speed, speed
from minimind.commands.output import Output
from minimind.config import BEST_PRETRAINING, released_recipe
from minimind.events import Text
from minimind.training.initial import set_initial_weights
from minimind.training.job import Job
from minimind.training.objectives.pretrain import Pretrain
from minimind.training.update import Updater

FIRST_SHARE, GROWTH = 1 / 24, 1.3
"""Our recipe's first try has this share of the released run's tokens, each further one so many times more."""
_MOST_SHARE = 2.0
_OWN_ROWS = 8
"""Rows of an update of our recipe: many small updates learn more from as many tokens."""
_NOT_THE_RECIPE = ("epochs", "batch_size", "accumulation_steps", "sequence_length")
"""What the command line decides of the released run."""


class Ended(NamedTuple):
    """A training run: its updates, the useful tokens they read and the held-out loss at the end, in nats a token."""

    steps: int
    tokens: int
    loss: float


def train_to_the_end(job: Job, settings: Mapping[str, Any], steps: int, objective: Pretrain) -> Ended:
    """Train a copy of the job's model for `steps` updates with the recipe in `settings` on the batches of `objective`.

    The held-out loss is always that of packed rows.
    """
    config = job.config.replace(**settings, steps=steps, minutes=None, epochs=None)
    model = copy.deepcopy(job.model)
    set_initial_weights(model, config)
    updater = Updater(replace(job, config=config, model=model, objective=objective))
    tokens = sum(updater.update(step, steps).tokens for step in range(steps))
    held_out = [batch.to(job.precision.device) for batch in Pretrain().validation(job.data.validation, job.config)]
    return Ended(steps, tokens, objective.evaluate(updater.working, held_out)["validation_loss"])


def until_as_good(goal: Ended, tokens_a_step: float, run: Callable[[int], Ended]) -> Ended | None:
    """The first of ever longer runs that ends at the loss of `goal` or below; None where twice its tokens do not."""
    share = FIRST_SHARE
    while share <= _MOST_SHARE:
        ended = run(max(2, math.ceil(goal.tokens * share / tokens_a_step)))
        if ended.loss <= goal.loss:
            return ended
        share *= GROWTH
    return None


def measure(arguments: argparse.Namespace, job: Job, file: Path, about: Mapping[str, Any], output: Output) -> None:
    """Run both recipes, measure the speeds, and tell."""
    released = {name: value for name, value in released_recipe("pretrain").items() if name not in _NOT_THE_RECIPE}
    own = BEST_PRETRAINING | {"batch_size": _OWN_ROWS}
    goal = train_to_the_end(job, released, arguments.time_to_loss, Padded())
    output.say(
        Text(
            f"the released recipe ends at a held-out loss of {goal.loss:.3f} after {goal.steps} steps",
            f"发布版配方训练 {goal.steps} 步后，留出集损失为 {goal.loss:.3f}",
        )
    )
    own_tokens = job.config.sequence_length * _OWN_ROWS
    ended = until_as_good(goal, own_tokens, lambda steps: train_to_the_end(job, own, steps, Pretrain()))
    if ended is None:
        text = Text("our recipe did not reach it with twice the tokens", "我们的配方用两倍词元也没有达到")
        output.emit({**about, "time_to_loss": None, "loss": goal.loss}, text)
        return
    speeds = _speeds(arguments, job, file, {"released": released, "own": own})
    _tell(arguments, goal, ended, speeds, about, output)


def _speeds(
    arguments: argparse.Namespace, job: Job, file: Path, recipes: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """Useful tokens a second, in turn: the other side's steps, and ours with each recipe. Medians of the repeats."""
    ours = {name: our_step(replace(job, config=job.config.replace(**settings))) for name, settings in recipes.items()}
    measures: dict[str, Callable[[], float]] = {
        name: (lambda step=step: speed(step, arguments.steps))  # type: ignore[misc]
        for name, step in ours.items()
    }
    with contextlib.ExitStack() as stack:
        if arguments.against is None:
            plain = plain_step(job)
            measures["other"] = lambda: speed(plain, arguments.steps)
        else:
            device = job.precision.device.type
            reference = stack.enter_context(Reference(arguments.against, device=device))
            measures["other"] = lambda: reference_speed(reference, job, file, arguments.steps)
        for once in measures.values():
            once()
        rounds = [{name: once() for name, once in measures.items()} for _ in range(arguments.repeat)]
    return {name: statistics.median(found[name] for found in rounds) for name in measures}


def _tell(
    arguments: argparse.Namespace,
    goal: Ended,
    ended: Ended,
    speeds: Mapping[str, float],
    about: Mapping[str, Any],
    output: Output,
) -> None:
    other, same_recipe = goal.tokens / speeds["other"], goal.tokens / speeds["released"]
    own = ended.tokens / speeds["own"]
    data = {
        **about,
        "against": "plain" if arguments.against is None else "reference",
        "time_to_loss": round(own, 2),
        "other_time_to_loss": round(other, 2),
        "ratio": round(other / own, 2),
        "engine": round(other / same_recipe, 2),
        "recipe": round(same_recipe / own, 2),
        "loss": round(ended.loss, 4),
        "other_loss": round(goal.loss, 4),
        "steps": ended.steps,
        "other_steps": goal.steps,
        "tokens": ended.tokens,
        "other_tokens": goal.tokens,
    }
    theirs = Text("the reference's own loop", "参考实现自己的训练循环")
    if arguments.against is None:
        theirs = Text("a plain padded float32 step", "朴素的填充 float32 写法")
    output.emit(
        data,
        Text(
            f"{arguments.model}: held-out loss {goal.loss:.3f} takes the released recipe {goal.steps} steps, "
            f"{goal.tokens:,} tokens, {other:,.1f} s with {theirs.en}\n"
            f"ours is at {ended.loss:.3f} after {ended.steps} steps, {ended.tokens:,} tokens, {own:,.1f} s: "
            f"{data['ratio']}× faster (engine {data['engine']}×, recipe {data['recipe']}×)",
            f"{arguments.model}：达到留出集损失 {goal.loss:.3f}，发布版配方需 {goal.steps} 步、{goal.tokens:,} 词元，"
            f"用{theirs.zh}需 {other:,.1f} 秒\n"
            f"本项目 {ended.steps} 步、{ended.tokens:,} 词元、{own:,.1f} 秒达到 {ended.loss:.3f}："
            f"快 {data['ratio']} 倍（引擎 {data['engine']} 倍，配方 {data['recipe']} 倍）",
        ),
    )
