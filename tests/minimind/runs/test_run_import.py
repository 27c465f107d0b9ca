"""Console logs of the released trainers become runs that can be looked at and compared."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from minimind import cli
from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.training.compare import aligned_series, config_differences
from minimind.training.queue import enqueue
from minimind.training.run_import import import_log, read_log
from minimind.training.runs import RunView, create_run, delete_run, status_of

PRETRAIN = """Model Params: 25.83M
Epoch:[1/2](100/1000), loss: 7.5366, logits_loss: 7.5000, aux_loss: 0.0366, lr: 0.00050000, epoch_time: 90.0min
[progress] 12%\rEpoch:[1/2](500/1000), loss: 3.2, logits_loss: 3.1, aux_loss: 0.1, lr: 0.00040000, epoch_time: 50.0min
Epoch:[2/2](500/1000), loss: nan, logits_loss: nan, aux_loss: 0.1, lr: 0.00005000, epoch_time: 50.0min
Epoch:[2/2](oops
Epoch:[3/2](1/1000), loss: 1.0
Epoch:[2/2](400/1000), loss: 1.0, lr: 0.1
Epoch:[2/2](1000/1000), loss: 2.0, logits_loss: 1.9, aux_loss: 0.1, lr: 0.00005000, epoch_time: 0.0min
"""
OLDER = "Epoch:[1/1](0/3000) loss:8.939 lr:0.000550000000 epoch_Time:30.0min:\n"
PPO = (
    "Epoch:[1/1](10/500), Reward: -0.2500, KL_ref: 0.0123, Approx KL: 0.0010, ClipFrac: 0.0500, Critic Loss: 0.4000, "
    "Avg Response Len: 812.50, Actor LR: 0.00000030, Critic LR: 0.00000050\n"
)


def written(tmp_path: Path, text: str, name: str = "train.log") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_pretraining_log(home: Path, tmp_path: Path) -> None:
    directory, log = import_log(written(tmp_path, PRETRAIN))
    assert (len(log.steps), log.bad, log.epochs) == (4, 2, 2)
    view = RunView(directory)
    view.refresh()
    assert view.series["loss"].x == [100, 500, 1500, 2000]
    assert view.series["loss"].y[0] == 7.5
    assert view.series["total_loss"].y[0] == 7.5366
    assert view.series["load_balancing_loss"].y[-1] == 0.1
    assert view.series["eta_seconds"].y[0] == 5400
    assert aligned_series(view, "loss", "time").x[:3] == [600.0, 3000.0, 9000.0]
    assert (view.name, view.config.objective, view.config.epochs) == ("train", "pretrain", 2.0)
    assert view.config.learning_rate == 5e-4


def test_it_counts_as_finished_and_is_never_started(home: Path, tmp_path: Path) -> None:
    directory, _ = import_log(written(tmp_path, PRETRAIN), name="released")
    status = status_of(directory)
    assert (status.state, status.live, status.resumable) == ("finished", False, False)
    assert status.reason.en == "read from the log train.log: 4 records, 2 bad lines"
    with pytest.raises(UserError, match="cannot wait"):
        enqueue(directory)
    ours = create_run(TrainConfig(learning_rate=1e-3)).directory
    differing = dict(config_differences([RunView(directory), RunView(ours)]))
    assert differing["learning_rate"] == (5e-4, 1e-3)
    assert differing["batch_size"] == (None, 16)
    delete_run(directory)
    assert not directory.exists()


def test_an_older_log_and_one_of_reinforcement_learning(home: Path, tmp_path: Path) -> None:
    assert read_log(written(tmp_path, OLDER)).steps == [
        (0, 0.0, {"loss": 8.939, "learning_rate": 0.00055, "eta_seconds": 1800.0})
    ]
    directory, log = import_log(written(tmp_path, PPO))
    assert log.steps[0][2] == {
        "reward": -0.25,
        "kl": 0.0123,
        "approximate_kl": 0.001,
        "clip_fraction": 0.05,
        "value_loss": 0.4,
        "answer_length": 812.5,
        "learning_rate": 3e-7,
        "critic_learning_rate": 5e-7,
    }
    assert RunView(directory).config.objective == "ppo"


def test_what_is_no_log_is_refused(home: Path, tmp_path: Path) -> None:
    for content in ("", "Epoch:[1/2](1/1000)\n", "nothing here\n" * 3):
        with pytest.raises(UserError, match=r"no line of a trainer's log"):
            import_log(written(tmp_path, content))
    with pytest.raises(UserError, match="No such file"):
        import_log(tmp_path / "none.log")
    with pytest.raises(UserError, match="cannot be read"):
        import_log(tmp_path)
    assert not (home / "runs").exists()


def test_hostile_bytes_never_break_it(home: Path, tmp_path: Path) -> None:
    draw = random.Random(5)
    pieces = [
        PRETRAIN.encode(),
        PPO.encode(),
        b"\x00\xff\x1b]52;c;aGk=\x07",
        b"Epoch:[9/9](",
        b"1e999, x: 9" * 50,
        b"\n",
    ]
    for _ in range(60):
        content = b"".join(draw.choice(pieces) for _ in range(draw.randrange(1, 12)))
        cut = bytearray(content[: draw.randrange(1, len(content) + 1)])
        for _ in range(5):
            cut[draw.randrange(len(cut))] = draw.randrange(256)
        path = tmp_path / "x.log"
        path.write_bytes(cut)
        try:
            directory, _ = import_log(path, root=tmp_path / "runs")
        except UserError:
            continue
        view = RunView(directory)
        view.refresh()
        assert view.bad_records == view.unknown_records == 0
        assert all(name.isascii() and name.replace("_", "").isalpha() for name in view.series)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "COMMANDS", ("runs",))
    path = written(tmp_path, PRETRAIN, "\x1b[2Jmine.log")
    assert cli.main(["runs", "import", str(path), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["records"], data["bad_lines"]) == (4, 2)
    assert cli.main(["runs", "show", data["id"]]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert cli.main(["runs", "export", "last", "--out", str(tmp_path / "out.csv"), "--names", "released"]) == 0
    assert "4 steps written" in capsys.readouterr().out
    assert (tmp_path / "out.csv").read_text().splitlines()[0].startswith("step,time,")
    assert cli.main(["runs", "import", str(tmp_path / "none"), "--lang", "zh"]) == 2
    assert "无法读取" in capsys.readouterr().err
