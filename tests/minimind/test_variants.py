"""Variants compute what their names say and disturb nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from minimind.config import ModelConfig
from minimind.errors import UserError
from minimind.model.cache import Cache
from minimind.model.transformer import MiniMind, RMSNorm
from minimind.model.variants.blocks import set_norm_place
from minimind.model.variants.norms import NormKind, replace_norms
from minimind.model.variants.parts import install_part

CONFIG = ModelConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, vocab_size=19)
TOKENS = torch.tensor([[3, 7, 1, 18, 0]])


@pytest.fixture
def model() -> MiniMind:
    torch.manual_seed(0)
    made = MiniMind(CONFIG).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return made


@pytest.mark.parametrize(("kind", "made"), [("rms", RMSNorm), ("layer", nn.LayerNorm), ("none", nn.Identity)])
def test_norms_of_the_residual_stream_are_replaced_and_no_others(
    model: MiniMind, kind: NormKind, made: type[nn.Module]
) -> None:
    inner = [block.self_attn.q_norm for block in model.model.layers]
    replace_norms(model, kind)
    norms = [model.model.norm]
    norms += [norm for block in model.model.layers for norm in (block.input_layernorm, block.post_attention_layernorm)]
    assert [type(norm) for norm in norms] == [made] * 5
    assert [block.self_attn.q_norm for block in model.model.layers] == inner
    assert model(TOKENS).isfinite().all()


def test_layer_norm_and_no_norm_compute_their_formulas(model: MiniMind) -> None:
    x = torch.randn(1, 3, 16, generator=torch.Generator().manual_seed(1))
    replace_norms(model, "layer")
    centred = x - x.mean(-1, keepdim=True)
    expected = centred / (centred.pow(2).mean(-1, keepdim=True) + CONFIG.rms_norm_eps).sqrt()
    torch.testing.assert_close(model.model.norm(x), expected)
    replace_norms(model, "none")
    assert model.model.norm(x) is x


def test_replaced_norms_follow_the_dtype_of_the_model(model: MiniMind) -> None:
    replace_norms(model.to(torch.bfloat16), "layer")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model(TOKENS).dtype == torch.bfloat16


def test_post_norm_is_norm_of_the_sum_and_pre_comes_back(model: MiniMind) -> None:
    before = model(TOKENS)
    names = list(model.state_dict())
    set_norm_place(model, "post")
    block = model.model.layers[0]
    inputs: list[tuple[Tensor, ...]] = []
    block.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments))
    after = model(TOKENS)
    x, rotary = inputs[0][0], inputs[0][1]
    attended = block.input_layernorm(x + block.self_attn(x, rotary))
    expected = block.post_attention_layernorm(attended + block.mlp(attended))
    torch.testing.assert_close(block(x, rotary), expected)
    assert not torch.allclose(before, after, atol=1e-2)
    assert list(model.state_dict()) == names
    assert not block.training

    cache = Cache(CONFIG, 1, 5)
    pieces = [model(piece, cache=cache) for piece in TOKENS.split([2, 1, 2], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), after)

    set_norm_place(model, "pre")
    assert torch.equal(model(TOKENS), before)


class OwnNorm(nn.Module):
    """What a learner hands in for the exercise."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + self.eps) * self.weight


def own_norm(old: nn.Module) -> nn.Module:
    assert isinstance(old, RMSNorm)
    return OwnNorm(len(old.weight), old.eps)


def test_a_learners_part_takes_over_weights_and_trains(model: MiniMind) -> None:
    expected = model(TOKENS)
    replaced = install_part(model, "*norm", own_norm)
    assert len(replaced) == 2 * 4 + 1
    assert not any(isinstance(module, RMSNorm) for module in model.modules())
    torch.testing.assert_close(model(TOKENS), expected)
    model.train()(TOKENS).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_one_part_can_be_named_exactly(model: MiniMind) -> None:
    assert install_part(model, "model.layers.1.input_layernorm", own_norm) == ["model.layers.1.input_layernorm"]
    assert isinstance(model.model.layers[0].input_layernorm, RMSNorm)


def test_a_whole_block_is_replaced_once(model: MiniMind) -> None:
    expected = model(TOKENS)
    assert install_part(model, "model.layers.0*", copy.deepcopy) == ["model.layers.0"]
    assert torch.equal(model(TOKENS), expected)


def test_a_part_that_does_not_fit_is_named(model: MiniMind) -> None:
    with pytest.raises(
        UserError, match=r"the part for model\.norm has the parameters weight \(7,\); it needs weight \(16,\)"
    ):
        install_part(model, "model.norm", lambda old: OwnNorm(7, 1e-6))
    with pytest.raises(UserError, match=r"no part of the model is called 'model\.nrm'"):
        install_part(model, "model.nrm", own_norm)
