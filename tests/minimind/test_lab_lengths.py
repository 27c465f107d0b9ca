"""The laboratory's readings of long texts, against plain evaluation."""

import pytest
import torch

from minimind.events import Band, Progress, Scalars
from minimind.lab.lengths import PlaceLosses, long_windows, plan_of_seed
from minimind.lab.text import byte_text, evaluate
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import all_hold


def _places() -> PlaceLosses:
    return PlaceLosses((0, 8, 24, 32), *long_windows(byte_text(20).held_out, 32, count=6))


def test_windows_are_spread_over_the_bytes_and_labels_follow() -> None:
    data = torch.arange(100)
    tokens, labels = long_windows(data, 10, count=4)
    assert tokens.shape == (4, 10)
    assert torch.equal(labels, tokens + 1)
    assert (int(tokens[0, 0]), int(tokens[-1, 0])) == (0, 89)


def test_bins_add_up_to_the_loss_of_the_whole() -> None:
    places, model = _places(), tiny_model("T0")
    done = [event.done for event in places.read("a", model) if isinstance(event, Progress)]
    assert done == [4, 6]
    bins = [places.at("a", place)[0] for place in range(3)]
    assert sum(loss * width for loss, width in zip(bins, (8, 16, 8), strict=True)) / 32 == pytest.approx(
        evaluate(model, [(places.tokens, places.labels)]), rel=1e-5
    )


def test_seeds_are_averaged_and_their_spread_is_drawn() -> None:
    places = _places()
    for seed in (0, 1):
        list(places.read("a", tiny_model("T0", seed=seed)))
    first, second = places.at("a", -1)
    assert places.mean("a", -1) == pytest.approx((first + second) / 2)
    events = list(places.curves("chart"))
    points = [event for event in events if isinstance(event, Scalars)]
    assert [point.x for point in points] == [4, 16, 28]
    (band,) = [event for event in events if isinstance(event, Band)]
    assert (band.low[-1], band.high[-1]) == (min(first, second), max(first, second))
    assert places.table().rows[0][1:] == places.heatmap().rows[0]


def test_each_seed_draws_batches_of_its_own() -> None:
    text, ignored = byte_text(20), torch.Generator()
    first, again, other = (plan_of_seed(text, 5, seed, batch=2, time=8).draw(ignored)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [([True, True], True), ([True, None], None), ([None, False], False), ([True, False], False)],
)
def test_a_sentence_of_several_parts_holds_where_all_do(verdicts: list[bool | None], said: bool | None) -> None:
    assert all_hold(verdicts) is said
