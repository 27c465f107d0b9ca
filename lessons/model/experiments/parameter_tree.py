"""Where do the parameters sit? Counted from the configuration, for any shape."""

from __future__ import annotations

from collections.abc import Iterator

from minimind.config import MODEL_PRESETS, ModelConfig
from minimind.events import Claim, Event, Progress, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.model.transformer import MiniMind
from minimind.scale import ParameterCounts, parameter_counts

PARTS = {
    "embedding": Text("embedding (shared with the output)", "嵌入（与输出层共享）"),
    "attention": Text("attention", "注意力"),
    "feed_forward": Text("feed-forward", "前馈"),
    "norms": Text("norms", "归一化"),
}
MODULES = {"embedding": "embed_tokens", "attention": "self_attn", "feed_forward": "mlp", "norms": "norm"}
"""What the parts are called in the network: the same in every language."""


@experiment(
    title=Text("Where the parameters sit", "参数都在哪里"),
    question=Text(
        "A model of 64 million numbers: which part of it holds how many?", "一个 6,400 万参数的模型，各部分各有多少？"
    ),
    parameters={
        "hidden": Parameter(Text("hidden size", "隐藏维度"), choices=(128, 256, 512, 768, 1024)),
        "layers": Parameter(Text("layers", "层数"), low=1, high=48),
        "heads": Parameter(Text("query heads", "查询头数"), choices=(4, 8, 16)),
        "groups": Parameter(Text("key/value heads", "键值头数"), choices=(1, 2, 4)),
        "vocabulary": Parameter(Text("vocabulary", "词表大小"), choices=(256, 2048, 6400, 32000, 151936)),
    },
    quick={},
    predict=Text("In the released 64 M model, which part holds the most?", "在发布的 64M 模型里，哪一部分最多？"),
    choices=(Text("the embedding", "嵌入"), Text("attention", "注意力"), Text("the feed-forward", "前馈")),
)
def parameter_tree(
    hidden: int = 768, layers: int = 8, heads: int = 8, groups: int = 4, vocabulary: int = 6400
) -> Iterator[Event]:
    """The table for these settings, and the released sizes beside it."""
    config = ModelConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        vocab_size=vocabulary,
    )
    counts = parameter_counts(config)
    yield _table("yours", Text("With these settings", "按这些设置"), counts)
    yield Progress(1, 2)
    released = parameter_counts(MODEL_PRESETS["minimind3"])
    yield _table("released", Text("Released: minimind3", "发布的：minimind3"), released)
    yield Progress(2, 2)
    yield from _claims(released)


def _shares(counts: ParameterCounts) -> dict[str, float]:
    """Each part's share of the whole, in per cent."""
    return {name: 100 * getattr(counts, name) / counts.total for name in PARTS}


def _table(name: str, title: Text, counts: ParameterCounts) -> Event:
    shares = _shares(counts)
    rows: list[tuple[str | float, ...]] = []
    for part, module in MODULES.items():
        bar = "█" * round(shares[part] / 4)
        rows.append((module, f"{getattr(counts, part):,}", f"{shares[part]:.1f}", bar))
    rows.append(("Σ", f"{counts.total:,}", "100", ""))
    columns = (Text("part", "部分"), Text("numbers", "个数"), Text("%", "%"), Text("", ""))
    return Table(name, columns, tuple(rows), title)


def _claims(released: ParameterCounts) -> Iterator[Event]:
    shares = _shares(released)
    names = ("embedding", "attention", "feed_forward")
    largest = max(names, key=lambda name: shares[name])
    yield Claim("prediction", PARTS[largest], {"choice": names.index(largest)}, True)
    yield Claim(
        "feed_forward_holds_most",
        Text(
            "In the released model the feed-forward holds more than everything else together",
            "发布的模型里，前馈比其余全部加起来还多",
        ),
        shares | {"millions": released.total / 1e6},
        shares["feed_forward"] > 50,
    )
    tiny = MiniMind(MODEL_PRESETS["nano"])
    yield Claim(
        "counted_right",
        Text("The formula counts what the network really has", "公式数出来的和网络实际的一样"),
        {"formula": float(parameter_counts(MODEL_PRESETS["nano"]).total), "network": float(tiny.parameter_count())},
        parameter_counts(MODEL_PRESETS["nano"]).total == tiny.parameter_count(),
    )
