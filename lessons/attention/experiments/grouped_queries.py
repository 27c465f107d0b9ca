"""Fewer key/value heads than query heads: what does it cost in loss, and what does it save in the cache?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from minimind.config import ModelConfig
from minimind.events import Claim, Event, Level, Scalars, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results, differences, on_text, results_table, train_arms
from minimind.lab.floors import ngram_loss
from minimind.lab.text import byte_text
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import means
from minimind.model.cache import Cache

QUERY_HEADS = 8
GROUPS = (8, 2, 1)
TIME = 32
SAID_STEPS = 200
"""With fewer steps the comparisons stay undecided."""
NEAR = 0.3
"""Nats. What counts here as a small price: single seeds of these models differ by about as much."""
FULL_SIZE: dict[str, Any] = {"num_hidden_layers": 8, "num_attention_heads": 8, "hidden_size": 768, "head_dim": 96}
"""A model of the released MiniMind's width and depth, whose cache is weighed in float16."""


@experiment(
    title=Text("Grouped queries", "分组查询"),
    question=Text(
        "Eight query heads share 8, 2 or 1 heads of keys and values. What does the sharing cost?",
        "八个查询头共用 8、2、1 组键和值。共用的代价是什么？",
    ),
    parameters={
        "steps": Parameter(Text("training steps", "训练步数"), low=10, high=2000),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 200},
    deep={"seeds": 5, "steps": 1500},
    smoke={"seeds": 1, "steps": 10},
    predict=Text(
        "Eight query heads on ONE head of keys and values: how much higher is the held-out loss than with eight?",
        "八个查询头只共用一组键和值：留出损失比八组时高多少？",
    ),
    choices=(
        Text("hardly: less than 0.3 nats a byte", "几乎不高：不到 0.3 nats/字节"),
        Text("0.3 to 1", "0.3 到 1"),
        Text("more than 1", "1 以上"),
    ),
    names={
        "loss": Text("Training loss (nats a byte)", "训练损失（nats/字节）"),
        "byte pairs": Text("byte pairs", "字节对"),
        "cache": Text("Cache, bytes a token (8 layers, d = 96)", "缓存，字节/词元（8 层，d = 96）"),
        "key/value heads": Text("key/value heads", "键值头数"),
        "bytes": Text("bytes", "字节"),
        **{f"{groups} kv": Text(f"{groups} kv", f"{groups} 组") for groups in GROUPS},
    },
)
def grouped_queries(steps: int = 400, seeds: int = 3) -> Iterator[Event]:
    """Train with 8, 2 and 1 key/value heads on text, and weigh the cache of a full-size model."""
    text = byte_text()
    arms = [_arm(groups) for groups in GROUPS]
    yield differences(arms)
    yield Level("loss", "byte pairs", ngram_loss(text.train, text.held_out, 2))
    results = yield from train_arms(arms, on_text(text, steps, seeds=seeds, time=TIME))
    labels = {"held_out": Text("nats a byte", "nats/字节")}
    yield results_table(arms, results, Text("Held-out loss", "留出损失"), labels)
    sizes = {groups: cache_bytes(groups) for groups in (8, 4, 2, 1)}
    for groups, size in sizes.items():
        yield Scalars(groups, {"bytes": size}, axis="key/value heads", chart="cache")
    rows = tuple((float(groups), float(size), size * 4096 / 2**20) for groups, size in sizes.items())
    columns = (
        Text("key/value heads", "键值头数"),
        Text("bytes a token", "字节/词元"),
        Text("4096 tokens, MiB", "4096 词元，MiB"),
    )
    yield Table("cache", columns, rows, Text("Cache of 8 layers, d = 96, float16", "8 层、d = 96、float16 的缓存"))
    yield from _claims(results, sizes, steps >= SAID_STEPS)


def _arm(groups: int) -> Arm:
    fields: dict[str, Any] = {
        "num_attention_heads": QUERY_HEADS,
        "num_key_value_heads": groups,
        "max_position_embeddings": TIME,
    }
    return Arm(f"{groups} kv", lambda seed: tiny_model(seed=seed, **fields), {"num_key_value_heads": str(groups)})


def cache_bytes(groups: int) -> int:
    """What the model's own cache holds for one token, in bytes of float16, in a network of `FULL_SIZE`."""
    config = ModelConfig(**FULL_SIZE, num_key_value_heads=groups)
    cache = Cache(config, batch_size=1, capacity=1, dtype=torch.float16)
    token = torch.zeros(1, groups, 1, config.head_size, dtype=torch.float16)  # [batch, groups, time, head]
    held = 0
    for layer in cache.layers:
        keys, values = layer.update(token, token)  # 2 × [batch, groups, time, head]
        held += keys.numel() * keys.element_size() + values.numel() * values.element_size()
    return held


def _claims(results: Results, sizes: dict[int, int], said: bool) -> Iterator[Event]:
    many, few, one = (results.of(f"{groups} kv") for groups in GROUPS)
    price = [a - b for a, b in zip(one, many, strict=True)]
    mean = sum(price) / len(price)
    choice = 0 if mean < NEAR else 1 if mean < 1 else 2
    yield Claim("prediction", Text(f"{mean:+.2f} nats", f"{mean:+.2f} nats"), {"choice": choice}, True)
    yield Claim(
        "sharing_costs_little",
        Text(
            "Sharing one head of keys and values costs less than 0.3 nats a byte here, averaged over the seeds",
            "只用一组键和值，这里的代价按各种子平均不到 0.3 nats/字节",
        ),
        means(eight=many, two=few, one=one, price=price) | {"lowest": min(price), "highest": max(price)},
        mean < NEAR if said else None,
    )
    parameters = {groups: _arm(groups).build(0).parameter_count() for groups in GROUPS}
    yield Claim(
        "cache_shrinks_with_the_groups",
        Text("The cache is proportional to the key/value heads", "缓存与键值头数成正比"),
        {"eight": sizes[8], "four": sizes[4], "two": sizes[2], "one": sizes[1], "times": sizes[8] / sizes[1]},
        all(size * 8 == sizes[8] * groups for groups, size in sizes.items()),
    )
    yield Claim(
        "parameters_shrink_too",
        Text("And there are fewer parameters: the comparison is not even", "参数也少了：这个比较并不对等"),
        {"eight": parameters[8], "one": parameters[1], "share": 1 - parameters[1] / parameters[8]},
        parameters[1] < parameters[8],
    )
