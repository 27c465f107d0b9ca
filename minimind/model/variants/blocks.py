"""Blocks put together in another way: other residual connections, another order, norms elsewhere, a part left out."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from minimind.model.cache import LayerCache
from minimind.model.transformer import Block, MiniMind
from minimind.model.variants.arrangement import Arrangement, NormPlace, Order, Residual, ends_of_sandwich, refuse
from minimind.model.variants.parts import Absent, recast
from minimind.model.variants.positions import set_positions

Sublayer = Literal["attention", "feed_forward"]
Part = Literal[
    "attention",
    "feed_forward",
    "input_norm",
    "post_attention_norm",
    "attention_residual",
    "feed_forward_residual",
    "positions",
    "final_norm",
]
Context = tuple[tuple[Tensor, Tensor], Tensor | None, LayerCache | None]

NAMES: dict[Sublayer, tuple[str, str, str]] = {
    "attention": ("self_attn", "input_layernorm", "attention_output_layernorm"),
    "feed_forward": ("mlp", "post_attention_layernorm", "feed_forward_output_layernorm"),
}
"""What a block calls a sublayer, the sublayer's norm, and the second norm it has in a sandwich."""


class ArrangedBlock(Block):
    """A block whose parts are put together as its `arrangement` says. As a fresh one says, it equals `Block`.

    `sublayers` are what it runs, in order: usually its own two; in a sandwich, attentions gather in the first blocks
    and the last one runs the feed-forwards that were passed over.
    """

    arrangement: Arrangement
    sublayers: tuple[tuple[Sublayer, ArrangedBlock], ...]

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None = None, cache: LayerCache | None = None
    ) -> Tensor:
        """Update the residual stream `x` [batch, time, hidden]."""
        context: Context = (rotary, mask, cache)
        if self.arrangement.order == "parallel":
            return self._side_by_side(x, context)
        y = x
        for sublayer, owner in self.sublayers:
            y = owner.run(sublayer, y, context)  # [batch, time, hidden]
        return x + y if self.arrangement.around else y  # [batch, time, hidden]

    def run(self, sublayer: Sublayer, x: Tensor, context: Context) -> Tensor:
        """One sublayer with its norm and its residual connection: `x` [batch, time, hidden] to the same shape.

        Where the part was taken out, its norm and connection go too, and `x` passes unchanged.
        """
        update = self._update(sublayer, x, context)
        if update is None:
            return x
        skip = self.arrangement.attention_skip if sublayer == "attention" else self.arrangement.feed_forward_skip
        y = x + update if skip else update  # [batch, time, hidden]
        if self.arrangement.place == "post":
            y = self.get_submodule(NAMES[sublayer][1])(y)  # [batch, time, hidden]
        return y

    def _update(self, sublayer: Sublayer, x: Tensor, context: Context) -> Tensor | None:
        """What a sublayer makes of `x` [batch, time, hidden], before anything is added; None where there is none."""
        part, norm, output_norm = (getattr(self, name, None) for name in NAMES[sublayer])
        if isinstance(part, Absent) or part is None or norm is None:
            return None
        read = x if self.arrangement.place == "post" else norm(x)  # [batch, time, hidden]
        update: Tensor = part(read, *context) if sublayer == "attention" else part(read)  # [batch, time, hidden]
        if self.arrangement.place == "sandwich" and output_norm is not None:
            update = output_norm(update)  # [batch, time, hidden]
        return update

    def _side_by_side(self, x: Tensor, context: Context) -> Tensor:
        """Both sublayers read `x` [batch, time, hidden], and what they say is added.

        Black et al. 2022, "GPT-NeoX-20B", section 2.1.2, which keeps a norm for each; PaLM shares one.
        """
        updates = [self._update(sublayer, x, context) for sublayer in NAMES]
        present = [update for update in updates if update is not None]
        if not present:
            return x
        total = torch.stack(present).sum(0)  # [batch, time, hidden]
        return x + total if self.arrangement.attention_skip else total  # [batch, time, hidden]


def arrange(model: MiniMind, change: Callable[[Arrangement], Arrangement]) -> None:
    """Rearrange every block as `change` of its present arrangement says. Raises UserError where that makes no sense."""
    blocks = _arranged(model)
    wanted = [change(block.arrangement) for block in blocks]
    for block, arrangement in zip(blocks, wanted, strict=True):
        block.arrangement = arrangement
        _fit_output_norms(block)
    _distribute(blocks)


def _arranged(model: MiniMind) -> list[ArrangedBlock]:
    """The model's blocks, made adjustable where they were not yet."""
    layers = model.model.layers
    for index, old in enumerate(layers):
        if not isinstance(old, ArrangedBlock):
            new = recast(old, ArrangedBlock)
            new.arrangement = Arrangement()
            new.sublayers = (("attention", new), ("feed_forward", new))
            layers[index] = new
    return [block for block in layers if isinstance(block, ArrangedBlock)]


