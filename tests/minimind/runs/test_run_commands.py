"""``minimind runs …`` as a person and as a script sees it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minimind import cli
from minimind.commands.columns import cell_width, in_columns
from minimind.commands.output import Output
from minimind.commands.run_text import event_line, figures
from minimind.config import TrainConfig
from minimind.events import Alert, Claim, Heatmap, Mark, Note, Progress, Sample, Scalars, Text
from minimind.training import launch
from minimind.training.runs import Recorder, create_run, status_of
from minimind.training.tail import last_records

ROOT = Path(__file__).resolve().parents[3]
Runs = Callable[..., tuple[int, str, str]]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runs:
    """Run a command; returns its exit status, stdout and stderr."""
    monkeypatch.setattr(cli, "COMMANDS", ("runs",))

    def call(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(["runs", *arguments])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def finished(home: Path) -> Path:
    """A run with a past."""
    directory = create_run(TrainConfig(batch_size=8), name="第一次").directory
    checkpoint = directory / "checkpoints" / "step-000002"
    checkpoint.mkdir(parents=True)
    (checkpoint / "MANIFEST.json").write_bytes(b"x" * 1500)
    with Recorder(directory) as recorder:
        recorder.record(Mark("started", 0))
        recorder.record(Scalars(1, {"loss": 7.5, "learning_rate": 0.003}))
        recorder.record(Sample(1, "从前", "a\x1b[31m cat\n"))
        recorder.record(Alert("warning", "odd", Text("odd", "怪"), 1))
        recorder.record(Scalars(2, {"loss": float("nan")}))
        recorder.finish({"outcome": "finished"})
    return directory


def lines_of_json(text: str) -> list[dict[str, Any]]:
    return [
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        for line in text.split("\n")[:-1]
    ]


def test_a_list_says_where_each_run_is(runs: Runs, finished: Path) -> None:
    create_run(TrainConfig())
    (finished.parent / "broken").mkdir()
    (finished.parent / "broken" / "run.json").write_text("{")
    status, out, err = runs("list")
    assert (status, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert "finished" in rows[finished.name]
    assert rows[finished.name].endswith("第一次")
    assert "unreadable" in rows["broken"]
    data = {item["id"]: item for item in lines_of_json(runs("list", "--json")[1])}
    assert data[finished.name]["state"] == "finished"
    assert data[finished.name]["latest"] == {"loss": None, "learning_rate": 0.003}
    assert data["broken"]["reason"]["zh"]
    assert "已完成" in runs("list", "--lang", "zh")[1]


def test_no_runs_is_no_error(runs: Runs, home: Path) -> None:
    assert runs("list") == (0, "", "no runs yet: minimind train starts one\n")
    assert runs("list", "--json") == (0, "", "")


def test_one_run_is_shown_whole(runs: Runs, finished: Path) -> None:
    status, out, _ = runs("show", "last")
    assert status == 0
    for part in ("finished: all steps are done", "step 2", "batch_size", "1.5 kB", str(finished)):
        assert part in out
    (data,) = lines_of_json(runs("show", "第一次", "--json")[1])
    assert data["config"]["batch_size"] == 8
    assert data["checkpoints"][0]["step"] == 2
    assert "已完成：全部步骤已完成" in runs("show", finished.name, "--lang", "zh")[1]


def test_a_failure_is_shown_with_the_end_of_its_log(runs: Runs, run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory, die=3))
    until(lambda: not status_of(run_directory).live)
    status, out, _ = runs("show", run_directory.name)
    assert status == 0
    assert "  | ValueError: made to fail ␛[31m\n" in out
    status, out, _ = runs("watch", run_directory.name, "--json")
    assert status == 1
    assert lines_of_json(out)[-1]["state"] == "failed"


def test_watching_prints_what_comes_and_ends_with_the_run(runs: Runs, run_directory: Path, fake) -> None:
    launch.launch(run_directory, command=fake(run_directory, steps=30))
    status, out, _ = runs("watch", "last")
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "step 0  — started"
    assert [line for line in lines if line.startswith("step 30 ")] == ["step 30  loss 0.3333", "step 30  — ended"]
    assert lines[-1] == "finished: all steps are done"
    *events, last = lines_of_json(runs("watch", "last", "--json")[1])
    assert [event["x"] for event in events if event["kind"] == "scalars"] == list(range(1, 31))
    assert (last["kind"], last["state"]) == ("status", "finished")


def test_a_person_sees_what_is_waited_for_and_why_it_failed_once(runs: Runs, run_directory: Path) -> None:
    loading, reading, training = Text("loading", "加载"), Text("reading", "读取"), Text("training", "训练")
    said = Text("the file is empty", "文件是空的")
    with Recorder(run_directory) as recorder:
        for event in (
            Progress(0, None, loading),
            Progress(1, 4, reading),
            Progress(2, 4, reading),
            Progress(1, 9, training),
            Alert("error", "failed", Text("an earlier start", "更早的一次")),
            Mark("started", 0),
            Alert("error", "failed", said),
        ):
            recorder.record(event)
        recorder.finish({"outcome": "failed", "text": {"en": said.en, "zh": said.zh}, "step": 0})
    (run_directory / "log.txt").write_text(said.en + "\n")
    status, out, _ = runs("watch", "last")
    assert status == 1
    assert out.splitlines()[:4] == ["loading …", "reading 25 % …", "! an earlier start", "step 0  — started"]
    assert out.count("the file is empty") == 1
    assert runs("watch", "last", "--json")[1].count('"kind": "alert"') == 2


def test_what_a_run_wrote_cannot_drive_the_terminal(runs: Runs, finished: Path) -> None:
    out = runs("watch", "last")[1]
    assert "从前 ▸ a␛[31m cat⏎" in out
    assert "\x1b" not in out


def test_without_following_the_past_is_printed_and_no_more(runs: Runs, run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory))
    until(lambda: len(last_records(run_directory / "events.jsonl", 1000)) > 2)
    status, out, _ = runs("watch", "last", "--no-follow")
    assert status == 0
    assert out.splitlines()[-1] == "running: training"
    assert status_of(run_directory).state == "running"


def test_ctrl_c_leaves_the_run_going_and_says_so(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory))
    program = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from minimind import cli; cli.COMMANDS = ('runs',); sys.exit(cli.main())"
    watcher = subprocess.Popen(
        [sys.executable, "-c", program, "runs", "watch", run_directory.name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert watcher.stdout is not None
    watcher.stdout.readline()
    watcher.send_signal(signal.SIGINT)
    _, err = watcher.communicate(timeout=30)
    assert watcher.returncode == 130
    assert f"{run_directory.name} goes on" in err
    assert status_of(run_directory).state == "running"


def test_wishes_are_passed_on(runs: Runs, run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory))
    assert runs("pause", "last")[0] == 0
    until(lambda: status_of(run_directory).state == "paused")
    assert runs("list")[1].splitlines()[1].split()[1] == "paused"
    assert runs("resume", "last")[0] == 0
    until(lambda: status_of(run_directory).state == "running")
    assert runs("save", "last")[0] == 0
    until(lambda: '"what":"saved"' in (run_directory / "events.jsonl").read_text())
    status, out, _ = runs("stop", "last", "--wait")
    assert status == 0
    assert out.startswith("stopped: stopped as asked, and saved")
    for command in ("pause", "save", "stop"):
        status, out, err = runs(command, "last")
        assert (status, out) == (2, "")
        assert "is not running" in err


def test_a_stopped_run_is_started_again(
    runs: Runs, run_directory: Path, fake, until, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch.launch(run_directory, command=fake(run_directory))
    assert runs("stop", "last", "--now", "--wait")[0] == 0
    monkeypatch.setattr(launch, "trainer_command", lambda directory, order: fake(directory, steps=10))
    assert runs("resume", "last")[0] == 0
    until(lambda: status_of(run_directory).state == "finished")
    status, _, err = runs("resume", "last")
    assert status == 2
    assert "start a new run from its checkpoint" in err


def test_deleting_asks_first(runs: Runs, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Person(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    status, _, err = runs("rm", "last")
    assert status == 2
    assert "add --yes" in err
    for answer in ("\n", "n\n", ""):
        monkeypatch.setattr(sys, "stdin", Person(answer))
        status, _, err = runs("rm", "last")
        assert status == 2
        assert "nothing was deleted" in err
    assert finished.exists()
    monkeypatch.setattr(sys, "stdin", Person("y\n"))
    assert runs("rm", "last", "--json")[1] == json.dumps({"deleted": str(finished)}) + "\n"
    assert not finished.exists()


def test_several_are_deleted_or_none(runs: Runs, home: Path) -> None:
    first, second = (create_run(TrainConfig()).directory for _ in range(2))
    assert runs("rm", first.name, "nobody", "--yes")[0] == 2
    assert first.exists()
    assert runs("rm", first.name, second.name, "last", str(first), "--yes")[0] == 0
    assert not first.exists()
    assert not second.exists()


def test_two_runs_are_compared(runs: Runs, finished: Path) -> None:
    other = create_run(TrainConfig(learning_rate=0.5)).directory
    with Recorder(other) as recorder:
        recorder.record(Scalars(1, {"loss": 3.0, "tokens": 5}))
        recorder.record(Scalars(2, {"loss": 4.0}))
    (data,) = lines_of_json(runs("compare", finished.name, other.name, "--json")[1])
    assert data["config"] == {"batch_size": [8, 16], "learning_rate": [0.003, 0.5]}
    assert data["last"]["loss"] == [None, 4.0]
    assert data["least"]["loss"] == [7.5, 3.0]
    assert "tokens" not in data["last"]
    rows = [line.split() for line in runs("compare", finished.name, other.name)[1].splitlines()]
    assert ["run", finished.name, other.name] in rows
    assert ["batch_size", "8", "16"] in rows
    assert ["learning_rate", "0.003", "0.5"] in rows
    assert ["loss", "(lowest)", "7.500", "3.000"] in rows


def test_several_runs_are_drawn_over_what_they_read(runs: Runs, home: Path) -> None:
    names = []
    for batch in (1, 2, 4):
        directory = create_run(TrainConfig(batch_size=batch)).directory
        names.append(directory.name)
        with Recorder(directory) as recorder:
            for step in range(1, 21):
                recorder.record(Scalars(step, {"loss": 100.0 / (step * batch), "tokens": step * batch * 100.0}))
    status, out, err = runs("compare", *names, "--by", "tokens", "--log", "--smooth", "0.5", "--lang", "zh")
    assert (status, err) == (0, "")
    assert out.startswith("损失\n* 1 ")
    assert "词元" in out
    (data,) = lines_of_json(runs("compare", *names, "--by", "tokens", "--json")[1])
    xs, ys = data["curves"]["loss"][2]
    assert (xs[0], xs[-1], ys[-1]) == (400.0, 8000.0, 1.25)
    assert "|" not in runs("compare", *names, "--no-chart")[1]
    for wrong, said in (
        (["--smooth", "1"], "--smooth 1 is not allowed"),
        (["--series", "lose"], "no run has a curve lose: they have loss, tokens"),
        (["--by", "epochs"], "epochs"),
    ):
        status, _, err = runs("compare", *names, *wrong)
        assert status == 2
        assert said in err
    assert runs("compare", names[0])[0] == 2


def test_a_record_that_cannot_be_read_is_one_line(runs: Runs, run_directory: Path) -> None:
    (run_directory / "events.jsonl").mkdir()
    for command in (["show", "last"], ["watch", "last"], ["compare", "last", "last"]):
        status, _, err = runs(*command)
        assert status == 2
        assert "its records cannot be read: Is a directory" in err


def test_a_named_pipe_does_not_hang_a_reader(runs: Runs, run_directory: Path) -> None:
    for name in ("exit.json", "final.json", "proc.json", "log.txt", "control.json"):
        os.mkfifo(run_directory / name)
    assert runs("show", "last")[0] == 0


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("abc", 3), ("猫", 2), ("第 1 步", 7), ("e\u0301", 1), ("：", 2), ("·", 1)]
)
def test_cells_are_counted(text: str, width: int) -> None:
    assert cell_width(text) == width


def test_columns_stand_below_each_other() -> None:
    assert in_columns([["猫", "1"], ["abcd", "22"], ["x"]]) == "猫    1\nabcd  22\nx"
    assert in_columns([]) == ""


def outputs() -> tuple[Output, Output]:
    """An English and a Chinese one."""
    english, chinese = (
        Output(as_json=False, language=language, stdout=io.StringIO(), stderr=io.StringIO())
        for language in ("en", "zh")
    )
    return english, chinese


def test_the_figures_of_a_step_are_a_sentence_for_a_person() -> None:
    english, chinese = outputs()
    values = {
        "loss": 7.6582,
        "learning_rate": 0.003,
        "gradient_norm": 3.0637,
        "tokens_per_second": 3123.4,
        "memory_bytes": 6.492e08,
        "tokens": 2303.0,
        "eta_seconds": 113.5,
        "\x1b[2Jmine": 1.25,
    }
    assert figures(values, english) == (
        "loss 7.658 · learning rate 0.00300 · gradient 3.064 · 3.1 k tokens/s · 649 MB · 1.9 min left · ␛[2Jmine 1.250"
    )
    assert figures(values, chinese) == (
        "损失 7.658 · 学习率 0.00300 · 梯度范数 3.064 · 3.1 k 词元/秒 · 649 MB · 剩余 1.9 分 · ␛[2Jmine 1.250"
    )
    assert figures({"validation_loss": 7.0, "validation_bits_per_byte": 2.867}, english) == (
        "held-out loss 7.000 · 2.867 bits/byte"
    )


def test_every_kind_of_record_has_its_line_in_both_languages() -> None:
    both = Text("hello", "你好")
    english, chinese = outputs()
    for event, en, zh in (
        (Scalars(5, {"loss": 1.5}), "step 5  loss 1.500", "第 5 步  损失 1.500"),
        (Scalars(5, {"norm": 1.5}, axis="layer"), "layer 5  norm 1.500", "layer 5  norm 1.500"),
        (Sample(5, "a", "b"), "step 5  a ▸ b", "第 5 步  a ▸ b"),
        (Alert("error", "nan", both, 5), "step 5  ! hello", "第 5 步  ! 你好"),
        (Alert("info", "nan", both), "! hello", "! 你好"),
        (Mark("saved", 5), "step 5  — saved", "第 5 步  — 已保存"),
        (Note(both), "hello", "你好"),
        (Claim("id", both, {}, True), "hello", "你好"),
        (Progress(1, 2), None, None),
        (Progress(1, 4, both), "hello 25 % …", "你好 25 % …"),
        (Progress(0, None, both), "hello …", "你好 …"),
        (Heatmap("h", ()), None, None),
    ):
        assert event_line(event, english) == en
        assert event_line(event, chinese) == zh


def test_runs_are_named_tagged_and_filtered(runs: Runs, finished: Path) -> None:
    other = create_run(TrainConfig()).directory
    assert runs("rename", finished.name, "fox")[1].splitlines() == [finished.name, "name: fox"]
    assert runs("tag", "fox", "good", "bad", "--remove", "bad")[0] == 0
    (data,) = lines_of_json(runs("note", "fox", "looks well", "--json")[1])
    assert data == {"id": finished.name, "name": "fox", "note": "looks well", "tags": ["good"]}
    listed = [item["id"] for item in lines_of_json(runs("list", "--filter", "tag:good", "--json")[1])]
    assert listed == [finished.name]
    assert [item["id"] for item in lines_of_json(runs("list", "--filter=-tag:good", "--json")[1])] == [other.name]
    assert "note: looks well" in runs("show", "fox")[1]
    assert runs("list", "--filter", "tag:none")[2] == "no run fits the filter\n"
    assert runs("list", "--filter", "tga:x")[0] == 2


def test_a_run_is_diagnosed(runs: Runs, finished: Path) -> None:
    assert runs("diagnose", finished.name)[2] == "nothing stands out in the 2 steps so far\n"
    with Recorder(finished) as recorder:
        recorder.record(Alert("warning", "not-finite", Text("…", "…"), 2))
    (data,) = lines_of_json(runs("diagnose", finished.name, "--json")[1])
    assert (data["code"], data["severity"], data["lesson"]) == ("rate-too-high", "error", "pretraining")
    out = runs("diagnose", finished.name)[1]
    assert out.startswith("error: the learning rate is too high\n")
    assert "→ start again with learning_rate 0.00100" in out


def test_the_machine_is_shown(runs: Runs, finished: Path) -> None:
    (data,) = lines_of_json(runs("machine", "--json")[1])
    assert data["runs"] == {}
    assert 0 < data["memory_used"] < data["memory_total"]
    rows = runs("machine", "--lang", "zh")[1].splitlines()
    assert rows[0].startswith("CPU")
    assert rows[1].startswith("内存")
