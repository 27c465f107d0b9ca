"""Recipes: read and refused, done step by step, gone on with after an end, and reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minimind.cli import main
from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import Mark, Sample, Scalars, Text
from minimind.recipe import cook as cooking
from minimind.recipe import evaluation
from minimind.recipe.book import Book, begin, find_book, list_books, open_book
from minimind.recipe.cook import Interrupted, cook
from minimind.recipe.plan import parse_recipe, read_recipe, shipped_recipes
from minimind.training.runs import Recorder, RunStatus, RunView, find_run

TWO = """
title = { en = "Two", zh = "两步" }
[[stage]]
name = "first"
objective = "pretrain"
model = "nano"
steps = 7
[[stage]]
name = "second"
objective = "sft"
steps = 5
[evaluate]
tasks = ["length"]
count = 4
[export]
to = ["pth"]
"""


def test_what_comes_with_the_package_is_whole() -> None:
    assert shipped_recipes()
    for name in shipped_recipes():
        recipe = read_recipe(name)
        assert recipe.title.en
        assert recipe.title.zh != recipe.title.en
        assert recipe.about.zh
        assert recipe.stages[0].objective == "pretrain"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("title =", "titel =", "titel: not part of a recipe"),
        ("steps = 7", "stepz = 7", r"stage\[1\]: stepz: no such setting"),
        ("steps = 5", "steps = -5", r"stage\[2\]: steps"),
        ('objective = "sft"', 'objective = "prayer"', r"stage\[2\]: objective"),
        ('objective = "sft"\n', "", r"stage\[2\]: objective is missing"),
        ('name = "second"', 'name = "first"', "two stages are called 'first'"),
        ('name = "second"', 'name = "a/b"', r"stage\[2\]: name = 'a/b'"),
        ("steps = 5", 'model = "nano"', "stage 'second': leave model out"),
        ('to = ["pth"]', 'to = ["zip"]', "export.to: 'zip'"),
        ('to = ["pth"]', 'to = "pth"', "export.to: give a list"),
        ("count = 4", "count = 0", "evaluate.count: give a whole number"),
        ("count = 4", "amount = 4", "evaluate: amount: not part"),
        ("[[stage]]", "[stage]", "not TOML|there is no stage"),
        ("[evaluate]", "[tokenizer]\nvocab_size = 12\n[evaluate]", "tokenizer.vocab_size"),
        ("[evaluate]", '[tokenizer]\nvocab_size = 900\nmegabytes = "many"\n[evaluate]', "tokenizer.megabytes"),
        (
            'model = "nano"',
            'model = "last"\n[tokenizer]\nvocab_size = 900\n[[stage]]\nname="x"\nobjective="sft"',
            "preset",
        ),
        ("{ en", "{ fr", "title: write"),
        ("steps = 7", "steps = ", "not TOML"),
    ],
)
def test_a_slip_is_found_before_anything_is_trained(old: str, new: str, words: str) -> None:
    assert old in TWO
    with pytest.raises(UserError, match=words) as caught:
        parse_recipe(TWO.replace(old, new, 1), "mine.toml")
    assert caught.value.text.en.startswith("mine.toml")
    assert caught.value.text.zh.startswith("mine.toml")


def test_no_such_recipe_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "run", "nowhere", "--lang", "en"]) == 2
    said = capsys.readouterr().err
    assert "no such recipe" in said
    assert next(iter(shipped_recipes())) in said


class Kitchen:
    """Stands in for trainer, evaluation and export: runs end as told, and what was asked for is noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.launched: list[str] = []
        self.resumed: list[str] = []
        self.evaluated: list[str] = []
        self.states: dict[str, str] = {}
        self.outcome = "finished"
        monkeypatch.setattr(cooking.launch, "launch", lambda directory: self.launched.append(Path(directory).name))
        monkeypatch.setattr(cooking.launch, "resume", lambda directory: self.resumed.append(Path(directory).name))
        monkeypatch.setattr(cooking, "recommended_config", lambda name, given: TrainConfig(objective=name, **given))
        monkeypatch.setattr(evaluation, "evaluate_model", self._evaluate)
        monkeypatch.setattr(RunView, "status", lambda view: self._status(view.id))
        monkeypatch.setitem(
            cooking._STEPS, "export", lambda *_: {"directory": "out", "bytes": 4_000_000, "parity": None}
        )

    def _status(self, run: str) -> RunStatus:
        return RunStatus(self.states.get(run, "created"), Text("so it is", "是这样"))  # type: ignore[arg-type]

    def _evaluate(self, model: Path, _cache: Path, **_about: Any) -> dict[str, Any]:
        self.evaluated.append(model.name)
        number = len(self.evaluated)
        figures = {
            "pretrain_loss": 4.0 / number,
            "pretrain_bits_per_byte": 1.0,
            "sft_loss": 3.0 / number,
            "reward": 0.25 * number,
            "correct": 0.5,
        }
        return figures | {"samples": {"Who are you?": f"I am number *{number}* \x1b[31m"}}

    def watch(self, directory: Path) -> RunStatus:
        recorder = Recorder(directory)
        recorder.record(Mark("started", 0))
        recorder.record(Sample(0, "Once", " upon | a time"))
        for step in (1, 2):
            recorder.record(Scalars(step, {"loss": 5.0 / step, "validation_loss": 6.0 / step, "tokens": 100.0 * step}))
        recorder.record(Sample(2, "Once", " there was"))
        recorder.close()
        self.states[directory.name] = self.outcome
        return self._status(directory.name)


