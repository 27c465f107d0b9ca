"""Every test has a home of its own, speaks English, and sees none of the developer's settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TEXTUAL_ANIMATIONS"] = "none"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty MINIMIND_HOME."""
    directory = tmp_path / "home"
    monkeypatch.setenv("MINIMIND_HOME", str(directory))
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "SSH_CONNECTION", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    return directory