def _fit_output_norms(block: ArrangedBlock) -> None:
    """Give a block the second norms of a sandwich, of the kind of the first ones, or take them away."""
    for _, norm, output_norm in NAMES.values():
        if block.arrangement.place != "sandwich":
            if hasattr(block, output_norm):
                delattr(block, output_norm)
        elif not hasattr(block, output_norm):
            new = copy.deepcopy(block.get_submodule(norm))
            with torch.no_grad():
                for name, parameter in new.named_parameters():
                    parameter.fill_(1.0 if name == "weight" else 0.0)
            setattr(block, output_norm, new)


def _distribute(blocks: list[ArrangedBlock]) -> None:
    """Say which block runs which sublayers, for the order that the blocks are arranged in."""
    order, ahead, last = blocks[0].arrangement.order, ends_of_sandwich(len(blocks)), len(blocks) - 1
    for index, block in enumerate(blocks):
        block.sublayers = (("attention", block), ("feed_forward", block))
        if order == "feed_forward_first":
            block.sublayers = block.sublayers[::-1]
        elif order == "sandwich":
            end = len(blocks) if index == last else max(0, index - ahead + 1)
            late = blocks[max(0, index - ahead) : end]
            block.sublayers = (block.sublayers[0], *(("feed_forward", owner) for owner in late))


def set_norm_place(model: MiniMind, place: NormPlace) -> None:
    """Normalise what a sublayer reads (``pre``, as released), what follows its addition (``post``), or reads and writes.

    ``post`` is the original Transformer's, Vaswani et al. 2017, section 3.1: LayerNorm(x + Sublayer(x)). ``sandwich``
    adds a norm to what each sublayer writes: Ding et al. 2021, "CogView", section 2.4. The last norm of the stack stays;
    after a post-norm block it has nearly nothing left to do.
    """
    arrange(model, lambda now: replace(now, place=place))


def set_residual(model: MiniMind, residual: Residual) -> None:
    """A residual connection around each sublayer (``both``, as released), ``none``, or ``one`` around the two together."""
    each = residual == "both"
    arrange(
        model,
        lambda now: replace(now, attention_skip=each, feed_forward_skip=each, around=residual == "one"),
    )


def set_order(model: MiniMind, order: Order) -> None:
    """In which order the stack runs its sublayers; each keeps its norm, and all orders have the same parameters.

    ``attention_first``     as released
    ``feed_forward_first``  the other way round in every block
    ``parallel``            both read the block's input (`ArrangedBlock`)
    ``sandwich``            attentions gathered at the bottom, feed-forwards at the top, taking turns in between: Press,
                            Smith and Levy 2020, "Improving Transformer Models by Reordering their Sublayers", section 4
    """
    arrange(model, lambda now: replace(now, order=order))


def remove_part(model: MiniMind, part: Part) -> None:
    """Take one part out of every block, or out of the model; its parameters are gone.

    Without ``attention`` or ``feed_forward`` their norm goes too: it would have nothing to prepare. Raises UserError
    where a residual connection is to be removed and one leads around both sublayers.
    """
    if part == "positions":
        set_positions(model, "none")
    elif part == "final_norm":
        model.model.norm = nn.Identity()  # type: ignore[assignment]  # called in the same way
    elif part in ("attention_residual", "feed_forward_residual"):
        arrange(model, _without_attention_skip if part == "attention_residual" else _without_feed_forward_skip)
    else:
        for block in _arranged(model):
            _empty(block, part)


def _without_attention_skip(now: Arrangement) -> Arrangement:
    return replace(_with_two_residuals(now), attention_skip=False)


def _without_feed_forward_skip(now: Arrangement) -> Arrangement:
    return replace(_with_two_residuals(now), feed_forward_skip=False)


def _with_two_residuals(now: Arrangement) -> Arrangement:
    if now.around:
        refuse("the one residual goes around both sublayers: take none", "仅有的残差绕过两个子层：请选 none")
    return now


def _empty(block: ArrangedBlock, part: Part) -> None:
    if part in ("input_norm", "post_attention_norm"):
        names: tuple[str, ...] = (NAMES["attention" if part == "input_norm" else "feed_forward"][1],)
    else:
        name, *norms = NAMES["attention" if part == "attention" else "feed_forward"]
        setattr(block, name, Absent())
        names = tuple(norm for norm in norms if hasattr(block, norm))
    for name in names:
        setattr(block, name, nn.Identity())


def depth_scale(model: MiniMind) -> float:
    """1/√(2L) for L layers: with it, what 2L sublayers add to the stream has about the variance of one.

    Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3.
    """
    return 1 / math.sqrt(2 * model.config.num_hidden_layers)


@torch.no_grad()
def scale_outputs(model: MiniMind, factor: float) -> None:
    """Multiply the matrices by which sublayers write into the stream (``o_proj``, ``down_proj``), for initialising."""
    for name, parameter in model.model.layers.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            parameter.mul_(factor)