@pytest.fixture
def kitchen(monkeypatch: pytest.MonkeyPatch) -> Kitchen:
    return Kitchen(monkeypatch)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    file = tmp_path / "two.toml"
    file.write_text(TWO, encoding="utf-8")
    return begin(read_recipe(str(file)), str(file))


def silent(_text: Text) -> None:
    """Tell nobody."""


def test_each_stage_goes_on_from_the_one_before_and_all_is_reported(kitchen: Kitchen, book: Book) -> None:
    assert main(["settings", "price_per_hour=3600", "currency=CNY"]) == 0
    cook(book, kitchen.watch, silent)
    first, second = (RunView(find_run(book.runs[name])) for name in ("first", "second"))
    assert kitchen.launched == [first.id, second.id]
    assert first.config.steps == 7
    assert second.config.model == str(first.directory)
    assert second.parent == first.id
    assert kitchen.evaluated == [first.id, second.id]
    assert tuple(book.done) == book.steps()
    english = (book.directory / "report.en.md").read_text(encoding="utf-8")
    chinese = (book.directory / "report.zh.md").read_text(encoding="utf-8")
    assert "| first | pretrain | 2 | 200 |" in english
    assert "| 3.000 | 3.000 |" in english
    assert "| second | 2.000 | 1.000 | 1.500 | 0.5000 | 50 % |" in english
    assert "step 0: Once ▸ upon \\| a time" in english
    assert "I am number \\*2\\*" in english
    assert "\x1b" not in english
    assert "第 2 步：Once ▸ there was" in chinese
    assert "`pth`: 4.0 MB" in chinese
    assert "at 3600 CNY an hour that is" in english
    assert "按每小时 3600 CNY 计" in chinese
    for stage in ("first", "second"):
        assert f"![{stage}]({stage}.en.svg)" in english
        assert (book.directory / f"{stage}.en.svg").read_text(encoding="utf-8").startswith("<svg")


def test_a_stage_with_rewards_is_judged_by_them(kitchen: Kitchen, tmp_path: Path) -> None:
    file = tmp_path / "rewards.toml"
    file.write_text(TWO.replace('objective = "sft"', 'objective = "grpo"'), encoding="utf-8")
    book = begin(read_recipe(str(file)), str(file))
    cook(book, kitchen.watch, silent)
    report = (book.directory / "report.zh.md").read_text(encoding="utf-8")
    assert "| 奖励 -3.000 | 奖励 -3.000 |" in report


