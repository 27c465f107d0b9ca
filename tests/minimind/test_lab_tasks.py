"""Synthetic tasks against their definitions, and what heads look at against hand-made cases."""

from __future__ import annotations

import math
from collections.abc import Generator

import pytest
import torch
from torch import Tensor, nn

from minimind.data.packing import IGNORED
from minimind.events import Event, Note, Progress, Text
from minimind.lab.attention import (
    byte_labels,
    largest_score,
    on_itself,
    on_one_before,
    on_what_followed,
    share_on,
    weights_picture,
)
from minimind.lab.stages import stage
from minimind.lab.tasks import Facts, Induction, TaskPlan, TwoSources, accuracy, plan, task_model
from minimind.lab.tiny import tiny_model
from minimind.model.probe import attention_weights
from minimind.model.transformer import AttentionCore
from minimind.model.variants.cores import FunctionCore, allowed_scores, install_core
from minimind.model.variants.parts import attentions


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_induction_labels_are_what_followed_last_time() -> None:
    task = Induction(vocabulary=20, time=30, shortest=3, longest=9)
    tokens, labels = task.draw(_generator(), 40)
    asked = 0
    for row, wanted in zip(tokens.tolist(), labels.tolist(), strict=True):
        period = next(i for i in range(1, 30) if row[i] == row[0])
        assert 3 <= period <= 9
        assert len(set(row[:period])) == period
        for place, label in enumerate(wanted):
            if place < period:
                assert label == IGNORED
            else:
                earlier = max(i for i in range(place) if row[i] == row[place])
                assert label == row[earlier + 1]
                asked += 1
    assert asked > 500


def test_induction_periods_differ_and_a_run_must_fit() -> None:
    tokens, _ = Induction(shortest=4, longest=16).draw(_generator(), 64)
    periods = {next(i for i in range(1, 48) if row[i] == row[0]) for row in tokens.tolist()}
    assert len(periods) > 8
    with pytest.raises(ValueError, match="no longer than"):
        Induction(vocabulary=8, longest=9).draw(_generator(), 1)


def test_two_sources_need_both() -> None:
    task = TwoSources(symbols=5, time=12)
    tokens, labels = task.draw(_generator(), 30)
    table = task.table()
    for row, wanted in zip(tokens.tolist(), labels.tolist(), strict=True):
        assert wanted[:3] == [IGNORED] * 3
        assert wanted[3:] == [int(table[row[t - 1], row[t - 3]]) for t in range(3, 12)]
    counts = [max(row.count(label) for label in range(5)) / 5 for row in table.tolist()]
    columns = [max(row.count(label) for label in range(5)) / 5 for row in table.T.tolist()]
    assert task.best_of_one() == pytest.approx(max(sum(counts) / 5, sum(columns) / 5))
    assert 1 / 5 < task.best_of_one() < 0.7


def test_facts_are_fixed_and_each_pair_has_one_answer() -> None:
    task = Facts(count=50, subjects=8, relations=8, answers=4, seed=3)
    tokens, labels = task.facts()
    assert len({tuple(pair) for pair in tokens.tolist()}) == 50
    assert bool((labels[:, 0] == IGNORED).all())
    assert int(labels[:, 1].min()) >= 16
    assert int(labels[:, 1].max()) < task.vocabulary
    answers = {tuple(pair): int(label) for pair, label in zip(tokens.tolist(), labels[:, 1], strict=True)}
    drawn, known = task.draw(_generator(), 200)
    assert all(answers[tuple(pair)] == label for pair, label in zip(drawn.tolist(), known[:, 1].tolist(), strict=True))
    with pytest.raises(ValueError, match="fewer than"):
        Facts(count=65, subjects=8, relations=8).facts()


def test_accuracy_counts_only_what_is_asked() -> None:
    class Copies(nn.Module):
        def forward(self, tokens: Tensor) -> Tensor:
            return nn.functional.one_hot(tokens, 6).float()

    tokens = torch.tensor([[0, 1, 2, 3]])
    assert accuracy(Copies(), tokens, torch.tensor([[IGNORED, 1, 5, 3]])) == pytest.approx(2 / 3)


