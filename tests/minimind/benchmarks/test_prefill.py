"""`minimind bench prefill`: prompts, starts and imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from minimind.benchmarks import ceilings, prefill
from minimind.cli import main


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "_SECONDS", 0.01)
    monkeypatch.setattr(ceilings, "_LARGEST_MATRIX", {"cpu": 256})
    monkeypatch.setattr(ceilings, "_MEMORY", 4 << 20)


def test_the_command_measures_prompts_a_start_and_the_imports(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "prefill", "nano", "--prompt", "64", "--repeat", "1", "--starts", "1", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["benchmark"] for one in told] == ["ceilings", "prefill", "prefill", "start", "imports"]
    float32, bfloat16, start, imports = told[1:]
    assert (float32["dtype"], bfloat16["dtype"]) == ("float32", "bfloat16")
    assert float32["tokens_per_second"] == pytest.approx(64 / float32["seconds"], rel=0.5)
    assert 0 < start["import"] + start["open"] + start["token"] < start["seconds"]
    assert next(iter(imports["packages"])) == "torch"


def test_the_reference_is_asked_in_turn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked: list[str] = []

    class FakeReference:
        def __init__(self, checkout: Path) -> None:
            assert checkout == tmp_path

        def __enter__(self) -> FakeReference:
            return self

        def __exit__(self, *_: object) -> None:
            asked.append("closed")

        def prefill(self, config: object, prompt: list[int], *, weights: Path) -> float:
            assert len(prompt) == 16
            assert weights.exists()
            asked.append("prefill")
            return 10.0

    monkeypatch.setattr(prefill, "Reference", FakeReference)
    command = ["bench", "prefill", "nano", "--prompt", "16", "--repeat", "2", "--starts", "0"]
    assert main([*command, "--against", str(tmp_path)]) == 0
    assert asked == ["prefill"] * 3 + ["closed"]  # one to warm up
    assert "the reference 10000 ms" in capsys.readouterr().out


def test_import_costs_are_summed_by_package() -> None:
    told = "import time: self [us] | cumulative | imported package\nimport time:   100 |   100 |   torch._C\n"
    told += "import time:   200 |   300 | torch\nimport time:    50 |    50 | numpy.core\nother\n"
    assert prefill.import_costs(told) == pytest.approx({"torch": 300e-6, "numpy": 50e-6})


def test_chat_imports_nothing_that_it_does_not_need() -> None:
    statement = "import minimind.inference.engine, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", statement], capture_output=True, check=True, text=True
    ).stdout.split()
    foreign = {
        "transformers",
        "datasets",
        "pandas",
        "sklearn",
        "scipy",
        "matplotlib",
        "textual",
        "rich",
        "huggingface_hub",
    }
    assert "torch" in loaded
    assert not foreign & set(loaded)


def test_a_prompt_longer_than_the_context_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "prefill", "nano", "--prompt", "5000"]) == 2
    assert "below the model's 2048 positions" in capsys.readouterr().err
