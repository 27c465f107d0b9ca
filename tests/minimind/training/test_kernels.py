"""The compiled kernels compute what the network's own modules do, and step aside where they cannot."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from minimind import native
from minimind.config import MODEL_PRESETS, ModelConfig, TrainConfig
from minimind.data.packing import IGNORED, Batch, Position
from minimind.errors import UserError
from minimind.events import Text
from minimind.model.transformer import Attention, AttentionCore, FeedForward, MiniMind, RMSNorm
from minimind.training import acceleration
from minimind.training.acceleration import choose_precision
from minimind.training.attention import document_mask
from minimind.training.job import Job
from minimind.training.kernels.functions import AttendFunction, LinearFunction, SwiGLUFunction
from minimind.training.kernels.library import Kernels, load_kernels
from minimind.training.kernels.modules import (
    KernelAttention,
    KernelRMSNorm,
    install_kernels,
    loss_kernels,
    reads_documents,
)
from minimind.training.loss import next_token_loss, summed_cross_entropy
from minimind.training.update import Updater
from tests.minimind.training.listening import MakeTrainer, assert_same, stop_after, weights

try:
    load_kernels(torch.float32)
except native.NativeUnavailable as unavailable:
    pytest.skip(str(unavailable), allow_module_level=True)

SHAPES = [
    {},
    {"qk_norm": False, "num_key_value_heads": 4},
    {"hidden_size": 30, "num_attention_heads": 3, "num_key_value_heads": 1, "intermediate_size": 33},
    {"hidden_size": 160, "num_attention_heads": 4, "num_key_value_heads": 1},
    {"use_moe": True, "num_experts": 6, "moe_intermediate_size": 20},
    {"hidden_act": "gelu", "tie_word_embeddings": False},
]


def model_of(**shape: Any) -> MiniMind:
    """Two layers with weights far from their initial values, norms among them."""
    plain = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    model = MiniMind(ModelConfig(**(plain | {"intermediate_size": 96, "vocab_size": 70} | shape)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def packed_batch(vocabulary: int = 70) -> Batch:
    """Three rows of 75: documents of 1, 8, 16, 17, 33 and 75 positions, and padding."""
    lengths = [[33, 17, 25], [75], [1, 8, 16, 1, 40]]
    generator = torch.Generator().manual_seed(1)
    tokens, labels = (torch.randint(0, vocabulary, (3, 75), generator=generator) for _ in range(2))
    positions, documents = torch.zeros(3, 75, dtype=torch.long), torch.full((3, 75), -1)
    for row, parts in enumerate(lengths):
        column = 0
        for number, length in enumerate(parts):
            here = slice(column, column + length)
            positions[row, here], documents[row, here] = torch.arange(length), number
            column += length
    labels[documents < 0] = IGNORED
    labels[0, 20:30] = IGNORED
    return Batch(tokens, labels, positions, documents, Position(), int((labels != IGNORED).sum()), 0)


def loss_and_gradients(model: MiniMind) -> tuple[float, dict[str, Tensor]]:
    loss, scalars = next_token_loss(model, packed_batch(model.config.vocab_size))
    loss.backward()  # type: ignore[no-untyped-call]
    return scalars["loss"], {name: p.grad.float() for name, p in model.named_parameters() if p.grad is not None}


def distances(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """Of each gradient from the expected one, as a share of its size, or of a hundredth of the largest one's."""
    assert found.keys() == expected.keys()
    least = max(float(gradient.norm()) for gradient in expected.values()) / 100
    return {
        name: float((found[name] - wish).norm()) / max(float(wish.norm()), least) for name, wish in expected.items()
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradients_equal_the_plain_models(shape: dict[str, Any]) -> None:
    """float32 has 2⁻²⁴ = 6e-8 a rounding; a few hundred of them, in another order, stay below 2e-5."""
    model = model_of(**shape)
    fast = copy.deepcopy(model)
    install_kernels(fast, load_kernels(torch.float32))
    assert reads_documents(fast)
    expected_loss, expected = loss_and_gradients(model)
    loss, found = loss_and_gradients(fast)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert max(distances(found, expected).values()) < 2e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_is_as_near_to_float32_as_pytorchs_own(shape: dict[str, Any]) -> None:
    """The roundings of bfloat16 differ; the distance to the float32 gradients may be a fifth more at most."""
    model = model_of(**shape)
    plain = copy.deepcopy(model).to(torch.bfloat16)
    fast = copy.deepcopy(plain)
    install_kernels(fast, load_kernels(torch.bfloat16))
    expected_loss, expected = loss_and_gradients(model)
    _, theirs = loss_and_gradients(plain)
    loss, ours = loss_and_gradients(fast)
    assert loss == pytest.approx(expected_loss, rel=5e-3)
    assert sum(distances(ours, expected).values()) <= 1.2 * sum(distances(theirs, expected).values())


def run_attention(kernels: Kernels, threads: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = [(3, 75, 4, 24), (3, 75, 2, 24), (3, 75, 2, 24)]
    tensors = [torch.randn(shape, generator=generator).to(kernels.dtype).requires_grad_() for shape in shapes]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        out = AttendFunction.apply(*tensors, packed_batch().documents, kernels)  # type: ignore[no-untyped-call]
        out.float().pow(2).sum().backward()
        norm = KernelRMSNorm(RMSNorm(24), kernels).to(kernels.dtype)
        norm(out.detach()).float().pow(2).sum().backward()
    finally:
        torch.set_num_threads(before)
    gradients = [tensor.grad for tensor in (*tensors, norm.weight)]
    return [out.detach(), *(gradient for gradient in gradients if gradient is not None)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_number_of_threads_gives_the_same_bits(dtype: torch.dtype) -> None:
    kernels = load_kernels(dtype)
    first, *others = (run_attention(kernels, threads) for threads in (1, 2, 5))
    assert len(first) == 5
    for other in others:
        assert all(torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_attention_equals_the_formula_for_long_documents() -> None:
    """Longer than a block of queries and keys, alone and after another, against the masked softmax in float64."""
    torch.manual_seed(4)
    documents = torch.tensor([[0] * 300, [0] * 131 + [1] * 169])
    queries, keys, values = (torch.randn(2, 300, heads, 40) for heads in (2, 1, 1))
    out = AttendFunction.apply(queries, keys, values, documents, load_kernels(torch.float32))  # type: ignore[no-untyped-call]
    wide = [tensor.double().transpose(1, 2) for tensor in (queries, keys, values)]
    expected = AttentionCore()(wide[0], wide[1], wide[2], document_mask(documents))
    torch.testing.assert_close(out.double(), expected.transpose(1, 2), rtol=1e-4, atol=1e-5)


def test_extreme_numbers() -> None:
    kernels = load_kernels(torch.float32)
    gate = torch.tensor([-1e4, -100.0, -80.0, 0.0, 80.0, 1e4, float("nan")], requires_grad=True)
    result = SwiGLUFunction.apply(gate, torch.ones(7), kernels)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(result, F.silu(gate), rtol=1e-5, atol=1e-30, equal_nan=True)
    result.sum().backward()
    assert gate.grad is not None
    assert gate.grad[:6].tolist() == pytest.approx([0, 0, 0, 0.5, 1, 1], abs=1e-5)

    hidden = torch.tensor([[[300.0, -300.0]]], requires_grad=True)
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    total, _ = summed_cross_entropy(hidden, weight, torch.tensor([[1]]), kernels)
    assert float(total.detach()) == pytest.approx(600.0)
    total, _ = summed_cross_entropy(hidden * float("nan"), weight, torch.tensor([[1]]), kernels)
    assert not torch.isfinite(total)


def test_products_equal_pytorchs() -> None:
    kernels = load_kernels(torch.float32)
    torch.manual_seed(5)
    x, weight = torch.randn(2, 37, 19, requires_grad=True), torch.randn(23, 19, requires_grad=True)
    results = []
    for product in (lambda: LinearFunction.apply(x, weight, kernels), lambda: F.linear(x, weight)):  # type: ignore[no-untyped-call]
        out = product()
        out.pow(2).sum().backward()
        results.append([out.detach(), x.grad, weight.grad])
        x.grad = weight.grad = None
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the most numbers a tensor made under it has."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return result


@pytest.mark.parametrize("fast", [False, True])
def test_all_the_scores_never_exist_at_once(fast: bool) -> None:
    kernels = load_kernels(torch.float32) if fast else None
    hidden = torch.randn(8, 512, 8, requires_grad=True)
    weight = torch.randn(6400, 8, requires_grad=True)
    with Largest() as plain:
        F.cross_entropy(F.linear(hidden, weight).flatten(0, 1), torch.zeros(4096, dtype=torch.long))
    with Largest() as ours:
        total, _ = summed_cross_entropy(hidden, weight, torch.zeros(8, 512, dtype=torch.long), kernels)
        total.backward()  # type: ignore[no-untyped-call]
    assert plain.numbers == 4096 * 6400
    assert ours.numbers <= plain.numbers / 4


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_interrupted_and_resumed_equals_uninterrupted(
    dtype: str, make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit with every kernel at work (the other tests' model has dropout, which keeps attention plain)."""
    monkeypatch.setitem(MODEL_PRESETS, "tiny", MODEL_PRESETS["tiny"].replace(dropout=0.0))
    straight, heard = make_trainer(tmp_path / "straight", dtype=dtype)
    assert reads_documents(straight.updater.working)
    assert straight.run().outcome == "finished"
    trainer, listener = make_trainer(tmp_path / "interrupted", dtype=dtype)
    listener.wish = stop_after(5)
    trainer.run()
    losses = listener.series("loss")
    trainer, listener = make_trainer(tmp_path / "interrupted", dtype=dtype)
    trainer.run()
    assert losses | listener.series("loss") == heard.series("loss")
    assert_same(weights(trainer), weights(straight))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_model_that_is_saved_stays_plain(dtype: str, make_job: Callable[..., Job]) -> None:
    job = make_job(dtype=dtype)
    updater = Updater(job)
    saved = updater.optimizer.model
    assert updater.working is not saved
    assert type(saved.model.norm) is RMSNorm
    assert type(updater.working.model.norm) is KernelRMSNorm
    assert updater.working.state_dict().keys() == saved.state_dict().keys()
    shared = saved.get_parameter("model.norm.weight") is updater.working.get_parameter("model.norm.weight")
    assert shared == (dtype == "float32")
    before = updater.working.model.embed_tokens.weight.detach().clone()
    assert updater.update(5, 10).applied
    assert not torch.equal(updater.working.model.embed_tokens.weight, before)
    for name, parameter in updater.working.named_parameters():
        assert torch.equal(parameter, saved.get_parameter(name).to(parameter.dtype)), name


def test_a_learners_part_stays_and_gets_a_mask() -> None:
    class Own(Attention):
        def forward(self, *arguments: Any) -> Tensor:
            assert arguments[2].dtype == torch.bool
            return super().forward(*arguments)

    model = model_of()
    model.model.layers[0].self_attn = Own(model.config)
    feed_forward = model.model.layers[1].mlp
    assert isinstance(feed_forward, FeedForward)
    feed_forward.activation = torch.tanh
    expected = copy.deepcopy(model)
    install_kernels(model, load_kernels(torch.float32))
    assert not reads_documents(model)
    assert not any(isinstance(module, KernelAttention) for module in model.modules())
    assert isinstance(model.model.norm, KernelRMSNorm)
    assert loss_kernels(model) is not None
    assert loss_and_gradients(model)[0] == pytest.approx(loss_and_gradients(expected)[0], rel=1e-5)


def test_what_the_kernels_do_not_serve_is_done_by_pytorch() -> None:
    """A model writes with a cache, or in another dtype, through the same modules."""
    model = model_of()
    expected = copy.deepcopy(model)
    install_kernels(model, load_kernels(torch.float32))
    tokens = torch.randint(0, 70, (2, 9))
    torch.testing.assert_close(model(tokens), expected(tokens), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.double()(tokens), expected.double()(tokens))


def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.OFF_VARIABLE, "0")
    monkeypatch.setattr(acceleration, "load_kernels", load_kernels.__wrapped__)


def test_without_a_compiler_training_goes_on(make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    no_compiler(monkeypatch)
    precision, note = choose_precision(TrainConfig(device="cpu"))
    assert precision.kernels is None
    assert note is not None
    assert native.OFF_VARIABLE in note.en
    assert native.OFF_VARIABLE in note.zh
    job = make_job()
    assert job.surroundings.kernels == "torch"
    assert Updater(job).update(1, 10).applied
    with pytest.raises(UserError, match="compile = 'kernels'"):
        choose_precision(TrainConfig(device="cpu", compile="kernels"))


def test_the_setting_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Text] = []
    monkeypatch.setattr(acceleration, "kernels_are_built", lambda dtype: False)
    precision, note = choose_precision(TrainConfig(device="cpu"), said.append)
    assert precision.kernels is load_kernels(precision.dtype)
    assert note is None
    assert ["compiling" in text.en for text in said] == [True]
    assert choose_precision(TrainConfig(device="cpu", compile="off"))[0].kernels is None
    assert choose_precision(TrainConfig(device="cpu", compile="torch"))[0].compile_from == 0
    about = next(item.about for item in TrainConfig.declared() if item.name == "compile")
    assert about.choices == ("auto", "kernels", "torch", "off")
    assert about.help.en
    assert about.help.zh


def test_torch_compile_falls_back_where_it_fails(make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling is left to a stand-in that cannot: the real one takes half a minute."""
    job = make_job(compile="torch")
    asked: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: asked.append(self))
    updater = Updater(job)
    assert updater.compile(10)
    assert asked == list(updater.working.model.layers)
    assert torch._dynamo.config.suppress_errors
    plain = make_job(compile="off")
    updater = Updater(plain)
    assert not updater.compile(1_000_000)
