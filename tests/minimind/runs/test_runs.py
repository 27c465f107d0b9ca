"""Making, listing, finding and deleting runs."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from minimind import paths
from minimind.config import MODEL_PRESETS, TrainConfig
from minimind.errors import UserError
from minimind.training import runs
from minimind.training.runs import RunView, create_run, delete_run, find_run, list_runs


def test_a_run_is_a_private_directory_that_says_what_was_asked(home: Path, tmp_path: Path) -> None:
    data = tmp_path / "corpus.jsonl"
    data.write_bytes(b"x" * 200_000)
    config = TrainConfig(objective="sft", data=(str(data), "embedded"), seed=7)
    run = create_run(config, name="first", parent="some-run", argv=["minimind", "train"])
    assert run.directory.parent == home / "runs" == paths.runs()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-sft-[0-9a-f]{4}", run.id)
    assert run.directory.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in run.directory.iterdir()] == ["run.json"]
    stored = json.loads((run.directory / "run.json").read_text(encoding="utf-8"))
    assert TrainConfig.from_dict(stored["config"]) == config
    assert stored["model"] == MODEL_PRESETS["nano"].to_dict()
    assert (stored["seed"], stored["argv"], stored["parent"]) == (7, ["minimind", "train"], "some-run")
    assert stored["versions"]["python"].startswith(f"{sys.version_info.major}.")
    fingerprint, embedded = stored["data"]
    assert (fingerprint["size"], embedded) == (200_000, {"source": "embedded"})
    data.write_bytes(b"x" * 199_999 + b"y")
    again = create_run(config)
    changed = json.loads((again.directory / "run.json").read_text(encoding="utf-8"))["data"][0]
    assert changed["edges_sha256"] != fingerprint["edges_sha256"]


def test_the_architecture_of_a_checkpoint_is_kept(home: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 64}')
    run = create_run(TrainConfig(model=str(tmp_path)))
    assert RunView(run.directory).request["model"] == {"hidden_size": 64}


def test_racing_makers_never_share_a_directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([b"\x00\x01"] * 40 + [bytes([0, number]) for number in range(200)])
    lock = threading.Lock()

    def token_hex(_: int) -> str:
        with lock:
            return next(draws).hex()

    monkeypatch.setattr(runs.secrets, "token_hex", token_hex)
    made: list[Path] = []
    threads = [threading.Thread(target=lambda: made.append(create_run(TrainConfig()).directory)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 20


def test_runs_are_listed_newest_first_and_strangers_left_out(home: Path) -> None:
    assert list_runs() == []
    made = [create_run(TrainConfig(), name=f"run {number}") for number in range(3)]
    (paths.runs() / "notes.txt").write_text("mine")
    (paths.runs() / "empty").mkdir()
    (paths.runs() / ".deleted-x").mkdir()
    assert [view.id for view in list_runs()] == [run.id for run in reversed(made)]


def test_a_run_is_found_by_whatever_names_it(home: Path) -> None:
    first, second = create_run(TrainConfig(), name="baseline"), create_run(TrainConfig(objective="sft"))
    tail = first.id.rpartition("-")[2]
    for text in (first.id, "baseline", first.id[:-1], tail, str(first.directory), f"{first.directory}/"):
        assert find_run(text) == first.directory
    assert find_run("last") == second.directory
    for text, said in (
        (first.id[:5], "fits 2 runs"),
        ("", "no such run"),
        ("nope\x1b[2J", "nope␛\\[2J: no such run"),
        (str(paths.runs()), "not a run"),
        ("./nowhere", "not a run"),
    ):
        with pytest.raises(UserError, match=said):
            find_run(text)


def test_without_runs_nothing_is_found(home: Path) -> None:
    with pytest.raises(UserError, match="no runs"):
        find_run("last")


@pytest.mark.parametrize("name", ["a" * 81, "a/b", "a\nb", "\x1b[2J", "‮abc"])
def test_a_name_that_would_do_harm_is_refused(home: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"name .* is not allowed"):
        create_run(TrainConfig(), name=name)
    assert list_runs() == []


def test_no_room_for_a_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="no run can be made there: Not a directory"):
        create_run(TrainConfig(), root=tmp_path / "file" / "runs")


def test_a_deleted_run_is_gone(home: Path) -> None:
    run = create_run(TrainConfig())
    (run.directory / "checkpoints" / "step-1").mkdir(parents=True)
    delete_run(run.directory)
    assert list(paths.runs().iterdir()) == []


def test_an_unreadable_run_can_be_deleted(home: Path) -> None:
    run = create_run(TrainConfig())
    (run.directory / "run.json").write_text("{")
    delete_run(run.directory)
    assert list(paths.runs().iterdir()) == []


def test_what_is_no_run_is_never_deleted(home: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "thesis"
    stranger.mkdir()
    for names in ([], ["events.jsonl"], ["run.json"]):
        for name in names:
            (stranger / name).write_text("{")
        with pytest.raises(UserError, match=r"not a run|damaged"):
            delete_run(stranger)
        assert stranger.exists()
    (stranger / "run.json").write_text('{"scripts": {}}')
    with pytest.raises(UserError, match="format None is not known"):
        delete_run(stranger)
    assert stranger.exists()


def test_a_living_run_is_not_deleted(home: Path) -> None:
    run = create_run(TrainConfig())
    descriptor = os.open(run.directory / "run.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(UserError, match=r"not deleted, it is running \(starting\): stop it first"):
        delete_run(run.directory)
    assert run.directory.exists()
    os.close(descriptor)


def test_the_reader_needs_neither_torch_nor_a_terminal() -> None:
    heavy = "{'torch', 'numpy', 'textual', 'rich', 'plotext'} & set(sys.modules)"
    program = f"import sys, minimind.training.launch, minimind.training.runs, minimind.commands.runs; print({heavy})"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=_root())
    assert answer.stdout.strip() == "set()"


def test_the_shim_needs_only_the_standard_library() -> None:
    shim = _root() / "minimind" / "training" / "shim.py"
    program = f"import runpy, sys; runpy.run_path({str(shim)!r}, run_name='shim'); print(sorted(sys.modules))"
    program = f"import sys; sys.path.append({str(_root())!r}); {program}"
    answer = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    loaded = set(json.loads(answer.stdout.replace("'", '"')))
    ours = {name for name in loaded if name.startswith("minimind")}
    assert ours == {"minimind", "minimind.training"} | {
        f"minimind.training.{name}" for name in ("control", "liveness", "oom_kills", "processes", "run_files")
    }
    foreign = {name.partition(".")[0] for name in loaded - ours} - set(sys.stdlib_module_names) - {"__main__"}
    assert foreign == set()


def _root() -> Path:
    return Path(__file__).resolve().parents[3]
