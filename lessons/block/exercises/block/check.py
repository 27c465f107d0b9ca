"""Cases, reference and mutants of the exercise Block."""

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from lessons.checking import Case, Check, Invariant
from minimind.config import ModelConfig
from minimind.events import Text
from minimind.model.cache import Cache
from minimind.model.transformer import (
    Attention,
    Block,
    FeedForward,
    MiniMind,
    RMSNorm,
    causal_mask,
    rotary_frequencies,
    rotary_table,
)
from minimind.model.variants.parts import install_part

Attend = Callable[[Tensor], Tensor]


class Parts(Protocol):
    """What a formula uses of a block."""

    input_layernorm: Attend
    post_attention_layernorm: Attend
    mlp: Attend


Formula = Callable[[Parts, Tensor, Attend], Tensor]
"""What a block makes of `x` [batch, time, hidden]; `attend` is its attention with rotary, mask and cache handed on."""


def unchanged(_block: Parts, x: Tensor, _attend: Attend) -> Tensor:
    return x


def post_norm(block: Parts, x: Tensor, attend: Attend) -> Tensor:
    attended = block.input_layernorm(x + attend(x))  # [batch, time, hidden]
    return block.post_attention_layernorm(attended + block.mlp(attended))  # [batch, time, hidden]


def norm_on_output(block: Parts, x: Tensor, attend: Attend) -> Tensor:
    attended = x + block.input_layernorm(attend(x))  # [batch, time, hidden]
    return attended + block.post_attention_layernorm(block.mlp(attended))  # [batch, time, hidden]


def norm_on_skip(block: Parts, x: Tensor, attend: Attend) -> Tensor:
    attended = block.input_layernorm(x) + attend(x)  # [batch, time, hidden]
    return block.post_attention_layernorm(attended) + block.mlp(attended)  # [batch, time, hidden]


def residual_from_normed(block: Parts, x: Tensor, attend: Attend) -> Tensor:
    normed = block.input_layernorm(x)  # [batch, time, hidden]
    attended = normed + attend(normed)  # [batch, time, hidden]
    normed = block.post_attention_layernorm(attended)  # [batch, time, hidden]
    return normed + block.mlp(normed)  # [batch, time, hidden]


def shared_norm(block: Parts, x: Tensor, attend: Attend) -> Tensor:
    attended = x + attend(block.input_layernorm(x))  # [batch, time, hidden]
    return attended + block.mlp(block.input_layernorm(attended))  # [batch, time, hidden]


def norms_swapped(block: Parts, x: Tensor, attend: Attend) -> Tensor:
    attended = x + attend(block.post_attention_layernorm(x))  # [batch, time, hidden]
    return attended + block.mlp(block.input_layernorm(attended))  # [batch, time, hidden]


def second_norm_forgotten(block: Parts, x: Tensor, attend: Attend) -> Tensor:
    attended = x + attend(block.input_layernorm(x))  # [batch, time, hidden]
    return attended + block.mlp(attended)  # [batch, time, hidden]


def feed_forward_reads_input(block: Parts, x: Tensor, attend: Attend) -> Tensor:
    attended = x + attend(block.input_layernorm(x))  # [batch, time, hidden]
    return attended + block.mlp(block.post_attention_layernorm(x))  # [batch, time, hidden]


def feed_forward_adds_to_input(block: Parts, x: Tensor, attend: Attend) -> Tensor:
    attended = x + attend(block.input_layernorm(x))  # [batch, time, hidden]
    return x + block.mlp(block.post_attention_layernorm(attended))  # [batch, time, hidden]


def first_residual_missing(block: Parts, x: Tensor, attend: Attend) -> Tensor:
    attended = attend(block.input_layernorm(x))  # [batch, time, hidden]
    return attended + block.mlp(block.post_attention_layernorm(attended))  # [batch, time, hidden]


def second_residual_missing(block: Parts, x: Tensor, attend: Attend) -> Tensor:
    attended = x + attend(block.input_layernorm(x))  # [batch, time, hidden]
    return block.mlp(block.post_attention_layernorm(attended))  # [batch, time, hidden]


