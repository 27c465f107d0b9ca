"""The lens tells what real batches hold: the same tokens, the same labels, the same cuts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minimind.cli import main
from minimind.config import TrainConfig
from minimind.data.chat import encode_dialogue
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError
from minimind.training.lens import CUT, READ, TRAINED, look


@pytest.fixture
def dialogues(tmp_path: Path) -> Path:
    path = tmp_path / "talk.jsonl"
    rows = [
        [{"role": "user", "content": "hi"}, {"role": "assistant", "content": f"a rather long answer, number {number}"}]
        for number in range(200)
    ]
    path.write_text("".join(json.dumps({"conversations": row}) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_dialogue_is_trained_where_the_assistant_speaks_and_cut_where_the_row_ends(dialogues: Path) -> None:
    config = TrainConfig(objective="sft", data=(str(dialogues),), sequence_length=20)
    (seen,) = look(config)
    (side,) = seen.sides
    tokenizer = Tokenizer.load("nano-2048")
    assert seen.used
    ids = list(side.ids)
    rows = [json.loads(line)["conversations"] for line in dialogues.read_text(encoding="utf-8").splitlines()]
    masks = {
        tuple(found): mask for found, mask in (encode_dialogue(tokenizer, row, empty_thought=False) for row in rows)
    }
    mask = masks[tuple(ids)]
    assert len(ids) > 21
    wanted = [CUT if place > 20 else TRAINED if mask[place] else READ for place in range(len(ids))]
    assert list(side.states) == wanted
    assert side.texts[0] == "<|im_start|>"
    assert side.special[0]


def test_a_sample_without_a_trained_token_that_fits_is_left_out(dialogues: Path) -> None:
    (seen,) = look(TrainConfig(objective="sft", data=(str(dialogues),), sequence_length=4), 3)
    assert not seen.used
    assert set(seen.sides[0].states) == {CUT}
    assert seen.sample == 3


def test_both_sides_of_a_pair_and_every_token_of_a_text() -> None:
    chosen, rejected = look(TrainConfig(objective="dpo", sequence_length=64))[0].sides
    assert (chosen.name, rejected.name) == ("chosen", "rejected")
    begin = next(place for place, state in enumerate(chosen.states) if state == TRAINED)
    assert chosen.ids[:begin] == rejected.ids[:begin]
    assert chosen.ids != rejected.ids
    (seen,) = look(TrainConfig(sequence_length=16))
    assert seen.sides[0].states == READ + TRAINED * (len(seen.sides[0].ids) - 1)


@pytest.mark.parametrize("objective", ["grpo", "tools"])
def test_a_prompt_is_only_read(objective: str) -> None:
    seen = look(TrainConfig(objective=objective))[0]
    assert (seen.kind, seen.used) == ("prompt", True)
    assert set(seen.sides[0].states) == {READ}
    assert "user" in seen.sides[0].texts


def test_only_the_beginning_of_a_large_file_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    line = json.dumps({"text": "fox " * 250}) + "\n"
    path.write_text(line * 3000, encoding="utf-8")
    seen = look(TrainConfig(data=(str(path),)), 2, 3)
    assert [one.sample for one in seen] == [2, 3, 4]
    assert 900 < seen[0].count < 1100
    with pytest.raises(UserError, match="were looked at"):
        look(TrainConfig(data=(str(path),)), 5000)


def test_the_command_prints_a_line_a_token(dialogues: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lens", "sft", "--model", "nano", "--data", str(dialogues), "--sequence-length", "20"]) == 0
    text = capsys.readouterr().out
    assert "●" in text
    assert "do not fit (✂)" in text
    assert main(["lens", "dpo", "--model", "nano", "--count", "2", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["sample"] for line in lines] == [1, 2]
    assert main(["lens", "sft", "--model", "nano", "--sample", "0"]) == 2
