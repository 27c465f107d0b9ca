"""What is looked through when garbage is collected."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from minimind_tui import garbage


@pytest.fixture(autouse=True)
def _thaw() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_torch_brought_is_set_aside_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "_settled", set())
    monkeypatch.setitem(garbage.sys.modules, "torch", garbage)  # as good as loaded
    gc.unfreeze()
    garbage.settle_with_torch()
    frozen = gc.get_freeze_count()
    assert frozen > 1000
    later = [[] for _ in range(5000)]
    garbage.settle_with_torch()
    assert gc.get_freeze_count() < frozen + len(later)


def test_nothing_is_set_aside_before_torch_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "_settled", set())
    monkeypatch.delitem(garbage.sys.modules, "torch", raising=False)
    gc.unfreeze()
    garbage.settle_with_torch()
    assert gc.get_freeze_count() == 0
