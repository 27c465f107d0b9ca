"""Must queries, keys and values be three matrices? Some of them tied: on copying, which is a look-up, and on text."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from minimind.events import Claim, Event, Level, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results, differences, on_text, results_table, train_arms
from minimind.lab.attention import on_itself, share_on
from minimind.lab.floors import ngram_loss
from minimind.lab.stages import stage
from minimind.lab.tasks import HELD_OUT_SEED, Induction, TaskPlan, plan, task_model
from minimind.lab.text import byte_text
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import agree, is_lower, means
from minimind.model.transformer import MiniMind
from minimind.model.variants.attention import Tie, tie_projections

ARMS: dict[str, Tie] = {"separate": "separate", "Q = K": "query_key", "K = V": "key_value", "all": "all"}
TIME, BATCH = 32, 8
SAID_STEPS = 180
"""With fewer steps copying may not have begun: comparisons stay undecided."""


@experiment(
    title=Text("One matrix for two jobs", "一个矩阵干两份活"),
    question=Text(
        "Queries, keys and values come from three matrices. Which of them can be the same?",
        "查询、键、值来自三个矩阵。其中哪些可以是同一个？",
    ),
    parameters={
        "steps": Parameter(Text("training steps", "训练步数"), low=10, high=2000),
        "text": Parameter(Text("also train on text", "再在文本上训练")),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 200, "text": False},
    deep={"seeds": 5, "steps": 1200},
    smoke={"seeds": 1, "steps": 10},
    predict=Text(
        "On copying with a random period, which tying does the damage?",
        "在周期随机的复制任务上，共用哪些矩阵会坏事？",
    ),
    choices=(
        Text("none: they all learn it", "都不会：都学得会"),
        Text("Q = K, not K = V", "Q = K 会，K = V 不会"),
        Text("K = V, not Q = K", "K = V 会，Q = K 不会"),
        Text("each of them", "每一种都会"),
    ),
    names={
        "copying": Text("Copying: training loss", "复制：训练损失"),
        "loss": Text("Text: training loss (nats a byte)", "文本：训练损失（nats/字节）"),
        "byte pairs": Text("byte pairs", "字节对"),
        "separate": Text("separate", "各用各的"),
        "all": Text("all one", "全共用"),
    },
)
def tied_projections(steps: int = 240, text: bool = True, seeds: int = 3) -> Iterator[Event]:
    """Train each tying on copying and then on text; measure how much weight positions put on themselves."""
    task = Induction(longest=16, shortest=4)
    copying = [_copying_arm(name, task) for name in ARMS]
    yield differences(copying)
    tokens, _ = task.draw(torch.Generator().manual_seed(HELD_OUT_SEED), 64)  # [batch, time]
    settings = TaskPlan(
        steps,
        seeds,
        learning_rate=5e-3,
        measures={"itself": lambda model: float(share_on(model, tokens, on_itself(tokens))[-1].mean())},
    )
    copied = yield from stage(train_arms(copying, replace(plan(task, settings), chart="copying")), 0, 2 if text else 1)
    labels = {"accuracy": Text("right", "答对"), "itself": Text("looks at itself", "看自己")}
    yield results_table(copying, copied, Text("Copying", "复制"), labels)

    untrained = {
        arm.name: float(share_on(arm.build(0), tokens, on_itself(tokens)).mean())
        for arm in copying
        if arm.name != "all"
    }
    yield from _claims(copied, untrained, steps >= SAID_STEPS)
    if text:
        yield from _on_text(steps, seeds)


def _copying_arm(name: str, task: Induction) -> Arm:
    def build(seed: int) -> MiniMind:
        fields: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 64}
        return task_model(task, seed=seed, change=lambda model: tie_projections(model, ARMS[name]), **fields)

    return Arm(name, build, {"shared": ARMS[name]})


def _text_arm(name: str) -> Arm:
    def build(seed: int) -> MiniMind:
        return tiny_model(
            seed=seed, change=lambda model: tie_projections(model, ARMS[name]), max_position_embeddings=TIME
        )

    return Arm(name, build, {"shared": ARMS[name]})


def _on_text(steps: int, seeds: int) -> Iterator[Event]:
    """The same four on text, and what that says."""
    text = byte_text()
    arms = [_text_arm(name) for name in ARMS]
    yield Level("loss", "byte pairs", ngram_loss(text.train, text.held_out, 2))
    read = yield from stage(train_arms(arms, on_text(text, steps, seeds=seeds, batch=BATCH, time=TIME)), 1, 2)
    labels = {"held_out": Text("nats a byte", "nats/字节")}
    yield results_table(arms, read, Text("Text: held-out loss", "文本：留出损失"), labels)
    separate, query_key, key_value, every = (read.of(name) for name in ARMS)
    said = steps >= SAID_STEPS
    gap = statistics.fmean(query_key) - statistics.fmean(separate)
    yield Claim(
        "text_hardly_shows_it",
        Text(
            "On text, after as many steps, Q = K is within 0.25 nats of separate, averaged over the seeds",
            "在文本上练同样多步，Q = K 与分开的差距按各种子平均不到 0.25 nats",
        ),
        means(separate=separate, query_key=query_key, key_value=key_value) | {"gap": gap},
        abs(gap) < 0.25 if said else None,
    )
    yield Claim(
        "all_in_one_falls_behind",
        Text("With one matrix for all three text is learnt more slowly", "三个全共用时，文本学得慢些"),
        means(separate=separate, all=every),
        is_lower(separate, every) if said else None,
    )


def _claims(copied: Results, untrained: dict[str, float], said: bool) -> Iterator[Event]:
    separate, query_key, key_value, every = (copied.of(name) for name in ARMS)
    works = {name: copied.mean(name) > 0.5 for name in ARMS}
    choices = {(True, True): 0, (False, True): 1, (True, False): 2, (False, False): 3}
    yield Claim(
        "prediction",
        Text(
            f"right: Q = K {copied.mean('Q = K'):.0%}, K = V {copied.mean('K = V'):.0%}",
            f"答对：Q = K {copied.mean('Q = K'):.0%}，K = V {copied.mean('K = V'):.0%}",
        ),
        {"choice": choices[works["Q = K"], works["K = V"]]},
        True,
    )
    yield Claim(
        "asking_and_answering_must_differ",
        Text("With Q = K copying is not learnt; with three matrices it is", "Q = K 时学不会复制；三个矩阵时学得会"),
        means(separate=separate, query_key=query_key, all=every),
        agree([a > 0.9 and b < 0.5 and c < 0.5 for a, b, c in zip(separate, query_key, every, strict=True)])
        if said
        else None,
    )
    yield Claim(
        "keys_may_be_values",
        Text(
            "With K = V it is learnt: more than half is right, mostly nearly all",
            "K = V 时学得会：答对一半以上，多半几乎全对",
        ),
        means(key_value=key_value),
        agree([value > 0.5 for value in key_value]) if said else None,
    )
    yield Claim(
        "each_looks_at_itself",
        Text(
            "Before any training, Q = K makes positions put at least twice the weight on themselves",
            "还没训练，Q = K 就让各位置放在自己身上的权重至少翻倍",
        ),
        {"separate": untrained["separate"], "query_key": untrained["Q = K"]},
        untrained["Q = K"] > 2 * untrained["separate"],
    )
