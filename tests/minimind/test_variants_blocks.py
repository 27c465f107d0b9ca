"""Blocks put together in another way compute their formulas, keep their parameters and refuse what makes no sense."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import combinations, product

import pytest
import torch
from torch import Tensor, nn

from minimind.errors import UserError
from minimind.lab.tiny import tiny_model
from minimind.model.cache import Cache
from minimind.model.transformer import Block, MiniMind
from minimind.model.variants.arrangement import NormPlace, Order, Residual, ends_of_sandwich
from minimind.model.variants.blocks import (
    Part,
    depth_scale,
    remove_part,
    scale_outputs,
    set_norm_place,
    set_order,
    set_residual,
)
from minimind.model.variants.feed_forward import FeedForwardKind, feed_forward_width, set_feed_forward
from minimind.model.variants.norms import replace_norms
from minimind.model.variants.parts import Absent

TOKENS = torch.randint(0, 256, (2, 7), generator=torch.Generator().manual_seed(3))


def rough_model(layers: int = 2) -> MiniMind:
    """A model whose every parameter matters: far from its small initial values."""
    model = tiny_model("T0", num_hidden_layers=layers).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def watched(model: MiniMind, layer: int = 0) -> tuple[Block, Tensor, Tensor, Callable[[Tensor], Tensor]]:
    """A block, what it read and wrote in a forward pass, and its attention as a function of one tensor."""
    seen: list[tuple[tuple[Tensor, tuple[Tensor, Tensor]], Tensor]] = []
    block = model.model.layers[layer]
    assert isinstance(block, Block)
    hook = block.register_forward_hook(lambda module, inputs, output: seen.append(((inputs[0], inputs[1]), output)))
    model(TOKENS)
    hook.remove()
    (x, rotary), output = seen[0]
    return block, x, output, lambda y: block.self_attn(y, rotary)


Formula = Callable[
    [Tensor, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], nn.Module, nn.Module],
    Tensor,
]


def _then(first: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    return first + function(first)


FORMULAS: dict[tuple[NormPlace, Residual, Order], Formula] = {
    ("pre", "both", "attention_first"): lambda x, a, f, n1, n2: _then(_then(x, lambda y: a(n1(y))), lambda y: f(n2(y))),
    ("post", "both", "attention_first"): lambda x, a, f, n1, n2: n2(_then(n1(_then(x, a)), f)),
    ("post", "none", "attention_first"): lambda x, a, f, n1, n2: n2(f(n1(a(x)))),
    ("pre", "none", "attention_first"): lambda x, a, f, n1, n2: f(n2(a(n1(x)))),
    ("pre", "one", "attention_first"): lambda x, a, f, n1, n2: x + f(n2(a(n1(x)))),
    ("pre", "one", "feed_forward_first"): lambda x, a, f, n1, n2: x + a(n1(f(n2(x)))),
    ("post", "both", "feed_forward_first"): lambda x, a, f, n1, n2: n1(_then(n2(_then(x, f)), a)),
    ("pre", "both", "parallel"): lambda x, a, f, n1, n2: x + a(n1(x)) + f(n2(x)),
    ("pre", "none", "parallel"): lambda x, a, f, n1, n2: a(n1(x)) + f(n2(x)),
}


@pytest.mark.parametrize("case", FORMULAS, ids="-".join)
def test_a_block_computes_the_formula_of_its_arrangement(case: tuple[NormPlace, Residual, Order]) -> None:
    model = rough_model()
    names = list(model.state_dict())
    place, residual, order = case
    set_norm_place(model, place)
    set_residual(model, residual)
    set_order(model, order)
    block, x, output, attend = watched(model)
    expected = FORMULAS[case](x, attend, block.mlp, block.input_layernorm, block.post_attention_layernorm)
    torch.testing.assert_close(output, expected)
    assert list(model.state_dict()) == names


def test_a_sandwich_of_norms_normalises_what_is_written_too() -> None:
    model = rough_model()
    before, count = model(TOKENS), model.parameter_count()
    set_norm_place(model, "sandwich")
    assert model.parameter_count() == count + 2 * 2 * 32
    block, x, output, attend = watched(model)
    first, second = (block.get_submodule(f"{name}_output_layernorm") for name in ("attention", "feed_forward"))
    attended = x + first(attend(block.input_layernorm(x)))
    torch.testing.assert_close(output, attended + second(block.mlp(block.post_attention_layernorm(attended))))
    written = first(attend(block.input_layernorm(x)))
    torch.testing.assert_close(written.pow(2).mean(-1), torch.ones(2, 7), rtol=1e-3, atol=1e-3)
    replace_norms(model, "layer")
    assert isinstance(block.get_submodule("attention_output_layernorm"), nn.LayerNorm)
    set_norm_place(model, "pre")
    assert model(TOKENS).shape == before.shape
    assert not hasattr(block, "attention_output_layernorm")


def test_a_sandwich_of_sublayers_runs_attentions_first_and_feed_forwards_last() -> None:
    model = rough_model(layers=5)
    ran: list[str] = []
    for index, block in enumerate(model.model.layers):
        block.self_attn.register_forward_hook(lambda module, inputs, output, index=index: ran.append(f"a{index}"))
        block.mlp.register_forward_hook(lambda module, inputs, output, index=index: ran.append(f"f{index}"))
    set_order(model, "sandwich")
    model(TOKENS)
    assert ran == ["a0", "a1", "f0", "a2", "f1", "a3", "f2", "a4", "f3", "f4"]
    assert ends_of_sandwich(16) == 6

    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied.model.layers[0].mlp.down_proj.weight.zero_()
    assert not torch.equal(copied(TOKENS), model(TOKENS))


def test_one_layer_in_a_sandwich_is_the_block_as_it_is() -> None:
    model = rough_model(layers=1)
    before = model(TOKENS)
    set_order(model, "sandwich")
    assert torch.equal(model(TOKENS), before)


@pytest.mark.parametrize("order", ["attention_first", "feed_forward_first", "parallel", "sandwich"])
def test_every_order_can_be_taken_back_and_works_with_a_cache(order: Order) -> None:
    model = rough_model(layers=3)
    before = model(TOKENS)
    set_order(model, order)
    whole = model(TOKENS)
    assert torch.equal(whole, before) is (order == "attention_first")
    cache = Cache(model.config, 2, 7)
    pieces = [model(piece, cache=cache) for piece in TOKENS.split([3, 1, 3], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)
    set_order(model, "attention_first")
    assert torch.equal(model(TOKENS), before)


@pytest.mark.parametrize(
    ("place", "residual", "order"),
    [
        ("post", "one", "attention_first"),
        ("post", "both", "parallel"),
        ("pre", "one", "parallel"),
        ("pre", "one", "sandwich"),
    ],
)
def test_combinations_that_make_no_sense_are_refused_and_change_nothing(
    place: NormPlace, residual: Residual, order: Order
) -> None:
    model = rough_model()

    def combine() -> None:
        set_norm_place(model, place)
        set_residual(model, residual)
        set_order(model, order)

    with pytest.raises(UserError):
        combine()
    model(TOKENS)


def test_all_other_combinations_compute_something_of_their_own() -> None:
    """Except that, where nothing is added, norms of what is normalised again at once change nothing."""
    places: tuple[NormPlace, ...] = ("pre", "post", "sandwich")
    residuals: tuple[Residual, ...] = ("both", "none", "one")
    orders: tuple[Order, ...] = ("attention_first", "feed_forward_first", "parallel", "sandwich")
    outputs: dict[tuple[NormPlace, Residual, Order], Tensor] = {}
    for place, residual, order in product(places, residuals, orders):
        torch.manual_seed(0)
        model = rough_model(layers=3)
        try:
            set_norm_place(model, place)
            set_residual(model, residual)
            set_order(model, order)
        except UserError:
            continue
        outputs[place, residual, order] = model(TOKENS)
    assert len(outputs) == 36 - 10
    equal = {
        (first, second)
        for first, second in combinations(outputs, 2)
        if torch.allclose(outputs[first], outputs[second], atol=1e-3)
    }
    assert equal == {(("pre", "none", order), ("sandwich", "none", order)) for order in orders if order != "parallel"}


@pytest.mark.parametrize("part", ["attention", "feed_forward"])
def test_a_sublayer_taken_out_leaves_the_other_and_loses_its_parameters(part: Part) -> None:
    model = rough_model()
    remove_part(model, part)
    block, x, output, attend = watched(model)
    left = attend(block.input_layernorm(x)) if part == "feed_forward" else block.mlp(block.post_attention_layernorm(x))
    torch.testing.assert_close(output, x + left)
    gone = ("self_attn", "input_layernorm") if part == "attention" else ("mlp", "post_attention_layernorm")
    assert not any(f".{name}." in key for key in model.state_dict() for name in gone)
    replace_norms(model, "layer")
    assert not any(f".{name}." in key for key in model.state_dict() for name in gone)
    set_residual(model, "none")
    block, x, output, attend = watched(model)
    left = attend(block.input_layernorm(x)) if part == "feed_forward" else block.mlp(block.post_attention_layernorm(x))
    torch.testing.assert_close(output, left)


@pytest.mark.parametrize("order", ["attention_first", "parallel", "sandwich"])
def test_a_block_without_sublayers_passes_everything_on(order: Order) -> None:
    model = rough_model()
    remove_part(model, "attention")
    remove_part(model, "feed_forward")
    set_order(model, order)
    _, x, output, _ = watched(model)
    assert torch.equal(output, x)
    assert torch.equal(Absent()(x, None), torch.zeros_like(x))


def test_norms_and_single_residuals_can_be_taken_out() -> None:
    model = rough_model()
    count = model.parameter_count()
    for part in ("input_norm", "final_norm", "feed_forward_residual"):
        remove_part(model, part)
    assert model.parameter_count() == count - 3 * 32
    block, x, output, attend = watched(model)
    torch.testing.assert_close(output, block.mlp(block.post_attention_layernorm(x + attend(x))))
    remove_part(model, "attention_residual")
    remove_part(model, "post_attention_norm")
    block, x, output, attend = watched(model)
    torch.testing.assert_close(output, block.mlp(attend(x)))
    torch.testing.assert_close(model.hidden(TOKENS), watched(model, 1)[2])
    set_residual(model, "one")
    with pytest.raises(UserError, match="goes around both"):
        remove_part(model, "attention_residual")


def test_outputs_scaled_by_depth_keep_the_streams_variance_at_one_sublayers() -> None:
    model = rough_model(layers=8)
    assert depth_scale(model) == pytest.approx(0.25)
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scale_outputs(model, depth_scale(model))
    for name, tensor in model.state_dict().items():
        factor = 0.25 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
        assert torch.equal(tensor, kept[name] * factor)


REFERENCES: dict[FeedForwardKind, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": lambda x: x.clamp(min=0),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "silu": lambda x: x / (1 + (-x).exp()),
    "relu2": lambda x: x.clamp(min=0) ** 2,
    "swiglu": lambda x: x / (1 + (-x).exp()),
    "geglu": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "reglu": lambda x: x.clamp(min=0),
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_feed_forwards_compute_their_formulas(kind: FeedForwardKind) -> None:
    model = rough_model()
    set_feed_forward(model, kind, 2)
    x = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(5)) * 20
    layer = model.model.layers[1].mlp
    up = x @ layer.up_proj.weight.T
    spread = REFERENCES[kind](x @ layer.gate_proj.weight.T) * up if "glu" in kind else REFERENCES[kind](up)
    torch.testing.assert_close(layer(x), spread @ layer.down_proj.weight.T, rtol=1e-4, atol=1e-4)
    assert len(layer.up_proj.weight) == (43 if "glu" in kind else 64)


@pytest.mark.parametrize("kind", ["swiglu", "geglu", "reglu"])
@pytest.mark.parametrize(("hidden", "ratio"), [(64, 4), (64, 2), (96, 1), (768, 8 / 3), (512, 0.25)])
def test_gated_kinds_have_as_many_parameters_as_plain_ones(kind: FeedForwardKind, hidden: int, ratio: float) -> None:
    gated = 3 * hidden * feed_forward_width(kind, hidden, ratio)
    plain = 2 * hidden * feed_forward_width("relu", hidden, ratio)
    assert gated == pytest.approx(plain, rel=0.01)


def test_matrices_of_the_same_name_and_shape_stay() -> None:
    model = rough_model()
    set_feed_forward(model, "swiglu")
    before = model(TOKENS)
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    set_feed_forward(model, "geglu")
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())
    set_feed_forward(model, "swiglu")
    assert torch.equal(model(TOKENS), before)
    set_feed_forward(model, "gelu")
    fresh = model.model.layers[0].mlp.up_proj.weight.detach()
    assert fresh.std() == pytest.approx(0.02, rel=0.1)
    assert not any("gate" in name for name in model.state_dict())


def test_feed_forwards_that_are_not_there_are_refused() -> None:
    with pytest.raises(UserError, match="kinds are linear, relu"):
        set_feed_forward(rough_model(), "tanh")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="ratio"):
        set_feed_forward(rough_model(), "relu", 0)
    with pytest.raises(UserError, match="mixture"):
        set_feed_forward(tiny_model("T0", use_moe=True), "relu")
    model = rough_model()
    set_feed_forward(model, "none")
    assert all(isinstance(block.mlp, Absent) for block in model.model.layers)