def test_a_plan_measures_accuracy_on_sequences_never_trained_on() -> None:
    task = Induction(vocabulary=12, time=16, shortest=3, longest=6)
    made = plan(task, TaskPlan(steps=3, seeds=2, batch=5, held_out=7, measures={"zero": lambda _: 0.0}))
    assert list(made.measures) == ["accuracy", "zero"]
    tokens, labels = made.draw(_generator())
    assert tokens.shape == labels.shape == (5, 16)
    model = task_model(task, num_hidden_layers=1, hidden_size=16)
    assert 0 <= made.measures["accuracy"](model) < 0.5
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    assert float(model.model.embed_tokens.weight.detach().std()) == pytest.approx(1, abs=0.15)


def test_targets_of_a_hand_made_sequence() -> None:
    tokens = torch.tensor([[7, 3, 7, 5, 7]])
    assert on_itself(tokens)[0].nonzero().tolist() == [[i, i] for i in range(5)]
    assert on_one_before(tokens)[0].nonzero().tolist() == [[i, i - 1] for i in range(1, 5)]
    assert on_what_followed(tokens)[0].nonzero().tolist() == [[2, 1], [4, 1], [4, 3]]


def test_shares_add_up_the_weights_on_the_targets() -> None:
    model = tiny_model("T0", seed=1)
    tokens = torch.tensor([[7, 3, 7, 5, 7], [1, 2, 3, 4, 5]])
    weights = attention_weights(model, tokens)
    shares = share_on(model, tokens, on_what_followed(tokens))
    for layer, matrix in enumerate(weights):
        by_hand = (matrix[0, :, 2, 1] + matrix[0, :, 4, 1] + matrix[0, :, 4, 3]) / 2  # [heads]
        assert torch.allclose(shares[layer], by_hand)
    everything = torch.ones(2, 5, 5, dtype=torch.bool)
    assert torch.allclose(share_on(model, tokens, everything), torch.ones(2, 2))


def test_the_largest_score_grows_with_the_queries() -> None:
    model = tiny_model("T0", seed=1)
    tokens = torch.randint(0, 256, (2, 9), generator=_generator())
    before = largest_score(model, tokens)
    projection = attentions(model)[0].q_proj
    with torch.no_grad():
        projection.weight.mul_(1000)
    assert before > 0
    assert largest_score(model, tokens) > 100 * before
    with torch.no_grad():
        projection.weight.fill_(math.nan)
    assert largest_score(model, tokens) == math.inf


def test_a_picture_leaves_out_what_may_not_be_seen() -> None:
    weights = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    picture = weights_picture("w", weights, ("a", "b"), Text("w", "w"))
    assert math.isnan(picture.rows[0][1])
    assert picture.rows[1] == (0.25, 0.75)
    assert byte_labels(torch.tensor([65, 32, 10, 200])) == ("A", "·", "·", "·")


def test_a_function_in_the_place_of_the_core_gets_a_mask_and_repeated_groups() -> None:
    model = tiny_model("T0", num_key_value_heads=1)
    tokens = torch.randint(0, 256, (2, 7), generator=_generator())
    wanted = model(tokens)
    shapes: list[tuple[int, ...]] = []

    def mix(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        shapes.append(tuple(keys.shape))
        return allowed_scores(queries, keys, mask).softmax(-1) @ values

    install_core(model, mix)
    assert torch.allclose(model(tokens), wanted, atol=1e-5)
    install_core(model, lambda q, k, v, mask: AttentionCore()(q, k, v, mask), repeat=False)
    assert torch.allclose(model(tokens), wanted, atol=1e-5)
    assert set(shapes) == {(2, 2, 7, 16)}
    core: nn.Module = attentions(model)[0].core
    assert isinstance(core, FunctionCore)
    assert not core.repeat


def test_stages_share_one_progress() -> None:
    def run(result: str) -> Generator[Event, None, str]:
        yield Progress(1, 4)
        yield Note(Text("n", "n"))
        yield Progress(4, 4)
        return result

    def both() -> Generator[Event, None, tuple[str, str]]:
        first = yield from stage(run("a"), 0, 2)
        second = yield from stage(run("b"), 1, 2)
        return first, second

    results: list[tuple[str, str]] = []

    def keeping() -> Generator[Event, None, None]:
        results.append((yield from both()))

    shares = [event.done / event.total for event in keeping() if isinstance(event, Progress) and event.total]
    assert results == [("a", "b")]
    assert shares == [0.125, 0.5, 0.625, 1.0]
