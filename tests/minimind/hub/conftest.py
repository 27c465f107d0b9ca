"""A hub of our own, and nobody's settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.minimind.hub.server import Hub

WEIGHTS = bytes(range(256)) * 4000


@dataclass(frozen=True)
class Served:
    """A hub and its address."""

    hub: Hub
    url: str


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A hub with one model and one data set, to which both clients are pointed."""
    model = {"config.json": b"{}", "tokenizer.json": b"{} ", "model.safetensors": WEIGHTS, "onnx/model.onnx": b"x" * 50}
    hub = Hub(
        {
            "models/jingyaogong/minimind-3": model,
            "models/gongjy/minimind-3": model,
            "models/jingyaogong/minimind-3-pytorch": {
                "full_sft_768.pth": WEIGHTS[:5000],
                "pretrain_768.pth": WEIGHTS[:6000],
            },
            "datasets/jingyaogong/minimind_dataset": {"dpo.jsonl": b'{"a": 1}\n' * 500, "rlaif.jsonl": b"{}\n"},
        }
    )
    url = hub.start()
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", url)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield Served(hub, url)
    hub.stop()
