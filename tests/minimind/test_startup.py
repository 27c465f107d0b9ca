"""Loading without the garbage collector, which is as before afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from minimind.startup import without_collecting


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_inside_and_what_was_made_is_passed_over() -> None:
    before = gc.get_freeze_count()
    with without_collecting():
        assert not gc.isenabled()
        made = [[index] for index in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() - before > len(made)


def test_the_collector_is_on_again_after_a_failure() -> None:
    with pytest.raises(ImportError), without_collecting():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with without_collecting():
        pass
    assert not gc.isenabled()
