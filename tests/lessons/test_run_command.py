"""``python -m lessons run`` and ``notebook``: budgets, predictions, kept results, files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from lessons.__main__ import build_parser
from lessons.notebook import read_entries
from lessons.progress import Progress
from minimind import paths
from minimind.cli import main
from tests.lessons.results_sample import two_arms


def run(*arguments: str) -> int:
    return main(list(arguments), build_parser)


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """`two_arms` in place of an experiment of the lesson on normalization."""
    from lessons import run_command

    file = run_command.experiment_files()["depth_signal"]
    monkeypatch.setattr(run_command, "experiment_files", lambda: {"two_arms": file})
    monkeypatch.setattr(run_command, "load_experiment", lambda _name: two_arms)


@pytest.mark.usefixtures("sample")
def test_a_budget_sets_the_values_and_set_comes_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", "two_arms", "--budget", "quick", "--set", "tied=true") == 0
    captured = capsys.readouterr()
    assert "own values (steps 10, seeds 1, tied yes)" in captured.out
    assert "---- floor 1" in captured.out
    assert "✗ refuted (1 seed)  a ends lower" in captured.out
    assert run("run", "two_arms", "--budget", "deep", "--lang", "zh") == 0
    assert "深入（步数 100, 种子数 5, 绑定 否）" in capsys.readouterr().out
    assert run("run", "two_arms", "--budget", "huge") == 2
    assert "quick | standard | deep" in capsys.readouterr().err


@pytest.mark.usefixtures("sample")
def test_the_same_run_is_not_computed_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", "two_arms") == 0
    first = capsys.readouterr()
    assert "kept from" not in first.err
    assert run("run", "two_arms") == 0
    second = capsys.readouterr()
    assert "(--anew computes it again)" in second.err
    assert second.out == first.out
    assert run("run", "two_arms", "--json") == 0
    kinds = {json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()}
    assert kinds >= {"scalars", "level", "band", "claim", "table", "heatmap"}
    assert len(read_entries("normalization")) == 1
    assert run("run", "two_arms", "--anew") == 0
    assert "kept from" not in capsys.readouterr().err
    assert len(read_entries("normalization")) == 2


@pytest.mark.usefixtures("sample")
def test_a_number_is_predicted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("run", "two_arms", "--predict", "30.5") == 0
    assert "You said: 30.5 %\nIt was:   35 % ✓" in capsys.readouterr().out
    assert Progress.load().lesson("normalization").guesses == {"two_arms": 30.5}
    assert run("run", "two_arms", "--predict", "200") == 2
    assert "a number 0…100" in capsys.readouterr().err

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("90\n"))
    assert run("run", "two_arms", "--lang", "zh") == 0
    captured = capsys.readouterr()
    assert "你的预测（0…100 %）？" in captured.err
    assert "实际结果：35 % ✗" in captured.out
    monkeypatch.setattr("sys.stdin", Terminal("many\n"))
    assert run("run", "two_arms") == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("the prediction is a number")


@pytest.mark.usefixtures("sample")
def test_results_are_saved_where_one_says(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for ending, begins in (("jsonl", '{"experiment": "two_arms"'), ("txt", "Two arms\n"), ("svg", "<svg ")):
        target = tmp_path / "new" / f"x.{ending}"
        assert run("run", "two_arms", "--out", str(target)) == 0
        assert str(target) in capsys.readouterr().err
        assert target.read_text(encoding="utf-8").startswith(begins)
    assert run("run", "two_arms", "--out", "svg") == 0
    (file,) = paths.exports().glob("*/results.svg")
    assert str(file) in capsys.readouterr().err
    assert run("run", "two_arms", "--out", "x.png") == 2
    assert "end it in .jsonl, .txt, .svg" in capsys.readouterr().err


@pytest.mark.usefixtures("sample")
def test_the_cost_is_told_and_the_notebook_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lessons.recorded import Recording

    recording = Recording({}, (), "torch", {"standard": 40.0})
    monkeypatch.setattr("lessons.run_command.load_recordings", lambda _path: {"two_arms": recording})
    assert run("run", "two_arms") == 0
    assert "about 40 s of computing …" in capsys.readouterr().err
    assert run("notebook", "normalization") == 0
    captured = capsys.readouterr()
    assert "· Two arms\n\nWhich is lower?" in captured.out
    assert captured.err.strip() == str(paths.notebooks() / "normalization.md")
    assert run("notebook", "gravity") == 2
