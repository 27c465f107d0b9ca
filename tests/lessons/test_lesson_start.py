"""The lesson on what is predicted: its experiments against formulas, and everything running it shows."""

import math

import pytest

from lessons.catalogue import claims_of, load_experiment
from lessons.doctor_runs import examine_by_running
from minimind.events import Claim, Event, Level, Table
from minimind.experiment import Value


def _run(name: str, **values: Value) -> tuple[list[Event], dict[str, Claim]]:
    experiment = load_experiment(name)
    events = list(experiment.run({**experiment.smoke, **values}))
    return events, {claim.id: claim for claim in claims_of(events)}


def test_nothing_is_wrong_when_it_runs() -> None:
    assert list(examine_by_running(slug="start")) == []


def test_the_first_loss_is_ln_v() -> None:
    _, claims = _run("initial_loss")
    assert claims["prediction"].measured["number"] == pytest.approx(math.log(6400), abs=0.05)
    assert claims["large_weights_cost"].measured["loss"] > 2 * math.log(6400)


def test_the_ladder_draws_a_line_for_every_table_of_counts() -> None:
    events, claims = _run("predictor_ladder", steps=20)
    levels = {event.name: event.value for event in events if isinstance(event, Level)}
    assert levels["uniform"] == pytest.approx(math.log(256))
    assert levels["uniform"] > levels["unigram"] > levels["bigram"] > levels["trigram"]
    assert claims["transformer_overtakes"].holds is None, "not within twenty steps"
    assert claims["counting_wins_at_first"].holds is True


def test_units_agree_with_each_other() -> None:
    events, claims = _run("loss_units")
    table = next(event for event in reversed(events) if isinstance(event, Table))
    for _, _, per_token, nats, perplexity, bits in table.rows:
        assert float(perplexity) == pytest.approx(math.exp(float(nats)), rel=0.01)
        assert float(bits) == pytest.approx(float(nats) / math.log(2) / float(per_token), rel=0.01)
    assert claims["perplexity_misleads"].holds is True
