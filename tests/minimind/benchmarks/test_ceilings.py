"""What `minimind bench ceilings` measures and prints."""

from __future__ import annotations

import io
import json

import pytest
import torch

from minimind.benchmarks import ceilings
from minimind.benchmarks.ceilings import Ceilings, best_seconds, lines, measure_ceilings
from minimind.cli import main


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure for an instant and small: what is tested is that figures are measured, not how large they are."""
    monkeypatch.setattr(ceilings, "_SECONDS", 0.01)
    monkeypatch.setattr(ceilings, "_LARGEST_MATRIX", {"cpu": 512, "cuda": 512})
    monkeypatch.setattr(ceilings, "_MEMORY", 16 << 20)
    measure_ceilings.cache_clear()


def test_the_figures_are_measured_once_and_lie_between_a_slow_and_an_impossible_machine() -> None:
    found = measure_ceilings("cpu")
    assert 1e8 < found.matmul_float32 < 1e15
    assert 0 < found.matmul_bfloat16 < 1e15
    assert 1e8 < found.memory_read < 1e13
    assert found.threads == torch.get_num_threads()
    assert measure_ceilings("cpu") is found


def test_a_type_without_products_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        if one.dtype is torch.bfloat16:
            raise RuntimeError("not implemented for 'BFloat16'")
        return one @ other

    monkeypatch.setattr(torch, "mm", refuse)
    found = measure_ceilings("cpu")
    assert found.matmul_bfloat16 == 0.0
    assert found.matmul_float32 > 0
    assert "bfloat16 –" in lines(found).en


def test_the_best_of_several_runs_counts() -> None:
    runs: list[int] = []

    def work() -> None:
        runs.append(len(runs))
        if len(runs) != 3:
            torch.ones(1 << 20).sum()

    assert 0 < best_seconds(work, torch.device("cpu"), 0.0) < 0.05
    assert len(runs) == 4  # one to warm up, three that count


def test_the_line_names_every_figure_in_both_languages() -> None:
    text = lines(Ceilings(200e9, 800e9, 57.04e9, 2, "cpu"))
    for phrase in (text.en, text.zh):
        assert "200 GFLOP/s" in phrase
        assert "800 GFLOP/s" in phrase
        assert "57.0 GB/s" in phrase
    assert "2 threads" in text.en
    assert "H100" in lines(Ceilings(1.0, 1.0, 1.0, 2, "H100")).zh


def test_the_command_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "ceilings", "--device", "cpu", "--json"]) == 0
    printed = json.load(io.StringIO(capsys.readouterr().out))
    assert printed["benchmark"] == "ceilings"
    assert printed["memory_read"] > 0
