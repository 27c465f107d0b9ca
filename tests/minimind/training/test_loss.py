"""The loss against PyTorch's own, and the packed rows against separate documents."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from minimind.config import ModelConfig
from minimind.data.packing import IGNORED, Batch, Position
from minimind.model.transformer import AttentionCore, MiniMind
from minimind.training import attention
from minimind.training import loss as losses
from minimind.training.attention import (
    BatchedAttentionCore,
    VariableLengthCore,
    document_mask,
    install_fast_attention,
)
from minimind.training.loss import next_token_loss, summed_cross_entropy, token_log_probabilities

CONFIG = ModelConfig(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    vocab_size=50,
)


def batch_of(rows: list[list[list[int]]], time: int) -> Batch:
    """Rows of documents, each a list of ids, packed; everything but the first id of a document is predicted."""
    tokens = torch.zeros(len(rows), time, dtype=torch.long)
    labels = torch.full((len(rows), time), IGNORED)
    positions = torch.zeros(len(rows), time, dtype=torch.long)
    documents = torch.full((len(rows), time), -1)
    for index, row in enumerate(rows):
        column = 0
        for number, ids in enumerate(row):
            here = slice(column, column + len(ids) - 1)
            tokens[index, here], labels[index, here] = torch.tensor(ids[:-1]), torch.tensor(ids[1:])
            positions[index, here], documents[index, here] = torch.arange(len(ids) - 1), number
            column += len(ids) - 1
    return Batch(tokens, labels, positions, documents, Position(), int((labels != IGNORED).sum()), 0)


@pytest.mark.parametrize("rows", [3, 64, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_the_plain_cross_entropy(rows: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "_ROWS", rows)
    torch.manual_seed(0)
    hidden = torch.randn(3, 40, 16, dtype=dtype, requires_grad=True)
    weight = torch.randn(70, 16, dtype=dtype, requires_grad=True)
    labels = torch.randint(0, 70, (3, 40))
    labels[torch.rand(3, 40) < 0.4] = IGNORED

    total, count = summed_cross_entropy(hidden, weight, labels)
    (total / count * 3).backward()  # type: ignore[no-untyped-call]
    ours = hidden.grad, weight.grad
    hidden.grad = weight.grad = None
    expected = F.cross_entropy((hidden @ weight.T).float().flatten(0, 1), labels.flatten())
    (expected * 3).backward()  # type: ignore[no-untyped-call]

    assert count == int((labels != IGNORED).sum())
    exact = dtype == torch.float32
    torch.testing.assert_close(total / count, expected, rtol=1e-5 if exact else 2e-3, atol=1e-5)
    for mine, theirs in zip(ours, (hidden.grad, weight.grad), strict=True):
        assert mine is not None
        torch.testing.assert_close(mine, theirs, rtol=1e-4 if exact else 0.05, atol=1e-6 if exact else 2e-2)


def test_large_scores_do_not_overflow() -> None:
    hidden = torch.tensor([[[300.0, -300.0]]], requires_grad=True)
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    total, _ = summed_cross_entropy(hidden, weight, torch.tensor([[1]]))
    assert float(total.detach()) == pytest.approx(600.0)


@pytest.mark.parametrize("empty", [False, True])
def test_a_batch_without_labels_is_zero_and_never_nan(empty: bool) -> None:
    model = MiniMind(CONFIG)
    batch = batch_of([[[1, 4, 5, 2]]], 8)
    batch.labels.fill_(IGNORED)
    if empty:
        batch.documents.fill_(-1)
    loss, scalars = next_token_loss(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0.0
    assert scalars == {"loss": 0.0}
    assert all(p.grad is None or bool((p.grad == 0).all()) for p in model.parameters())


def test_evaluation_keeps_no_graph() -> None:
    with torch.no_grad():
        total, _ = summed_cross_entropy(torch.randn(1, 4, 8), torch.randn(9, 8), torch.tensor([[1, 2, -100, 3]]))
    assert total.grad_fn is None


def test_packed_documents_equal_separate_ones() -> None:
    torch.manual_seed(1)
    model = MiniMind(CONFIG)
    documents = [[1, *torch.randint(3, 50, (length,)).tolist(), 2] for length in (5, 9, 3, 12)]
    packed = batch_of([[documents[0], documents[1], documents[2]], [documents[3]]], 24)
    total = count = 0.0
    for ids in documents:
        alone = batch_of([[ids]], len(ids) - 1)
        total += next_token_loss(model, alone)[1]["loss"] * alone.useful_tokens
        count += alone.useful_tokens
    assert next_token_loss(model, packed)[1]["loss"] == pytest.approx(total / count, rel=1e-5)


def test_document_mask_is_causal_within_documents() -> None:
    mask = document_mask(torch.tensor([[0, 0, 1, 1, -1]]))
    assert mask.shape == (1, 1, 5, 5)
    expected = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]
    assert mask[0, 0].int().tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batched_attention_equals_the_plain_core(dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    inputs = [torch.randn(2, heads, 12, 8, dtype=dtype, requires_grad=True) for heads in (4, 2, 2)]
    mask = document_mask(torch.tensor([[0] * 7 + [1] * 5, [0] * 12]))
    results = []
    for core in (AttentionCore(), BatchedAttentionCore()):
        output = core(*inputs, mask)
        output.float().pow(2).sum().backward()
        results.append([output, *(tensor.grad for tensor in inputs)])
        for tensor in inputs:
            tensor.grad = None
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=1e-5 if dtype == torch.float32 else 0.1)
    torch.testing.assert_close(BatchedAttentionCore()(*inputs), AttentionCore()(*inputs))


def test_fast_attention_goes_only_where_it_is_faster() -> None:
    cpu = torch.device("cpu")
    assert not install_fast_attention(MiniMind(CONFIG), torch.float32, cpu)
    assert not install_fast_attention(MiniMind(CONFIG.replace(dropout=0.1)), torch.bfloat16, cpu)
    assert not install_fast_attention(MiniMind(CONFIG), torch.bfloat16, torch.device("cuda"))
    model = MiniMind(CONFIG)
    own = torch.nn.Identity()
    model.model.layers[0].self_attn.core = own
    assert install_fast_attention(model, torch.bfloat16, cpu)
    assert model.model.layers[0].self_attn.core is own
    assert type(model.model.layers[1].self_attn.core) is BatchedAttentionCore


def test_the_bias_follows_the_batch() -> None:
    """A second mask of the same shape must not be answered with the first one's numbers."""
    torch.manual_seed(3)
    queries, keys, values = (torch.randn(1, 2, 6, 4) for _ in range(3))
    core, plain = BatchedAttentionCore(), AttentionCore()
    for documents in ([0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 2, 2]):
        mask = document_mask(torch.tensor([documents]))
        torch.testing.assert_close(core(queries, keys, values, mask), plain(queries, keys, values, mask))


