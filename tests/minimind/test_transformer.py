"""The network against the papers' formulas, and every quick way through it against the plain one."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from minimind.config import MINIMIND2, MODEL_PRESETS, ModelConfig
from minimind.model.cache import Cache
from minimind.model.transformer import MiniMind, RMSNorm, apply_rotary, rotary_frequencies, rotary_table
from tests.minimind.reference import reference_logits

SHAPE = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 61}
CONFIGS = {
    "minimind3": ModelConfig(**SHAPE, num_key_value_heads=2),
    "minimind2": ModelConfig(**(SHAPE | MINIMIND2), intermediate_size=48),
    "one group, wide heads, untied": ModelConfig(
        **SHAPE, num_key_value_heads=1, head_dim=12, tie_word_embeddings=False
    ),
}


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> MiniMind:
    """A model whose weights, norms included, are far from their initial values."""
    torch.manual_seed(3)
    made = MiniMind(CONFIGS[request.param]).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return made


def random_tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, SHAPE["vocab_size"], shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("preset", "count"),
    [("small", 25_829_888), ("minimind3", 63_912_192), ("minimind2", 104_030_976), ("mini", 8_327_936)],
)
def test_the_presets_have_the_released_parameter_counts(preset: str, count: int) -> None:
    with torch.device("meta"):
        model = MiniMind(MODEL_PRESETS[preset])
    assert model.parameter_count() == MODEL_PRESETS[preset].parameter_count() == count


@pytest.mark.parametrize("name", CONFIGS)
def test_the_formula_counts_the_parameters_that_exist(name: str) -> None:
    assert MiniMind(CONFIGS[name]).parameter_count() == CONFIGS[name].parameter_count()


def test_names_are_those_of_the_released_checkpoints() -> None:
    parts = ["input_layernorm", "mlp.down_proj", "mlp.gate_proj", "mlp.up_proj", "post_attention_layernorm"]
    parts += [f"self_attn.{name}_proj" for name in "qkvo"]
    for generation, norms in (("minimind3", ["self_attn.q_norm", "self_attn.k_norm"]), ("minimind2", [])):
        expected = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}
        expected |= {f"model.layers.{layer}.{part}.weight" for layer in range(3) for part in parts + norms}
        assert set(MiniMind(CONFIGS[generation]).state_dict()) == expected


def test_tied_layers_are_one_tensor() -> None:
    model = MiniMind(CONFIGS["minimind3"])
    assert model.lm_head.weight is model.model.embed_tokens.weight
    untied = MiniMind(CONFIGS["one group, wide heads, untied"])
    assert untied.lm_head.weight is not untied.model.embed_tokens.weight


@torch.inference_mode()
def test_logits_equal_the_papers_formulas(model: MiniMind) -> None:
    tokens = random_tokens(1, 11)
    expected = reference_logits(tokens[0].tolist(), model.state_dict(), model.config)
    assert expected.abs().max() > 1
    torch.testing.assert_close(model(tokens)[0].double(), expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("pieces", [[9, 1, 1, 1, 1], [1] * 13, [4, 4, 5], [1, 12]])
def test_cached_equals_uncached(model: MiniMind, pieces: list[int]) -> None:
    tokens = random_tokens(2, 13)
    plain = model(tokens)
    cache = Cache(model.config, 2, 13)
    done = torch.cat([model(piece, cache=cache) for piece in tokens[:, : sum(pieces)].split(pieces, dim=1)], dim=1)
    torch.testing.assert_close(done, plain, rtol=1e-4, atol=1e-5)
    assert cache.length == 13


@torch.inference_mode()
def test_a_cache_can_be_cut_back_and_reused(model: MiniMind) -> None:
    tokens = random_tokens(1, 8)
    cache = Cache(model.config, 1, 8)
    model(random_tokens(1, 8, seed=9), cache=cache)
    cache.reset()
    model(tokens[:, :6], cache=cache)
    cache.truncate(3)
    torch.testing.assert_close(model(tokens[:, 3:], cache=cache), model(tokens)[:, 3:], rtol=1e-4, atol=1e-5)


def test_a_cache_refuses_what_does_not_fit() -> None:
    model = MiniMind(CONFIGS["minimind3"])
    cache = Cache(model.config, 1, 4)
    model(random_tokens(1, 3), cache=cache)
    with pytest.raises(ValueError, match="holds 4 positions: 3 filled, 2 more"):
        model(random_tokens(1, 2), cache=cache)
    assert cache.length == 3
    with pytest.raises(ValueError, match="cannot cut"):
        cache.truncate(4)


@torch.inference_mode()
def test_packed_documents_equal_separate_ones(model: MiniMind) -> None:
    lengths = [5, 1, 7]
    tokens = random_tokens(1, sum(lengths))
    documents = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    mask = (documents[:, None] == documents[None]).tril()[None, None]
    packed = model(tokens, positions=positions, mask=mask)
    separate = torch.cat([model(part) for part in tokens.split(lengths, dim=1)], dim=1)
    torch.testing.assert_close(packed, separate, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_a_padded_batch_equals_single_sequences(model: MiniMind) -> None:
    """Left padding, as a batch of prompts has it: no sequence sees its padding and positions count from its start."""
    sequences = [random_tokens(length, seed=length) for length in (9, 4, 6)]
    longest = 9
    tokens = torch.stack([F.pad(sequence, (longest - len(sequence), 0)) for sequence in sequences])
    padding = torch.tensor([longest - len(sequence) for sequence in sequences])
    real = torch.arange(longest)[None] >= padding[:, None]
    positions = (torch.arange(longest)[None] - padding[:, None]).clamp(min=0)
    mask = torch.ones(longest, longest, dtype=torch.bool).tril() & real[:, None, None, :]
    mask |= torch.eye(longest, dtype=torch.bool)  # a padding position looks at itself, or its softmax has no terms
    batched = model(tokens, positions=positions, mask=mask)
    for row, sequence in enumerate(sequences):
        torch.testing.assert_close(batched[row, padding[row] :], model(sequence[None])[0], rtol=1e-4, atol=1e-5)


def test_no_position_sees_its_future(model: MiniMind) -> None:
    """The gradient of one position's logits reaches its own and every earlier embedding, and no later one."""
    embedded: list[Tensor] = []

    def keep(module: torch.nn.Module, inputs: object, output: Tensor) -> None:
        output.retain_grad()
        embedded.append(output)

    model.model.embed_tokens.register_forward_hook(keep)
    model(random_tokens(1, 8))[0, 4].square().sum().backward()
    gradient = embedded[0].grad
    assert gradient is not None
    assert (gradient[0, :5].abs().sum(-1) > 0).all()
    assert (gradient[0, 5:] == 0).all()


