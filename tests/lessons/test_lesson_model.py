"""The lesson on the whole model: everything running it shows, and a few of its numbers by themselves."""

import math

import pytest
import torch

from lessons.catalogue import claims_of, load_experiment
from lessons.doctor_runs import examine_by_running
from minimind.config import MODEL_PRESETS
from minimind.events import Table
from minimind.inference.sample import repetition_penalty, top_p_filter
from minimind.lab.tiny import tiny_model
from minimind.scale import parameter_counts


def test_nothing_is_wrong_when_it_runs() -> None:
    assert list(examine_by_running(slug="model")) == []


def test_the_formula_of_the_page_counts_the_released_model() -> None:
    counts, config = parameter_counts(MODEL_PRESETS["minimind3"]), MODEL_PRESETS["minimind3"]
    width, layers = config.hidden_size, config.num_hidden_layers
    queries = config.num_attention_heads * config.head_size
    shared = config.num_key_value_heads * config.head_size
    assert counts.embedding == config.vocab_size * width
    assert counts.feed_forward == layers * 3 * width * config.feed_forward_size
    norms_on_heads = counts.attention - layers * (2 * width * queries + 2 * width * shared)
    assert 0 <= norms_on_heads <= layers * 2 * config.head_size


def test_the_tree_shows_shares_of_the_whole() -> None:
    experiment = load_experiment("parameter_tree")
    tables = [event for event in experiment.run(experiment.smoke) if isinstance(event, Table)]
    assert [table.name for table in tables] == ["yours", "released"]
    for table in tables:
        shares = [float(str(row[2])) for row in table.rows[:-1]]
        assert sum(shares) == pytest.approx(100, abs=0.3)


def test_the_microscope_sees_the_vocabulary_at_the_end() -> None:
    experiment = load_experiment("microscope")
    claims = {claim.id: claim for claim in claims_of(list(experiment.run(experiment.smoke)))}
    widest = claims["the_end_is_widest"].measured
    width = MODEL_PRESETS["nano"].hidden_size
    assert widest["logits"] / widest["stream"] == pytest.approx(widest["vocabulary"] / width)


def test_a_fresh_tied_model_knows_nothing_and_has_one_matrix() -> None:
    model = tiny_model("T1", tie_word_embeddings=True)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    tokens = torch.randint(0, 256, (4, 32), generator=torch.Generator().manual_seed(0))  # [4, 32]
    logits = model(tokens)[:, :-1].flatten(0, 1)  # [count, 256]
    loss = torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten())  # []
    assert loss.item() == pytest.approx(math.log(256), rel=0.05)


def test_numbers_on_the_page_about_choosing() -> None:
    scores = torch.tensor([2.0, 1.0, 0.0])  # [3]
    for temperature, expected in ((1.0, (0.67, 0.24, 0.09)), (0.5, (0.87, 0.12, 0.02)), (2.0, (0.51, 0.31, 0.19))):
        assert (scores / temperature).softmax(0).tolist() == pytest.approx(expected, abs=0.006)
    assert repetition_penalty(torch.tensor([-3.0]), [0], 1.3).item() == pytest.approx(-3.9)
    kept = top_p_filter(torch.tensor([0.5, 0.3, 0.15, 0.05]).log(), 0.7).isfinite()  # [4]
    assert kept.tolist() == [True, True, False, False]


def test_moving_a_whole_text_changes_nothing_but_moving_a_part_does() -> None:
    model = tiny_model("T1")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    tokens = torch.randint(0, 256, (1, 8), generator=torch.Generator().manual_seed(0))  # [1, 8]
    places = torch.arange(8)[None]  # [1, 8]
    usual, moved = model(tokens, positions=places), model(tokens, positions=places + 5)
    assert torch.allclose(usual, moved, rtol=1e-3, atol=1e-3)
    torn = model(tokens, positions=torch.cat((places[:, :4], places[:, 4:] + 5), dim=1))
    assert not torch.allclose(usual, torn, rtol=1e-2, atol=1e-2)
