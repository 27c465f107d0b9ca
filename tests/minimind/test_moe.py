"""Mixtures of experts and YaRN: all five released layouts against the papers' formulas, cached and not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from minimind.config import MODEL_PRESETS, ModelConfig
from minimind.errors import UserError
from minimind.model.cache import Cache
from minimind.model.moe import MixtureOfExperts, imbalance, load_balancing_loss
from minimind.model.transformer import MiniMind, rotary_frequencies
from minimind.model.yarn import stretched
from tests.minimind.reference import frequency, reference_logits

LAYOUTS = ("small", "minimind2", "minimind2-moe", "minimind3", "minimind3-moe")
YARN_3 = {
    "inference_rope_scaling": True,
    "rope_scaling_type": "yarn",
    "rope_scaling_factor": 16.0,
    "beta_fast": 32.0,
}
YARN_2 = YARN_3 | {"rope_scaling_type": "minimind2", "rope_scaling_factor": 4.0, "beta_fast": 4.0}


def shrunk(preset: str, **changes: Any) -> ModelConfig:
    """The architecture of a released model, few and narrow layers."""
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 61}
    return MODEL_PRESETS[preset].replace(**(shape | {"num_key_value_heads": 2, "intermediate_size": 48} | changes))


def random_model(config: ModelConfig, seed: int = 3) -> MiniMind:
    """A model whose weights, norms included, are far from their initial values."""
    torch.manual_seed(seed)
    made = MiniMind(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return made


def random_tokens(*shape: int) -> Tensor:
    return torch.randint(0, 61, shape, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
@pytest.mark.parametrize("scaling", [{}, YARN_3 | {"attention_factor": 1.2}, YARN_2], ids=["plain", "yarn", "yarn2"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_equal_the_papers_formulas(layout: str, scaling: dict[str, Any]) -> None:
    model = random_model(shrunk(layout, **scaling))
    tokens = random_tokens(1, 9)
    expected = reference_logits(tokens[0].tolist(), model.state_dict(), model.config)
    assert expected.abs().max() > 1
    assert (model(tokens)[0].double() - expected).abs().max() < 1e-4


@torch.inference_mode()
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cached_equals_uncached(layout: str) -> None:
    model = random_model(shrunk(layout, **YARN_3))
    tokens = random_tokens(2, 11)
    cache = Cache(model.config, 2, 11)
    pieces = [model(piece, cache=cache) for piece in tokens.split([6, 1, 1, 3], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(tokens), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("preset", "total", "active"),
    [("minimind3-moe", 198_416_640, 63_936_768), ("minimind2-moe", 145_029_760, 91_945_600)],
)
def test_parameter_counts_are_the_released_ones(preset: str, total: int, active: int) -> None:
    config = MODEL_PRESETS[preset]
    with torch.device("meta"):
        assert MiniMind(config).parameter_count() == config.parameter_count() == total
    assert config.active_parameter_count() == active


def test_a_dense_model_is_all_active() -> None:
    config = MODEL_PRESETS["minimind3"]
    assert config.active_parameter_count() == config.parameter_count()


def test_names_are_those_of_the_released_checkpoints() -> None:
    names = {name for name in MiniMind(shrunk("minimind2-moe", num_hidden_layers=1)).state_dict() if ".mlp." in name}
    experts = [f"experts.{index}" for index in range(4)] + ["shared_experts.0"]
    expected = {f"{expert}.{part}_proj" for expert in experts for part in ("gate", "up", "down")} | {"gate"}
    assert names == {f"model.layers.0.mlp.{name}.weight" for name in expected}


def test_no_more_experts_a_token_than_there_are() -> None:
    with pytest.raises(UserError, match="num_experts_per_tok = 5 is more than num_experts = 4"):
        ModelConfig(use_moe=True, num_experts_per_tok=5)


def test_an_expert_only_sees_the_tokens_it_was_chosen_for() -> None:
    model = random_model(shrunk("minimind3-moe"))
    layer = model.model.layers[0].mlp
    assert isinstance(layer, MixtureOfExperts)
    x = torch.randn(1, 20, 32, generator=torch.Generator().manual_seed(1))
    chosen = layer.gate(x).argmax(-1).flatten()
    seen: dict[int, int] = {}
    for index, expert in enumerate(layer.experts):
        expert.register_forward_hook(lambda _, inputs, __, index=index: seen.__setitem__(index, len(inputs[0])))
    layer(x)
    assert seen == {index: int((chosen == index).sum()) for index in range(4)}
    assert 0 < max(seen.values()) < 20


def test_every_expert_has_a_gradient_even_when_no_token_chose_it() -> None:
    """DistributedDataParallel waits for the gradient of every parameter."""
    model = random_model(shrunk("minimind3-moe")).train()
    model(random_tokens(1, 1)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_imbalance_is_its_formula() -> None:
    scores = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1]])
    chosen = torch.tensor([[0], [0]])
    assert imbalance(scores, chosen).item() == pytest.approx(4 * 1.0 * 0.55)
    even = torch.full((4, 4), 0.25)
    assert imbalance(even, torch.arange(4)[:, None]).item() == pytest.approx(1.0)
    pairs = torch.tensor([[0, 1], [0, 2]])
    assert imbalance(scores, pairs).item() == pytest.approx(4 * (0.5 * 0.55 + 0.25 * 0.2 + 0.25 * 0.15))
    each = [imbalance(scores[i : i + 1], pairs[i : i + 1]).item() for i in range(2)]
    assert imbalance(scores, pairs, groups=2).item() == pytest.approx(sum(each) / 2)


@pytest.mark.parametrize("layout", ["minimind2-moe", "minimind3-moe"])
def test_the_load_balancing_loss_is_collected_once_and_trains_the_router(layout: str) -> None:
    model = random_model(shrunk(layout)).train()
    model(random_tokens(2, 6))
    loss = load_balancing_loss(model)
    assert loss is not None
    config = model.config
    low, high = (config.num_hidden_layers * config.router_aux_loss_coef * bound for bound in (0.5, config.num_experts))
    assert low < loss.item() < high
    loss.backward()
    router = model.get_parameter("model.layers.0.mlp.gate.weight")
    assert router.grad is not None
    assert router.grad.abs().sum() > 0
    assert load_balancing_loss(model) is None


def test_only_mixtures_in_training_have_a_load_balancing_loss() -> None:
    dense = random_model(shrunk("minimind3")).train()
    dense(random_tokens(1, 4))
    assert load_balancing_loss(dense) is None
    mixture = random_model(shrunk("minimind3-moe"))
    mixture(random_tokens(1, 4))
    assert load_balancing_loss(mixture) is None


@pytest.mark.parametrize("scaling", [YARN_3, YARN_2], ids=["minimind3", "minimind2"])
@pytest.mark.parametrize("head_size", [64, 96])
def test_yarn_keeps_fast_pairs_and_slows_the_slow_ones_by_its_factor(head_size: int, scaling: dict[str, Any]) -> None:
    config = ModelConfig(hidden_size=8 * head_size, **scaling)
    plain = rotary_frequencies(head_size, config.rope_theta)
    ratio = plain / stretched(plain, config)
    assert ratio[0].item() == pytest.approx(1.0, abs=1e-6)
    assert ratio[-1].item() == pytest.approx(config.rope_scaling_factor, rel=1e-5)
    assert ratio.min() > 0.999
    for pair, made in enumerate(stretched(plain, config).tolist()):
        assert made == pytest.approx(frequency(pair, config), rel=1e-5)


def test_yarn_at_the_released_settings_by_hand() -> None:
    """minimind-3: 48 pairs, θ 1e6, 2,048 positions: the ramp runs from pair 8 to pair 21 (β 32 and β 1)."""
    config = ModelConfig(**YARN_3)
    plain = rotary_frequencies(96, 1e6)
    ratio = (stretched(plain, config) / plain).tolist()
    assert math.floor(48 * math.log(2048 / (2 * math.pi * 32)) / math.log(1e6)) == 8
    assert ratio[:9] == pytest.approx([1.0] * 9)
    assert ratio[9] == pytest.approx(1 - 1 / 13 * 15 / 16)
    assert ratio[21:] == pytest.approx([1 / 16] * 27)


def test_yarn_waits_until_the_context_is_longer_than_the_trained_one() -> None:
    config = ModelConfig(**YARN_3, max_position_embeddings=2048)
    plain = rotary_frequencies(96, 1e6)
    assert torch.equal(stretched(plain, config), plain)
