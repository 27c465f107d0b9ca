"""The lesson on residual connections: everything running it shows, and a few of its numbers by themselves."""

import math

import pytest
import torch

from lessons.catalogue import claims_of, load_experiment
from lessons.doctor_runs import examine_by_running
from minimind.events import Claim, Scalars
from minimind.lab.tiny import tiny_model
from minimind.model.probe import residual_stream
from minimind.model.variants.blocks import depth_scale, scale_outputs


def test_nothing_is_wrong_when_it_runs() -> None:
    assert list(examine_by_running(slug="residual")) == []


def test_scaled_outputs_add_about_the_variance_of_one() -> None:
    model = tiny_model("T1", num_hidden_layers=16)
    assert depth_scale(model) == pytest.approx(1 / math.sqrt(32))
    tokens = torch.randint(0, 256, (2, 16), generator=torch.Generator().manual_seed(0))  # [2, 16]
    plain = residual_stream(model, tokens)[-1]
    with torch.no_grad():
        scale_outputs(model, depth_scale(model))
    scaled = residual_stream(model, tokens)[-1]
    assert scaled.pow(2).mean() < plain.pow(2).mean() / 4


def test_the_stream_grows_with_the_root_of_depth() -> None:
    experiment = load_experiment("stream_growth")
    events = list(experiment.run({"depth": 16, "seeds": 1}))
    sizes = [event.values["plain"] for event in events if isinstance(event, Scalars)]
    assert sizes[0] == 1
    assert len(sizes) == 17
    assert sizes == sorted(sizes)
    claims = {claim.id: claim for claim in claims_of(events) if isinstance(claim, Claim)}
    assert claims["grows_like_the_root"].holds is True


def test_a_network_with_neither_has_no_gradient_to_speak_of() -> None:
    experiment = load_experiment("with_without")
    claims = {claim.id: claim for claim in claims_of(list(experiment.run(experiment.smoke)))}
    assert claims["nothing_without_both"].measured["neither"] == pytest.approx(math.log(256), abs=1e-3)