def test_matrix_products_meet_few_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN keeps a compiled product for every size: a new one in each step would fill the memory (3 MB a step)."""
    seen: list[int] = []
    plain = losses._ChunkedCrossEntropy.apply

    def watch(hidden: torch.Tensor, *others: object) -> object:
        seen.append(hidden.shape[0])
        return plain(hidden, *others)

    monkeypatch.setattr(losses._ChunkedCrossEntropy, "apply", watch)
    hidden, weight = torch.randn(2, 700, 8), torch.randn(9, 8)
    for counted in (1, 255, 256, 700, 1399, 1400):
        labels = torch.full((1400,), IGNORED)
        labels[:counted] = 3
        total, count = summed_cross_entropy(hidden, weight, labels.view(2, 700))
        assert count == counted
        expected = F.cross_entropy(hidden.flatten(0, 1) @ weight.T, labels, reduction="sum")
        torch.testing.assert_close(total, expected)
    assert seen == [256, 256, 256, 768, 1536, 1536]


def test_variable_lengths_equal_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU's attention with its kernel played by a loop over documents: what it is given, and what becomes of it."""
    varlen = pytest.importorskip("torch.nn.attention.varlen")

    def by_document(
        q: Tensor, k: Tensor, v: Tensor, ends: Tensor, ends_k: Tensor, *longest: int, **options: Any
    ) -> Tensor:
        assert options == {"window_size": (-1, 0), "enable_gqa": True}
        assert ends is ends_k
        assert ends.dtype == torch.int32
        parts = [tensor.transpose(0, 1).split(ends.diff().tolist(), dim=1) for tensor in (q, k, v)]
        return (
            torch.cat([AttentionCore()(*(x[None] for x in group))[0] for group in zip(*parts, strict=True)], 1)
            .transpose(0, 1)
            .contiguous()
        )

    monkeypatch.setattr(varlen, "varlen_attn", by_document)
    torch.manual_seed(4)
    inputs = [torch.randn(2, heads, 12, 8) for heads in (4, 2, 2)]
    documents = torch.tensor([[0] * 7 + [1] * 5, [1] * 3 + [2] * 6 + [-1] * 3])
    found = VariableLengthCore()(*inputs, documents)
    torch.testing.assert_close(found, AttentionCore()(*inputs, document_mask(documents)))
    assert attention._variable_lengths_work(MiniMind(CONFIG), torch.device("cpu"))
    monkeypatch.setattr(varlen, "varlen_attn", lambda q, *others, **options: q)
    assert not attention._variable_lengths_work(MiniMind(CONFIG), torch.device("cpu"))


def test_log_probabilities_are_those_of_log_softmax_with_its_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "_ROWS", 4)
    torch.manual_seed(0)
    model = MiniMind(CONFIG)
    batch = batch_of([[[1, 5, 9, 2], [1, 7, 2]], [[1, 3, 3, 8, 4, 2]]], 8)
    found = token_log_probabilities(model, batch, temperature=0.7)
    found.square().sum().backward()
    gradients = {name: item.grad.clone() for name, item in model.named_parameters() if item.grad is not None}
    model.zero_grad()
    scores = model(batch.tokens, positions=batch.positions, mask=document_mask(batch.documents)) / 0.7
    expected = scores.log_softmax(-1).gather(-1, batch.labels.clamp(min=0)[..., None])[..., 0]
    expected = expected.masked_fill(batch.labels == IGNORED, 0.0)
    expected.square().sum().backward()
    torch.testing.assert_close(found, expected)
    for name, item in model.named_parameters():
        torch.testing.assert_close(gradients[name], item.grad, rtol=1e-4, atol=1e-4)


def test_log_probabilities_without_a_label_are_zero_and_harmless() -> None:
    model = MiniMind(CONFIG)
    batch = batch_of([[[1, 5, 9, 2]]], 8)
    batch.labels.fill_(IGNORED)
    found = token_log_probabilities(model, batch)
    found.sum().backward()
    assert found.tolist() == [[0.0] * 8]
    assert all(item.grad is None or not item.grad.any() for item in model.parameters())