@pytest.mark.parametrize("preset", ["nano", "mini"])
def test_the_first_loss_is_that_of_a_uniform_guess(preset: str) -> None:
    torch.manual_seed(0)
    config = MODEL_PRESETS[preset]
    model = MiniMind(config)
    tokens = torch.randint(0, config.vocab_size, (4, 64))
    loss = F.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(config.vocab_size), rel=0.01)


def test_bfloat16_runs_close_to_float32(model: MiniMind) -> None:
    tokens = random_tokens(2, 9)
    plain = model(tokens).detach()
    logits = model.to(torch.bfloat16)(tokens)
    assert logits.dtype == torch.bfloat16
    assert F.cosine_similarity(logits.float().flatten(), plain.flatten(), dim=0) > 0.99
    logits.float().square().mean().backward()
    assert all(
        p.grad is not None and p.grad.dtype == torch.bfloat16 and p.grad.isfinite().all() for p in model.parameters()
    )


def test_rms_norm_is_its_formula_and_survives_half_precision() -> None:
    norm = RMSNorm(8, eps=1e-5)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, 8))
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(norm(x), x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight)
    huge = torch.full((1, 8), 6e4, dtype=torch.float16)  # its square overflows float16
    torch.testing.assert_close(norm.half()(huge), norm.weight[None])  # every component is the root mean square itself
    assert norm(torch.zeros(1, 8, dtype=torch.float16)).eq(0).all()


def test_rotary_depends_on_the_distance_only() -> None:
    generator = torch.Generator().manual_seed(2)
    query, key = torch.randn(2, 1, 1, 1, 16, generator=generator)
    frequencies = rotary_frequencies(16, 10_000.0)

    def product(at: int, other: int) -> float:
        turned = apply_rotary(query, *rotary_table(torch.tensor([[at]]), frequencies))
        partner = apply_rotary(key, *rotary_table(torch.tensor([[other]]), frequencies))
        return float((turned * partner).sum())

    assert product(7, 3) == pytest.approx(product(104, 100), abs=1e-4)
    assert abs(product(7, 3) - product(7, 4)) > 1e-3
    assert product(5, 5) == pytest.approx(float((query * key).sum()), abs=1e-5)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    model = MiniMind(ModelConfig(**SHAPE, num_key_value_heads=2, dropout=0.5))
    tokens = random_tokens(1, 6)
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))
