"""Other masks, scales, projections and positions: each against the property or formula that defines it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from minimind.errors import UserError
from minimind.lab.tiny import tiny_model
from minimind.model.cache import Cache
from minimind.model.probe import attention_weights
from minimind.model.transformer import MiniMind, rotary_frequencies
from minimind.model.variants.attention import AdjustedCore, Tie, set_mask, set_scale, tie_projections
from minimind.model.variants.blocks import remove_part
from minimind.model.variants.parts import install_part
from minimind.model.variants.positions import (
    INITIAL_SPREAD,
    Positions,
    Scaling,
    alibi_slopes,
    scale_positions,
    set_positions,
)
from minimind.model.yarn import stretched

POSITIONS: tuple[Positions, ...] = ("rotary", "none", "learned", "sinusoidal", "alibi")
TOKENS = torch.randint(0, 256, (2, 9), generator=torch.Generator().manual_seed(3))


def rough_model(spread: float = 0.1, **changes: int) -> MiniMind:
    """A model whose every parameter matters: far from its small initial values."""
    model = tiny_model("T0", **changes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * spread)
    return model


def future_gradient(model: MiniMind) -> Tensor:
    """How much each position's output depends on each position's embedding: [time, time]."""
    rows = []
    embedded = model.model.embed_tokens(TOKENS[:1]).detach().requires_grad_()  # [1, time, hidden]
    hook = model.model.embed_tokens.register_forward_hook(lambda module, inputs, output: output * 0 + embedded)
    hidden = model.hidden(TOKENS[:1])  # [1, time, hidden]
    hook.remove()
    for position in range(TOKENS.shape[1]):
        (gradient,) = torch.autograd.grad(hidden[0, position].sum(), embedded, retain_graph=True)
        rows.append(gradient[0].abs().sum(-1))
    return torch.stack(rows)


@pytest.mark.parametrize("positions", POSITIONS)
def test_no_position_hears_of_the_future_unless_the_mask_is_off(positions: Positions) -> None:
    model = rough_model()
    set_positions(model, positions)
    ahead = torch.ones(9, 9).triu(1).bool()
    assert (future_gradient(model)[ahead] == 0).all()
    assert (future_gradient(model)[~ahead] > 0).all()
    set_mask(model, "none")
    assert (future_gradient(model) > 0).all()
    set_mask(model, "causal")
    assert (future_gradient(model)[ahead] == 0).all()


@pytest.mark.parametrize(("positions", "masked"), [(p, m) for p in POSITIONS for m in (False, True)])
def test_only_without_positions_and_mask_a_permuted_text_gives_permuted_outputs(
    positions: Positions, masked: bool
) -> None:
    model = rough_model()
    set_positions(model, positions)
    set_mask(model, "causal" if masked else "none")
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    error = (model(TOKENS[:, order]) - model(TOKENS)[:, order]).abs().max()
    if positions == "none" and not masked:
        assert error < 1e-4
    else:
        assert error > 0.05


def test_rotary_positions_come_back_exactly() -> None:
    model = rough_model()
    before, names = model(TOKENS), list(model.state_dict())
    for positions in POSITIONS:
        set_positions(model, positions)
        changed = model(TOKENS)
        assert torch.equal(changed, before) is (positions == "rotary")
        assert (list(model.state_dict()) == names) is (positions != "learned")
    set_positions(model, "rotary")
    assert torch.equal(model(TOKENS), before)


@pytest.mark.parametrize("positions", POSITIONS)
def test_texts_longer_than_trained_caches_and_gradients(positions: Positions) -> None:
    model = rough_model()
    set_positions(model, positions)
    long = torch.randint(0, 256, (1, 40), generator=torch.Generator().manual_seed(4))
    whole = model(long)
    assert whole.isfinite().all()
    cache = Cache(model.config, 1, 40)
    pieces = [model(piece, cache=cache) for piece in long.split([20, 1, 19], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-4, atol=1e-4)
    model.train()(long).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_learned_positions_are_added_and_clamped() -> None:
    model = rough_model()
    count = model.parameter_count()
    set_positions(model, "learned")
    assert model.parameter_count() == count + 32 * 32
    vectors = model.state_dict()["model.position_embeddings.weight"]
    assert vectors.std() == pytest.approx(INITIAL_SPREAD, rel=0.1)
    seen: list[Tensor] = []
    model.model.dropout.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model(TOKENS, positions=torch.full_like(TOKENS, 5))
    model(TOKENS, positions=torch.full_like(TOKENS, 31))
    model(TOKENS, positions=torch.full_like(TOKENS, 400))
    torch.testing.assert_close(seen[0], model.model.embed_tokens(TOKENS) + vectors[5])
    assert torch.equal(seen[1], seen[2])


def test_sinusoids_are_the_papers() -> None:
    model = rough_model()
    set_positions(model, "sinusoidal")
    seen: list[Tensor] = []
    model.model.dropout.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model(TOKENS)
    added = (seen[0] - model.model.embed_tokens(TOKENS))[0].detach() / INITIAL_SPREAD  # [time, hidden]
    for position, pair in [(0, 0), (1, 0), (7, 3), (8, 15)]:
        angle = position / 10_000 ** (2 * pair / 32)
        assert float(added[position, 2 * pair]) == pytest.approx(math.sin(angle), abs=1e-4)
        assert float(added[position, 2 * pair + 1]) == pytest.approx(math.cos(angle), abs=1e-4)


def test_slopes_are_the_papers() -> None:
    assert alibi_slopes(8) == tuple(2.0**-i for i in range(1, 9))
    assert alibi_slopes(1) == (2.0**-8,)
    assert alibi_slopes(6) == (2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3)


def test_alibi_lowers_scores_by_slope_times_distance() -> None:
    model = rough_model(num_attention_heads=2, num_hidden_layers=1)
    set_positions(model, "none")
    plain = attention_weights(model, TOKENS)[0].log()
    set_positions(model, "alibi")
    biased = attention_weights(model, TOKENS)[0].log()
    for head, slope in enumerate((2**-4, 2**-8)):
        shift = (biased - plain)[0, head, 8]
        torch.testing.assert_close(shift.diff(), torch.full((8,), slope), rtol=1e-3, atol=1e-4)


def test_without_scaling_scores_are_root_d_times_larger() -> None:
    model = rough_model(num_hidden_layers=1)
    scaled = attention_weights(model, TOKENS)[0][0, :, 8].log()
    before = model(TOKENS)
    set_scale(model, False)
    raw = attention_weights(model, TOKENS)[0][0, :, 8].log()
    torch.testing.assert_close(raw.diff(dim=-1), 4 * scaled.diff(dim=-1), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(model(TOKENS), before)
    set_scale(model, True)
    assert torch.equal(model(TOKENS), before)


def test_the_probe_sees_what_every_variant_computes() -> None:
    model = rough_model()
    set_positions(model, "alibi")
    set_mask(model, "none")
    set_scale(model, False)
    block = model.model.layers[0]
    inputs: list[Tensor] = []
    block.self_attn.o_proj.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    weights = attention_weights(model, TOKENS)[0]
    normed = block.input_layernorm(model.model.embed_tokens(TOKENS))
    values = block.self_attn.v_proj(normed).view(2, 9, 2, 16).transpose(1, 2)
    torch.testing.assert_close(inputs[0], (weights @ values).transpose(1, 2).flatten(2))


def test_a_mask_that_is_given_is_obeyed() -> None:
    model = rough_model()
    set_mask(model, "none")
    allowed = torch.ones(9, 9, dtype=torch.bool).tril()
    expected = rough_model()
    expected.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(TOKENS, mask=allowed), expected(TOKENS))


@pytest.mark.parametrize(
    ("tie", "shared", "groups"), [("separate", 0, 2), ("query_key", 1, 2), ("key_value", 1, 1), ("all", 2, 2)]
)
def test_tied_projections_are_one_parameter(tie: Tie, shared: int, groups: int) -> None:
    model = rough_model(num_key_value_heads=groups)
    names, count = list(model.state_dict()), model.parameter_count()
    tie_projections(model, tie)
    assert model.parameter_count() == count - 2 * shared * 32 * 16 * groups
    assert list(model.state_dict()) == names
    tied = model(TOKENS)
    tie_projections(model, "separate")
    assert model.parameter_count() == count
    torch.testing.assert_close(model(TOKENS), tied)


def test_tied_projections_stay_tied_in_training_and_need_equal_heads() -> None:
    model = rough_model()
    tie_projections(model, "all")
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(TOKENS).square().mean().backward()
    optimizer.step()
    attention = model.model.layers[0].self_attn
    assert torch.equal(attention.q_proj.weight, attention.k_proj.weight)
    assert torch.equal(attention.q_proj.weight, attention.v_proj.weight)
    with pytest.raises(UserError, match="fewer key/value heads"):
        tie_projections(rough_model(num_key_value_heads=1), "query_key")


def _fastest_and_slowest(model: MiniMind) -> tuple[float, float, float]:
    """The angles at position 1 of the first and the last pair of a head, and the length of the turned unit vector."""
    seen: list[tuple[Tensor, Tensor]] = []
    hook = model.model.layers[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    model(TOKENS)
    hook.remove()
    cosine, sine = seen[0][0][0, 0, 1], seen[0][1][0, 0, 1]
    return (
        float(torch.atan2(sine[0], cosine[0])),
        float(torch.atan2(sine[-1], cosine[-1])),
        float(cosine[0].hypot(sine[0])),
    )


def test_stretched_frequencies_follow_their_formulas() -> None:
    model = rough_model()
    fast, slow, _ = _fastest_and_slowest(model)
    scale_positions(model, "interpolate", 8)
    assert _fastest_and_slowest(model) == pytest.approx((fast / 8, slow / 8, 1))
    scale_positions(model, "ntk", 8)
    assert _fastest_and_slowest(model) == pytest.approx((fast, slow / 8, 1))
    scale_positions(model, "yarn", 8)
    config = replace(
        model.config,
        inference_rope_scaling=True,
        rope_scaling_factor=8.0,
        original_max_position_embeddings=32,
        max_position_embeddings=256,
    )
    expected = stretched(rotary_frequencies(16, model.config.rope_theta), config)
    sharpness = 0.1 * math.log(8) + 1
    assert _fastest_and_slowest(model) == pytest.approx((float(expected[0]), float(expected[-1]), sharpness))
    assert model.config.max_position_embeddings == 32
    scale_positions(model, "none")
    assert _fastest_and_slowest(model) == pytest.approx((fast, slow, 1))


@pytest.mark.parametrize("scaling", ["interpolate", "ntk", "yarn"])
def test_a_stretch_of_one_changes_nothing_and_caches_agree(scaling: Scaling) -> None:
    model = rough_model()
    before = model(TOKENS)
    scale_positions(model, scaling, 1)
    assert torch.equal(model(TOKENS), before)
    scale_positions(model, scaling, 4)
    whole = model(TOKENS)
    assert not torch.allclose(whole, before, atol=1e-3)
    cache = Cache(model.config, 2, 9)
    pieces = [model(piece, cache=cache) for piece in TOKENS.split([4, 1, 4], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_stretched_or_altered_is_refused() -> None:
    model = rough_model()
    with pytest.raises(UserError, match="factor of 1 or more"):
        scale_positions(model, "ntk", 0.5)
    set_positions(model, "alibi")
    with pytest.raises(UserError, match="only rotary"):
        scale_positions(model, "yarn", 2)

    class Own(torch.nn.Linear):
        """A learner's attention, as far as this test is concerned."""

    model.model.layers[1].self_attn = Own(1, 1)
    with pytest.raises(UserError, match="layer 1 has an attention of its own"):
        set_mask(model, "none")


def test_parts_installed_by_name_and_parts_taken_out_compose() -> None:
    model = rough_model()
    set_scale(model, False)
    assert isinstance(model.model.layers[0].self_attn.core, AdjustedCore)
    remove_part(model, "positions")
    remove_part(model, "feed_forward")
    before = model(TOKENS)
    install_part(model, "*input_layernorm", lambda old: type(old)(32, 1e-6))
    assert torch.equal(model(TOKENS), before)
