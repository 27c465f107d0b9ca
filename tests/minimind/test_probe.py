"""What the probe shows is what the model does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from minimind.config import ModelConfig
from minimind.errors import UserError
from minimind.model.cache import Cache
from minimind.model.probe import attention_weights, logit_lens, residual_stream, watch_attention
from minimind.model.transformer import AttentionCore, MiniMind
from minimind.model.variants.parts import install_part

CONFIG = ModelConfig(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, vocab_size=23)


@pytest.fixture
def model() -> MiniMind:
    torch.manual_seed(0)
    made = MiniMind(CONFIG).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return made


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(0, CONFIG.vocab_size, (2, 7), generator=torch.Generator().manual_seed(1))


def test_rows_are_distributions_over_the_past(model: MiniMind, tokens: Tensor) -> None:
    layers = attention_weights(model, tokens)
    assert [tuple(weights.shape) for weights in layers] == [(2, 4, 7, 7)] * 3
    for weights in layers:
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 7))
        assert weights.triu(1).eq(0).all()
        assert weights.std() > 0.05


def test_the_weights_shown_give_the_output_of_the_fused_kernel(model: MiniMind, tokens: Tensor) -> None:
    calls: list[tuple[Tensor, Tensor]] = []
    for module in model.modules():
        if isinstance(module, AttentionCore):
            module.register_forward_hook(lambda core, inputs, output: calls.append((inputs[2], output)))
    layers = attention_weights(model, tokens)
    assert len(calls) == len(layers) == 3
    for weights, (values, output) in zip(layers, calls, strict=True):
        by_hand = torch.stack([weights[:, head] @ values[:, head // 2] for head in range(4)], dim=1)
        torch.testing.assert_close(by_hand, output, rtol=1e-4, atol=1e-5)


def test_a_mask_is_obeyed(model: MiniMind, tokens: Tensor) -> None:
    mask = torch.eye(7, dtype=torch.bool)[None, None]
    for weights in attention_weights(model, tokens, mask=mask):
        torch.testing.assert_close(weights, torch.eye(7).expand(2, 4, 7, 7))


@torch.no_grad()
def test_watching_a_cached_step_shows_its_last_row(model: MiniMind, tokens: Tensor) -> None:
    expected = [weights[:, :, -1:] for weights in attention_weights(model, tokens)]
    cache = Cache(CONFIG, 2, 7)
    model(tokens[:, :6], cache=cache)
    with watch_attention(model) as seen:
        model(tokens[:, :3])
        model(tokens[:, 6:], cache=cache)
    torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-5)


def test_hooks_go_when_the_probe_goes(model: MiniMind, tokens: Tensor) -> None:
    attention_weights(model, tokens)
    logit_lens(model, tokens)
    with pytest.raises(IndexError), watch_attention(model):
        model(tokens + CONFIG.vocab_size)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@torch.no_grad()
def test_the_lens_ends_with_the_models_own_logits(model: MiniMind, tokens: Tensor) -> None:
    lens = logit_lens(model, tokens)
    assert lens.shape == (3, 2, 7, 23)
    torch.testing.assert_close(lens[-1], model(tokens))
    assert not torch.allclose(lens[0], lens[-1], atol=0.1)


@torch.no_grad()
def test_the_residual_stream_starts_at_the_embedding(model: MiniMind, tokens: Tensor) -> None:
    stream = residual_stream(model, tokens)
    assert stream.shape == (4, 2, 7, 32)
    assert torch.equal(stream[0], model.model.embed_tokens(tokens))
    torch.testing.assert_close(model.model.norm(stream[-1]), model.hidden(tokens))


def test_an_attention_without_a_core_is_said(model: MiniMind, tokens: Tensor) -> None:
    install_part(model, "model.layers.1.self_attn.core", lambda old: nn.Identity())
    with pytest.raises(UserError, match="1 layer"):
        attention_weights(model, tokens)
