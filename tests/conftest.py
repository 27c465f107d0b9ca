"""Every test has a home of its own, speaks English, and sees none of the developer's settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TEXTUAL_ANIMATIONS"] = "none"


@pytest.fixture(autouse=True, scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One place for compiled code in a whole run of the tests, on all its workers."""
    place = tmp_path_factory.getbasetemp()
    shared = place.parent if os.environ.get("PYTEST_XDIST_WORKER") else place
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIMIND_KERNELS", str(shared / "kernels"))
        yield


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty MINIMIND_HOME."""
    directory = tmp_path / "home"
    monkeypatch.setenv("MINIMIND_HOME", str(directory))
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "SSH_CONNECTION", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    return directory
