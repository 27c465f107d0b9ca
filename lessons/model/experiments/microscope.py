"""Every tensor of one forward pass: its name, its shape, its size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from minimind.events import Claim, Event, Heatmap, Progress, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.inference.engine import Engine
from minimind.model.probe import attention_weights

PROMPTS = {"rabbit": "Once there was a rabbit named Pip. He", "兔子": "从前有一只小兔子，名叫跳跳。它"}
NAMES = {
    "embed_tokens": "batch, time, hidden",
    "input_layernorm": "batch, time, hidden",
    "q_proj": "batch, time, heads · head",
    "k_proj": "batch, time, groups · head",
    "v_proj": "batch, time, groups · head",
    "core": "batch, heads, time, head",
    "o_proj": "batch, time, hidden",
    "post_attention_layernorm": "batch, time, hidden",
    "gate_proj": "batch, time, feed-forward",
    "up_proj": "batch, time, feed-forward",
    "down_proj": "batch, time, hidden",
    "norm": "batch, time, hidden",
    "lm_head": "batch, time, vocabulary",
}


@experiment(
    title=Text("The microscope", "显微镜"),
    question=Text(
        "One forward pass, tensor by tensor: what goes through the machine?",
        "一次前向，一个张量一个张量地看：机器里流过什么？",
    ),
    parameters={
        "prompt": Parameter(Text("text", "文本"), choices=tuple(PROMPTS)),
        "layer": Parameter(Text("layer", "层"), low=1, high=4),
    },
    quick={},
    predict=Text("Which tensor of the pass is the largest?", "这次前向里，哪个张量最大？"),
    choices=(
        Text("the hidden stream", "隐藏的残差流"),
        Text("inside the feed-forward", "前馈内部的"),
        Text("the logits", "logits"),
    ),
)
def microscope(prompt: str = "rabbit", layer: int = 1) -> Iterator[Event]:
    """``nano-chat`` reads the text; hooks write down what each of its modules hands on."""
    engine = Engine.open("nano-chat", device="cpu", dtype="float32")
    tokens = torch.tensor([engine.tokenizer.encode(PROMPTS[prompt])])  # [1, time]
    seen = _watch(engine.model, tokens, layer - 1)
    yield Progress(1, 2)
    yield _table(seen)
    labels = tuple(engine.tokenizer.decode([int(token)]) for token in tokens[0])
    weights = attention_weights(engine.model, tokens)[layer - 1][0].mean(0)  # [time, time]
    yield Heatmap(
        "attention",
        tuple(tuple(row) for row in weights.tolist()),
        labels,
        labels,
        low=0.0,
        high=1.0,
        title=Text(f"Attention of layer {layer}, mean of its heads", f"第 {layer} 层的注意力，各头平均"),
    )
    yield Progress(2, 2)
    yield from _claims(seen, engine.model.config.vocab_size)


@torch.no_grad()
def _watch(model: nn.Module, tokens: Tensor, layer: int) -> dict[str, Tensor]:
    """The outputs of one layer's modules, and of what stands before and after the layers, in order."""
    seen: dict[str, Tensor] = {}

    def remember(name: str) -> Any:
        return lambda _module, _inputs, output: seen.__setitem__(name, output)

    with ExitStack() as hooks:
        for path, module in model.named_modules():
            name = path.rsplit(".", 1)[-1]
            if name in NAMES and (".layers." not in path or f".layers.{layer}." in path):
                hooks.callback(module.register_forward_hook(remember(path)).remove)
        model(tokens)
    return seen


def _table(seen: dict[str, Tensor]) -> Event:
    columns = (Text("module", "模块"), Text("axes", "各维"), Text("shape", "形状"), Text("RMS", "均方根"))
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (
            path.rsplit(".", 1)[-1],
            NAMES[path.rsplit(".", 1)[-1]],
            "×".join(map(str, tensor.shape)),
            f"{float(tensor.pow(2).mean().sqrt()):.2f}",
        )
        for path, tensor in seen.items()
    )
    return Table("tensors", columns, rows, Text("From token ids to logits", "从词元编号到 logits"))


def _claims(seen: dict[str, Tensor], vocabulary: int) -> Iterator[Event]:
    logits = seen["lm_head"]
    groups = {
        "stream": max(t.numel() for path, t in seen.items() if path.endswith(("o_proj", "down_proj", "embed_tokens"))),
        "feed_forward": max(t.numel() for path, t in seen.items() if path.endswith(("gate_proj", "up_proj"))),
        "logits": logits.numel(),
    }
    largest = max(groups, key=lambda name: groups[name])
    choice = list(groups).index(largest)
    yield Claim("prediction", Text(largest, largest), {"choice": choice}, True)
    yield Claim(
        "the_end_is_widest",
        Text(
            "The logits are the largest tensor: a score for every token at every position",
            "logits 是最大的张量：每个位置、每个词元一个分数",
        ),
        {name: float(size) for name, size in groups.items()} | {"vocabulary": float(vocabulary)},
        largest == "logits" and logits.shape[-1] == vocabulary,
    )
    sums = logits[0].softmax(-1).sum(-1)  # [time]
    yield Claim(
        "each_position_has_a_distribution",
        Text("At every position the probabilities sum to 1", "每个位置上，概率加起来都是 1"),
        {"least": float(sums.min()), "most": float(sums.max())},
        bool((sums - 1).abs().max() < 1e-4),
    )