def one_residual_around_both(block: Parts, x: Tensor, attend: Attend) -> Tensor:
    attended = attend(block.input_layernorm(x))  # [batch, time, hidden]
    return x + block.mlp(block.post_attention_layernorm(attended))  # [batch, time, hidden]


def feed_forward_first(block: Parts, x: Tensor, attend: Attend) -> Tensor:
    fed = x + block.mlp(block.post_attention_layernorm(x))  # [batch, time, hidden]
    return fed + attend(block.input_layernorm(fed))  # [batch, time, hidden]


def textbook(block: Parts, x: Tensor, attend: Attend) -> Tensor:
    attended = x + attend(block.input_layernorm(x))  # [batch, time, hidden]
    return attended + block.mlp(block.post_attention_layernorm(attended))  # [batch, time, hidden]


def part_of(formula: Formula, *, with_mask: bool = True, with_cache: bool = True) -> type[nn.Module]:
    """A class with the learner's interface that computes `formula`."""

    class OwnBlock(nn.Module):
        def __init__(self, config: ModelConfig) -> None:
            super().__init__()
            self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
            self.self_attn = Attention(config)
            self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
            self.mlp = FeedForward(config)

        def forward(self, x: Tensor, rotary: Any, mask: Tensor | None = None, cache: Any = None) -> Tensor:
            mask, cache = mask if with_mask else None, cache if with_cache else None
            return formula(cast(Parts, self), x, lambda read: self.self_attn(read, rotary, mask, cache))

    return OwnBlock


def config_of(hidden: int, groups: int = 2, qk_norm: bool = False) -> ModelConfig:
    """One layer, two query heads."""
    return ModelConfig(
        hidden_size=hidden,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=groups,
        intermediate_size=2 * hidden,
        qk_norm=qk_norm,
        vocab_size=16,
    )


@cache
def rough_weights(config: ModelConfig, seed: int) -> dict[str, Tensor]:
    """The parameters of a block, far from their small initial values: every part then says something."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(tensor.shape, generator=generator) * 0.4 + float(tensor.dim() == 1)
        for name, tensor in Block(config).state_dict().items()
    }


def run(part: type[nn.Module], case: Case) -> Tensor:
    """Build the part, give it the case's parameters, and let it read x; in pieces, through a cache, where it says so."""
    config: ModelConfig = case.settings["config"]
    block = part(config)
    block.load_state_dict(rough_weights(config, case.settings["seed"]), strict=True)
    x = case.inputs["x"]  # [batch, time, hidden]
    positions = torch.arange(x.shape[1])[None]  # [1, time]
    rotary = rotary_table(positions, rotary_frequencies(config.head_size, config.rope_theta))
    pieces: tuple[int, ...] = case.settings.get("pieces", ())
    if not pieces:
        result: Tensor = block(x, rotary, case.settings.get("mask"))  # [batch, time, hidden]
        return result
    cache = Cache(config, x.shape[0], x.shape[1])
    results, start = [], 0
    for length in pieces:
        here = slice(start, start + length)
        turned = (rotary[0][:, :, here], rotary[1][:, :, here])
        mask = causal_mask(length, start + length) if length > 1 else None  # [length, start + length]
        results.append(block(x[:, here], turned, mask, cache.layers[0]))  # [batch, length, hidden]
        cache.advance(length)
        start += length
    return torch.cat(results, dim=1)  # [batch, time, hidden]


def cases(generator: torch.Generator) -> list[Case]:
    """A small one, a larger one with shared heads, one with a mask of its own, one through a cache."""

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 2

    def seed() -> int:
        return int(torch.randint(0, 2**31, (), generator=generator))

    two_texts = torch.ones(6, 6, dtype=torch.bool).tril()  # [time, time]
    two_texts[3:, :3] = False
    return [
        Case(Text("a small example", "小例子"), {"x": draw(2, 3, 8)}, {"config": config_of(8), "seed": seed()}),
        Case(
            Text("a larger one with shared key/value heads and QK-norm", "较大的例子（共用键值头，带 QK-norm）"),
            {"x": draw(2, 7, 16) + 0.5},
            {"config": config_of(16, 1, qk_norm=True), "seed": seed()},
            relative=1e-3,
            absolute=1e-4,
            gradients=True,
        ),
        Case(
            Text("a mask that parts two texts", "隔开两段文本的掩码"),
            {"x": draw(1, 6, 8)},
            {"config": config_of(8), "seed": seed(), "mask": two_texts},
        ),
        Case(
            Text("token by token through a cache", "经缓存逐个词元读入"),
            {"x": draw(1, 5, 8)},
            {"config": config_of(8), "seed": seed(), "pieces": (3, 1, 1)},
        ),
    ]


