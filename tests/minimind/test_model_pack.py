"""A packed model says how it was made and nothing about the machine that made it; the shipped one answers."""

from __future__ import annotations

import json
from pathlib import Path

from minimind import paths
from minimind.cli import main
from minimind.config import SampleConfig
from minimind.inference.engine import Engine
from tests.minimind.tiny import save_tiny


def test_a_packed_model_names_its_commands_and_no_place(tmp_path: Path) -> None:
    start = {"model": str(tmp_path / "secret" / "step-000005"), "step": 5}
    made = save_tiny(tmp_path / "made", 7, {"model": str(tmp_path / "secret" / "step-000006"), "history": [start]})
    packed = tmp_path / "packed"
    assert main(["model", "pack", str(made), str(packed), "--command", "minimind train pretrain --steps 5"]) == 0
    text = (packed / "config.json").read_text(encoding="utf-8")
    assert "secret" not in text
    metadata = json.loads(text)["metadata"]
    assert metadata["commands"] == ["minimind train pretrain --steps 5"]
    assert [metadata["model"], metadata["history"][0]["model"]] == ["step-000006", "step-000005"]


def test_the_shipped_model_is_small_says_how_it_was_made_and_knows_its_name() -> None:
    directory = paths.shipped_models() / "nano-chat"
    assert sum(file.stat().st_size for file in directory.iterdir()) < 10_000_000
    metadata = json.loads((directory / "config.json").read_text(encoding="utf-8"))["metadata"]
    assert 0 < metadata["validation_loss"] < 0.5
    assert [command.split()[:3] for command in metadata["commands"][:2]] == [
        ["minimind", "train", "pretrain"],
        ["minimind", "train", "sft"],
    ]
    engine = Engine.open("nano-chat")
    greedy = SampleConfig(temperature=0.0, max_new_tokens=40)
    for question in ("Who are you?", "你是谁？"):
        answer = "".join(token.text for token in engine.chat([{"role": "user", "content": question}], greedy))
        assert "MiniMind" in answer
