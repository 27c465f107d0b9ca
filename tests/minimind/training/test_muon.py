"""Muon beside PyTorch's own, what it is for, and the beginning that goes with it."""

from __future__ import annotations

import pytest
import torch

from minimind.config import MODEL_PRESETS, TrainConfig
from minimind.model.transformer import MiniMind
from minimind.training.initial import set_initial_weights
from minimind.training.muon import Muon, for_matrices, orthogonalise
from minimind.training.optim import Optimizer
from tests.minimind.training.test_optim import CONFIG, gradients


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 12, 5), (2, 5, 12)])
def test_singular_values_are_drawn_near_one_and_directions_stay(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    result = orthogonalise(matrices, torch.float32)
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    assert (values.amax(1) / values.amin(1)).max() > 3
    inner = left.transpose(1, 2) @ result @ right.transpose(1, 2)
    drawn = inner.diagonal(dim1=1, dim2=2)
    assert drawn.min() > 0.5
    assert drawn.max() < 1.5
    torch.testing.assert_close(inner, torch.diag_embed(drawn), atol=1e-4, rtol=0)


def test_zeros_stay_zeros() -> None:
    assert not orthogonalise(torch.zeros(1, 4, 6), torch.float32).any()


def test_equals_pytorchs_own() -> None:
    """Where PyTorch has one. Ours has a batch of matrices a product, so bfloat16 may round the sums otherwise."""
    plain = pytest.importorskip("torch.optim._muon").Muon
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in ((16, 24), (24, 16), (16, 24))]
    theirs = [torch.nn.Parameter(matrix.detach().clone()) for matrix in ours]
    settings = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.9}
    first = Muon(ours, **settings, dtype=torch.bfloat16)  # type: ignore[arg-type]
    second = plain(theirs, **settings, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        first.step()
        second.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=4 * 0.02 * 0.2 * 5 * 0.01, rtol=0)


def test_an_update_is_as_large_as_adamws() -> None:
    """The root mean square of a step is about 0.2 learning rates, whatever the shape."""
    torch.manual_seed(0)
    for shape in ((32, 32), (16, 64), (64, 16)):
        matrix = torch.nn.Parameter(torch.zeros(shape))
        matrix.grad = torch.randn(shape)
        Muon([matrix], lr=1.0, weight_decay=0.0).step()
        assert 0.12 < float(matrix.detach().square().mean().sqrt()) < 0.26


def test_matrices_inside_are_muons_and_the_rest_is_adamws() -> None:
    model = MiniMind(CONFIG)
    optimizer = Optimizer(
        model, TrainConfig(optimizer="muon"), torch.float32, {"critic": torch.nn.Parameter(torch.ones(3, 4))}
    )
    gradients(model, 0)
    optimizer.extra["critic"].grad = torch.ones(3, 4)
    optimizer.step(1.0)
    states: dict[str, set[str]] = {}
    for key in optimizer.state_tensors():
        name, _, what = key.rpartition("|")
        states.setdefault(name, set()).add(what)
    muons = {name for name, what in states.items() if what == {"momentum_buffer"}}
    assert muons == set(for_matrices(dict(model.named_parameters())))
    assert {name.split(".")[-2] for name in muons} == {
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    }
    assert all(states[name] == {"step", "exp_avg", "exp_avg_sq"} for name in states.keys() - muons)
    assert states.keys() == {"critic", *dict(model.named_parameters())}


def test_embeddings_may_have_a_rate_of_their_own() -> None:
    moved = []
    for rate in (1.0, 4.0):
        torch.manual_seed(0)
        model = MiniMind(CONFIG)
        before = model.model.embed_tokens.weight.detach().clone()
        optimizer = Optimizer(model, TrainConfig(learning_rate=1e-3, embedding_rate=rate), torch.float32)
        gradients(model, 0)
        optimizer.step(1.0)
        moved.append((model.model.embed_tokens.weight.detach() - before).abs().mean())
        assert float(model.model.norm.weight.detach()[0]) == pytest.approx(1.0, abs=1.1e-3)
    assert float(moved[1] / moved[0]) == pytest.approx(4.0, rel=1e-3)


def test_zero_output_projections_leave_the_residual_stream_alone() -> None:
    torch.manual_seed(0)
    model = MiniMind(MODEL_PRESETS["nano"])
    before = model.model.embed_tokens.weight.detach().clone()
    set_initial_weights(model, TrainConfig(zero_output=True, embedding_scale=0.08))
    torch.testing.assert_close(model.model.embed_tokens.weight.detach(), before * 4)
    tokens = torch.arange(6)[None]
    expected = model.model.norm(model.model.embed_tokens(tokens))
    torch.testing.assert_close(model.hidden(tokens), expected)
    gradients(model, 0)
    optimizer = Optimizer(model, TrainConfig(optimizer="muon"), torch.float32)
    optimizer.step(1.0)
    assert not torch.equal(model.hidden(tokens), model.model.norm(model.model.embed_tokens(tokens)))


def test_the_usual_beginning_is_the_architectures() -> None:
    torch.manual_seed(0)
    model = MiniMind(CONFIG)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    set_initial_weights(model, TrainConfig())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
