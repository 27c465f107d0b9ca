"""What a person gets wrong, on the real command line: one line that says what, where and the remedy, and nothing made."""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from minimind import __main__, cli
from minimind.errors import UserError
from minimind.training.runs import list_runs

Refused = Callable[..., str]

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
FILES = {
    "empty.jsonl": b"",
    "blank.jsonl": b"\n\n",
    "one.jsonl": b'{"text": "alone"}\n',
    "malformed.jsonl": b'{"text": "fine"}\n{"text": "fine too"}\n{"text": "torn\n',
    "pointer.jsonl": POINTER,
    "latin.txt": "grün\n".encode("latin-1"),
    "dialogues.jsonl": b'{"conversations": [{"role": "user", "content": "hi"}]}\n',
}


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is accepted ends here, before anything is made."""

    def end(*_: object, **__: object) -> None:
        raise UserError("accepted: a run would be made", "接受：会新建训练")

    monkeypatch.setattr("minimind.commands.train.create_run", end)


@pytest.fixture
def refused(home: Path, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that is refused, in both languages; returns the English line."""

    def call(*arguments: str, chinese: str = "") -> str:
        lines = []
        for language in ("en", "zh"):
            assert cli.main([*arguments, "--lang", language]) == 2
            out, err = capfd.readouterr()
            assert out == ""
            assert err.count("\n") == 1
            assert "Traceback" not in err
            lines.append(err.strip())
        assert lines[0].startswith("minimind: ")
        assert lines[1].startswith("minimind：")
        assert lines[0].isascii() or "→" in lines[0] or "…" in lines[0]
        assert any("\u4e00" <= character <= "\u9fff" for character in lines[1])
        assert chinese in lines[1]
        assert list_runs() == []
        return lines[0]

    return call


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with files that are not what they should be."""
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.jsonl").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("empty.jsonl", "empty.jsonl is empty"),
        ("blank.jsonl", "blank.jsonl is empty"),
        ("one.jsonl", "at least two documents are needed"),
        ("malformed.jsonl", "malformed.jsonl:3: not JSON"),
        ("pointer.jsonl", "run `git lfs pull`"),
        ("latin.txt", "latin.txt:1: not UTF-8"),
        ("dialogues.jsonl", 'dialogues.jsonl:1: no "text" string'),
        ("folder.jsonl", "is a directory: name a file in it"),
        ("missing.jsonl", "no such file or data set"),
        ("pretrain_hqq", "did you mean pretrain_hq?"),
    ],
)
def test_a_run_is_not_made_of_data_it_could_not_read(files: Path, refused: Refused, name: str, says: str) -> None:
    assert says in refused("train", "pretrain", "--data", name)
    assert says in refused("estimate", "pretrain", "--data", name)


def test_two_files_of_one_document_each_are_data(files: Path, refused: Refused) -> None:
    second = files / "second.jsonl"
    second.write_bytes(FILES["one.jsonl"])
    assert "batch_size = '0'" in refused(
        "train", "pretrain", "--data", "one.jsonl", "second.jsonl", "--batch-size", "0"
    )
    assert "empty.jsonl is empty" in refused("train", "pretrain", "--data", "one.jsonl", "empty.jsonl")
    assert "empty.jsonl is empty" in refused("train", "pretrain", "--data", "embedded", "empty.jsonl")


def test_a_line_that_is_bad_is_skipped_on_demand(files: Path, refused: Refused) -> None:
    asked = ("train", "pretrain", "--data", "malformed.jsonl")
    assert "--allow-bad skips them" in refused(*asked)
    assert "accepted: a run would be made" in refused(*asked, "--allow-bad", "--name", "x")


@pytest.mark.parametrize("what", ["model.safetensors", "pytorch_model.bin", "alone.pth", "config.json"])
def test_a_checkpoint_that_is_a_pointer(tmp_path: Path, refused: Refused, what: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / what).write_bytes(POINTER)
    place = str(folder / what if what.endswith(".pth") else folder)
    for command in (["train", "sft", "--model", place], ["generate", place, "x"], ["chat", place]):
        line = refused(*command, chinese="12,345 字节")
        assert f"{what}: a Git LFS pointer, not the file itself (12,345 bytes): run `git lfs pull`" in line


def test_a_mistyped_preset(refused: Refused) -> None:
    for command in (["train", "pretrain", "--model", "nanno"], ["generate", "nanno", "x"], ["model", "info", "nanno"]):
        line = refused(*command, chinese="没有这个模型 (→ nano?)")
        assert "nanno: no model (→ nano?)" in line
        assert "minimind3-moe" in line


@pytest.mark.parametrize(
    ("arguments", "english", "chinese"),
    [
        (["trian"], "there is no 'trian' (→ train?)", "没有 'trian' (→ train?)：可用 train, recipe"),
        (["train", "pretrian"], "there is no 'pretrian' (→ pretrain?)", "（用法见 minimind train --help）"),
        (["train"], "say what to do", "请说明训练方法"),
        (["runs"], "the following arguments are required: ACTION", "缺少参数：ACTION"),
        (["generate", "a", "b", "c"], "unrecognized arguments: c", "不认识的参数：c"),
        (["generate", "a", "b", "--seed"], "--seed: expected one argument", "--seed：后面缺少一个值"),
        (["estimate", "pretrain", "--seconds", "x"], "invalid float value: 'x'", "--seconds：'x' 不是数字"),
        (["train", "pretrain", "--de", "cpu"], "ambiguous option: --de", "--de 可能是 --detach"),
        (["train", "pretrain", "--steps", "x"], "use a whole number 1…100,000,000 | none", "请用整数 1…100,000,000"),
        (["train", "pretrain", "--device", "tpu"], "use auto | cpu | cuda | mps", "请用 auto | cpu | cuda | mps"),
        (["train", "pretrain", "--set", "x"], "write NAME=VALUE", "请写成"),
        (["train", "pretrain", "--config", "no.toml"], "no.toml: no such file", "没有这个文件"),
        (["generate", "a", "b", "--top-p", "2"], "top_p = '2' is not allowed: use a number 0…1", "请用数字 0…1"),
    ],
)
def test_a_mistake_in_the_command_is_told_in_the_language_asked_for(
    refused: Refused, arguments: list[str], english: str, chinese: str
) -> None:
    assert english in refused(*arguments, chinese=chinese)


def test_the_language_may_be_joined_to_its_flag(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--lang=zh", "runs"]) == 2
    assert "缺少参数" in capfd.readouterr().err
    assert cli.main(["--lang", "xx", "runs"]) == 2
    assert "there is no 'xx': use one of en, zh" in capfd.readouterr().err


def test_ctrl_c_while_the_commands_are_loaded_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name == "minimind.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "minimind.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert __main__.main() == 130
