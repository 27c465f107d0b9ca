"""Names, notes and tags beside a run, and choosing runs by them."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.training.about import NOTE_LIMIT, About, read_about
from minimind.training.run_filter import parse_filter
from minimind.training.runs import (
    Recorder,
    RunView,
    change_tags,
    create_run,
    find_run,
    list_runs,
    rename_run,
    set_note,
)


def test_a_run_is_renamed_noted_and_tagged_while_views_of_it_are_open(home: Path) -> None:
    directory = create_run(TrainConfig(), name="first").directory
    view = RunView(directory)
    assert (view.name, view.about) == ("first", About())
    rename_run(directory, " 第二次 ")
    set_note(directory, "a note\nof two lines")
    change_tags(directory, ["b", "a", "基线"])
    change_tags(directory, ["c"], remove=["b", "never"])
    assert view.name == "第二次"
    assert view.about == About("第二次", "a note\nof two lines", ("a", "c", "基线"))
    assert find_run("第二次") == directory
    rename_run(directory, "")
    assert view.name == ""
    assert json.loads((directory / "run.json").read_text())["name"] == "first"


@pytest.mark.parametrize("tag", ["", "two words", "a,b", "a:b", "-a", '"', "x" * 41, "\x1b[2J"])
def test_a_tag_that_a_filter_could_not_name_is_refused(run_directory: Path, tag: str) -> None:
    with pytest.raises(UserError, match="is not allowed"):
        change_tags(run_directory, [tag])
    assert read_about(run_directory) == About()


def test_too_much_is_refused(run_directory: Path) -> None:
    for wrong in ("x" * 81, "a/b", "\x07"):
        with pytest.raises(UserError, match="is not allowed"):
            rename_run(run_directory, wrong)
    with pytest.raises(UserError, match="10,001 characters"):
        set_note(run_directory, "x" * (NOTE_LIMIT + 1))
    with pytest.raises(UserError, match="51 tags"):
        change_tags(run_directory, [f"tag{number}" for number in range(51)])


def test_a_strangers_file_is_not_believed(run_directory: Path) -> None:
    path = run_directory / "about.json"
    path.write_text(json.dumps({"name": "\x1b[2Jx", "note": "\x9b31m", "tags": ["ok", 3, "-no", "\x1b", None]}))
    about = read_about(run_directory)
    assert about.tags == ("ok",)
    assert not any(character in (about.name or "") + about.note for character in "\x1b\x9b")
    for content in ("[]", "{", '{"name": 1, "tags": {}, "note": []}'):
        path.write_text(content)
        assert read_about(run_directory) == About()


def _tag_many(directory: Path, letter: str) -> None:
    for number in range(10):
        change_tags(directory, [f"{letter}{number}"])


def test_two_windows_lose_none_of_each_others_words(run_directory: Path) -> None:
    processes = [multiprocessing.Process(target=_tag_many, args=(run_directory, letter)) for letter in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert len(read_about(run_directory).tags) == 20


def test_a_directory_that_refuses_is_one_line(run_directory: Path) -> None:
    (run_directory / "about.lock").mkdir()
    with pytest.raises(UserError, match="cannot be changed: Is a directory"):
        rename_run(run_directory, "x")


@pytest.fixture
def three(home: Path) -> dict[str, Path]:
    """A finished pretraining, a failed fine-tuning, and one never started."""
    configs = {
        "one": TrainConfig(objective="pretrain"),
        "two": TrainConfig(objective="sft", model="mini"),
        "three": TrainConfig(objective="sft", device="cpu"),
    }
    made = {name: create_run(config, name=name).directory for name, config in configs.items()}
    for name, outcome in (("one", "finished"), ("two", "failed")):
        with Recorder(made[name]) as recorder:
            recorder.finish({"outcome": outcome})
    change_tags(made["one"], ["baseline", "Fox"])
    set_note(made["two"], "A wolf, not a fox")
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "one two three"),
        ("state:finished", "one"),
        ("state:finished,failed", "one two"),
        ("-state:finished", "two three"),
        ("state:live", ""),
        ("tag:fox", "one"),
        ("fox", "one two"),
        ("fox -tag:baseline", "two"),
        ("objective:sft state:created", "three"),
        ("model:mini", "two"),
        ("device:cpu", "three"),
        ('"not a fox"', "two"),
        ('note:"a wolf"', "two"),
        ("name:t", "two three"),
        ("  TAG:x", ""),
        ("one two", ""),
    ],
)
def test_runs_are_chosen_by_a_line_of_text(three: dict[str, Path], text: str, expected: str) -> None:
    chosen = parse_filter(text)
    assert {view.name for view in list_runs() if chosen.fits(view)} == set(expected.split())


@pytest.mark.parametrize(("text", "said"), [("sate:running", "state"), ("state:runing", "running"), ("state:", None)])
def test_an_unknown_key_or_state_is_told(text: str, said: str | None) -> None:
    if said is None:
        assert parse_filter(text).terms[0].key == ""
        return
    with pytest.raises(UserError, match=f"→ {said}") as refused:
        parse_filter(text)
    assert "可用" in refused.value.text.zh


def test_a_broken_run_can_be_filtered_too(home: Path) -> None:
    directory = create_run(TrainConfig()).directory
    (directory / "run.json").write_text("{")
    (view,) = list_runs()
    assert parse_filter("state:unreadable").fits(view)
    assert not parse_filter("objective:sft").fits(view)