def inspect_part(part: type[nn.Module]) -> Text | None:
    """A checkpoint must fit: the names and shapes of the parameters."""
    config = config_of(8)
    given, wanted = part(config).state_dict(), Block(config).state_dict()
    for name, tensor in wanted.items():
        if name not in given:
            return Text(f"the parameter {name} is missing", f"缺少参数 {name}")
        if given[name].shape != tensor.shape:
            shapes = f"{list(tensor.shape)}, {list(given[name].shape)}"
            return Text(f"{name} should have the shape {shapes} (yours)", f"{name} 的形状应为 {shapes}（你的）")
    extra = sorted(set(given) - set(wanted))
    if extra:
        return Text(f"a checkpoint has no parameter {extra[0]}", f"检查点里没有参数 {extra[0]}")
    return None


def is_identity_when_silent(part: type[nn.Module], generator: torch.Generator) -> bool:
    """Where both parts write zeros, the stream passes unchanged."""
    config = config_of(8)
    block = part(config)
    block.load_state_dict(rough_weights(config, 1))
    with torch.no_grad():
        block.get_parameter("self_attn.o_proj.weight").zero_()
        block.get_parameter("mlp.down_proj.weight").zero_()
    x = torch.randn(2, 4, 8, generator=generator) * 5  # [2, 4, 8]
    rotary = rotary_table(torch.arange(4)[None], rotary_frequencies(config.head_size, config.rope_theta))
    return bool(torch.equal(block(x, rotary), x))


def hears_nothing_of_the_future(part: type[nn.Module], generator: torch.Generator) -> bool:
    """The output at a position does not depend on later ones."""
    config = config_of(8)
    block = part(config)
    block.load_state_dict(rough_weights(config, 2))
    x = torch.randn(1, 5, 8, generator=generator).requires_grad_()  # [1, 5, 8]
    rotary = rotary_table(torch.arange(5)[None], rotary_frequencies(config.head_size, config.rope_theta))
    (gradient,) = torch.autograd.grad(block(x, rotary)[0, 2].sum(), x)
    return bool((gradient[0, 3:] == 0).all() and (gradient[0, :3] != 0).any())


def install(model: MiniMind, part: type[nn.Module]) -> None:
    """Put the learner's block in place of every block of the model."""
    install_part(model, "model.layers.*", lambda _old: part(model.config))


CHECK = Check(
    part="Block",
    parameters=("config",),
    axes=("batch", "time", "hidden"),
    cases=cases,
    run=run,
    reference=part_of(textbook),
    mutants={
        **{
            formula.__name__: part_of(formula)
            for formula in (
                unchanged,
                post_norm,
                norm_on_output,
                norm_on_skip,
                residual_from_normed,
                shared_norm,
                norms_swapped,
                second_norm_forgotten,
                feed_forward_reads_input,
                feed_forward_adds_to_input,
                first_residual_missing,
                second_residual_missing,
                one_residual_around_both,
                feed_forward_first,
            )
        },
        "mask_not_handed_on": part_of(textbook, with_mask=False),
        "cache_not_handed_on": part_of(textbook, with_cache=False),
    },
    invariants=(
        Invariant(
            Text(
                "with o_proj and down_proj at zero, x does not come out unchanged",
                "o_proj 和 down_proj 为零时，x 没有原样出来",
            ),
            is_identity_when_silent,
        ),
        Invariant(
            Text("a position depends on what comes after it", "某个位置受到了后面内容的影响"),
            hears_nothing_of_the_future,
        ),
    ),
    inspect_part=inspect_part,
    install=install,
)
