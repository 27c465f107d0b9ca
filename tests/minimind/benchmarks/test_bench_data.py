"""`minimind bench data`: the figures of a small file, and that both sides made the same tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from minimind.benchmarks import data
from minimind.benchmarks.reference import EpochTimes
from minimind.cli import main
from minimind.data import corpus
from tests.minimind.benchmarks.checkout import make_checkout


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    corpus.write_jsonl("pretrain", path, rows=60)
    return path


def test_the_command_compares_three_ways_to_the_same_tokens(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    command = ["bench", "data", str(file), "--repeat", "1", "--processes", "1", "--against", str(checkout), "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] == file.stat().st_size
    assert found["tokens"] > 60 * 3
    assert found["ratio_to_plain"] == pytest.approx(found["plain_seconds"] / found["seconds"], rel=0.2)
    assert found["ratio"] == pytest.approx(found["reference_epoch_seconds"] / found["seconds"], rel=0.2)
    assert found["ratio_first_epoch"] < found["ratio"]
    assert 1 << 20 < found["peak_memory"] < 1 << 30


def test_ours_and_the_plain_loop_make_the_same_tokens(file: Path, tmp_path: Path) -> None:
    ours = data.measure_ours(file, "", tmp_path / "cache", 1)
    plain = data.measure_plain(file, "", tmp_path / "cache", 1)
    assert ours["tokens"] == plain["tokens"]
    (directory,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    parts = [np.fromfile(directory / part / "tokens.bin", dtype=np.uint16) for part in ("train", "validation")]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.sort(np.load(tmp_path / "cache" / "plain.npy")))


def test_ratios_are_medians_within_a_round() -> None:
    ours = [{"seconds": s, "tokens": 10, "peak_memory": 5, "epoch_seconds": 1.0} for s in (1.0, 2.0, 4.0)]
    plain = [{"seconds": s, "peak_memory": 7} for s in (3.0, 4.0, 40.0)]
    theirs = [EpochTimes(0.5, (s,), 3, 9, 11) for s in (8.0, 8.0, 8.0)]
    found = data._summary(2_000_000, 2, ours, plain, theirs)
    assert found["ratio_to_plain"] == 3.0
    assert found["ratio"] == 4.0
    assert found["ratio_first_epoch"] == pytest.approx(2.67)
    assert found["ratio_later_epochs"] == 8.0
    assert found["megabytes_per_second"] == 1.0
    assert found["tokens_per_second"] == 5
    text = data._text(found)
    assert "4.0× as fast to prepare" in text.en
    assert "准备数据快 4.0 倍" in text.zh


@pytest.mark.parametrize("flag", ["--repeat", "--processes", "--megabytes"])
def test_nothing_to_measure_is_said(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "data", flag, "0"]) == 2
    assert "must be above 0" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert main(["bench", "data", str(empty), "--repeat", "1"]) == 2
    assert "is empty" in capsys.readouterr().err