@pytest.mark.parametrize("ending", ["stopped", "failed", "killed"])
def test_what_is_done_stays_done(kitchen: Kitchen, book: Book, ending: str) -> None:
    def watch_until_second(directory: Path) -> RunStatus:
        kitchen.outcome = "finished" if directory.name == book.runs["first"] else ending
        return kitchen.watch(directory)

    with pytest.raises(Interrupted):
        cook(book, watch_until_second, silent)
    assert list(book.done) == ["stage:first"]
    again = open_book(book.directory)
    assert (again.runs, again.done) == (book.runs, book.done)
    kitchen.outcome = "finished"
    cook(again, kitchen.watch, silent)
    assert kitchen.resumed == [book.runs["second"]]
    assert len(kitchen.launched) == 2
    assert tuple(again.done) == again.steps()
    cook(again, kitchen.watch, silent)
    assert len(kitchen.launched) == 2


def test_a_process_that_ended_between_two_steps_lost_nothing(kitchen: Kitchen, book: Book) -> None:
    watched: list[str] = []

    def dies(directory: Path) -> RunStatus:
        watched.append(directory.name)
        kitchen.watch(directory)
        raise SystemExit

    with pytest.raises(SystemExit):
        cook(book, dies, silent)
    cook(open_book(book.directory), kitchen.watch, silent)
    assert kitchen.launched[0] == watched[0]
    assert len(kitchen.launched) == 2, "the finished run of the first stage is taken, not made again"


def test_two_do_not_work_on_one(kitchen: Kitchen, book: Book) -> None:
    def meets_another(directory: Path) -> RunStatus:
        other = open_book(book.directory)
        assert other.is_cooking
        with pytest.raises(UserError, match="another process works on it"):
            cook(other, kitchen.watch, silent)
        return kitchen.watch(directory)

    assert not book.is_cooking
    cook(book, meets_another, silent)
    assert not book.is_cooking


def test_books_are_found_by_name_part_and_last(book: Book, capsys: pytest.CaptureFixture[str]) -> None:
    assert [found.id for found in list_books()] == [book.id]
    assert {find_book(name).id for name in (book.id, "two", "last")} == {book.id}
    with pytest.raises(UserError, match="no recipe of that name was begun"):
        find_book("three")
    (book.directory / "state.json").write_text("[]")
    assert list_books() == ()
    assert main(["recipe", "show", book.id, "--lang", "zh"]) == 2
    assert "没有以此命名" in capsys.readouterr().err


def test_the_command_says_how_far_it_is(book: Book, kitchen: Kitchen, capsys: pytest.CaptureFixture[str]) -> None:
    cook(book, kitchen.watch, silent)
    assert main(["recipe", "list", "--lang", "en"]) == 0
    listed = capsys.readouterr().out
    assert book.id in listed
    assert "done" in listed
    assert main(["recipe", "show", "last", "--lang", "en"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("✓") == len(book.steps())
    assert book.runs["second"] in shown


def test_a_real_stage_is_trained_and_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_tiny: Callable[[str], str]
) -> None:
    """One real run of four steps by the command itself, with a tokenizer of its own."""
    monkeypatch.setattr(evaluation, "evaluate_model", lambda *_args, **_kwargs: {})
    file = tmp_path / "one.toml"
    file.write_text(make_tiny(""), encoding="utf-8")
    assert main(["recipe", "run", str(file), "--lang", "en"]) == 0
    book = find_book("last")
    view = RunView(find_run(book.runs["only"]))
    while view.refresh():
        pass
    assert view.step == 4
    assert view.checkpoints()
    assert book.done["tokenizer"]["vocab_size"] == 400
    assert view.config.tokenizer == str(book.directory / "tokenizer")


@pytest.fixture
def make_tiny() -> Callable[[str], str]:
    """A recipe of one short stage."""
    return lambda more: (
        "[tokenizer]\nvocab_size = 400\nmegabytes = 0.02\n[[stage]]\nname = 'only'\nobjective = 'pretrain'\n"
        "model = 'nano'\nsteps = 4\ndata_megabytes = 0.02\nsequence_length = 32\nbatch_size = 2\n"
        "evaluation_tokens = 64\nsample_every = 1000\ncompile = 'off'\n" + more
    )
