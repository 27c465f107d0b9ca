"""`minimind data` and `minimind tokenizer`: what they print for people and as JSON, and how they refuse."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest

from minimind import paths
from minimind.commands import data, tokenizer
from minimind.commands.output import Output
from minimind.data import catalogue, corpus
from minimind.errors import UserError


def run(*arguments: str, language: Any = "en", as_json: bool = False) -> Any:
    """Run a command; the text on stdout, or its JSON objects."""
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    data.register(subparsers)
    tokenizer.register(subparsers)
    stdout = io.StringIO()
    options = parser.parse_args(arguments)
    assert options.run(options, Output(as_json, language, stdout, io.StringIO())) == 0
    return [json.loads(line) for line in stdout.getvalue().splitlines()] if as_json else stdout.getvalue()


def test_the_list_names_every_data_set_and_what_is_here(home: Path) -> None:
    paths.data().mkdir(parents=True)
    (paths.data() / "dpo.jsonl").write_text("{}\n", encoding="utf-8")
    listed = {row["name"]: row["here"] for row in run("data", "list", as_json=True)}
    assert {name for name, here in listed.items() if here} == {"embedded", "embedded-tools", "dpo"}
    assert len(listed) == len(catalogue.CATALOGUE)
    assert "pretrain_t2t_mini" in run("data", "list")
    assert "偏好对" in run("data", "list", language="zh")


def test_names_become_files() -> None:
    assert catalogue.resolve("embedded", paths.data()) == "embedded"
    with pytest.raises(UserError, match=r"dpo\.jsonl is not on this machine"):
        catalogue.resolve("dpo.jsonl", paths.data())
    with pytest.raises(UserError, match="did you mean sft_t2t_mini"):
        catalogue.resolve("sft_t2t_mni", paths.data())
    paths.data().mkdir(parents=True)
    (paths.data() / "dpo.jsonl").touch()
    assert catalogue.resolve("dpo", paths.data()) == str(paths.data() / "dpo.jsonl")


def test_a_generated_file_is_checked_and_shown(tmp_path: Path) -> None:
    path = str(tmp_path / "sft.jsonl")
    (made,) = run("data", "generate", "--kind", "sft", "--out", path, "--bytes", "5000", as_json=True)
    assert made["bytes"] == Path(path).stat().st_size >= 5000
    (checked,) = run("data", "check", path, as_json=True)
    assert (checked["kind"], checked["usable"], checked["bad"]) == ("sft", made["rows"], 0)
    turns = corpus.dialogue(1)["conversations"]
    assert run("data", "show", path, "--row", "2") == f"user: {turns[0]['content']}\nassistant: {turns[1]['content']}\n"
    (mask,) = run("data", "mask", path, "--row", "2", as_json=True)
    assert len(mask["ids"]) == len(mask["mask"])
    shown = run("data", "mask", path, "--row", "2", language="zh")
    assert shown.count("●") == sum(mask["mask"]) + 1
    assert "个参与训练" in shown


@pytest.mark.parametrize("kind", ["pretrain", "sft", "dpo"])
def test_the_embedded_corpus_can_be_looked_into(kind: str) -> None:
    (row,) = run("data", "show", "embedded", "--kind", kind, as_json=True)
    assert row["kind"] == kind
    assert run("data", "show", "embedded", "--kind", kind).strip()
    assert "tokens are trained" in run("data", "mask", "embedded", "--kind", kind)


def test_bad_lines_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a"}\nno\n', encoding="utf-8")
    with pytest.raises(UserError, match="1 of 2 lines"):
        run("data", "check", str(path))
    assert "x.jsonl:2：不是 JSON" in run("data", "check", str(path), "--allow-bad", language="zh")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("data", "show", "embedded", "--row", "0"), "no usable row 0"),
        (("data", "show", "embedded", "--kind", "rlaif"), "no rlaif part"),
        (("data", "check", "nothing.jsonl"), "no such file"),
        (("data", "generate", "--out", "/proc/none", "--bytes", "9"), "cannot be written"),
        (("data", "generate", "--out", "x", "--bytes", "0"), "--bytes = 0"),
        (("tokenizer", "encode", "x", "--tokenizer", "none-such"), "no tokenizer"),
    ],
)
def test_mistakes_are_explained(arguments: tuple[str, ...], part: str) -> None:
    with pytest.raises(UserError, match=part):
        run(*arguments)


def test_a_tokenizer_is_trained_shown_and_compared(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat and the hat\n\n" * 50, encoding="utf-8")
    (made,) = run(
        "tokenizer", "train", "--vocab-size", "400", "--data", "embedded", str(text), str(tmp_path), "--megabytes", "0.05",
        "--out", str(tmp_path / "made"), as_json=True,
    )  # fmt: skip
    metadata = json.loads((tmp_path / "made" / "metadata.json").read_text(encoding="utf-8"))
    assert made == metadata | {"directory": str(tmp_path / "made")}
    assert metadata["command"].startswith("minimind tokenizer train --vocab-size 400 --data embedded")
    (shown,) = run("tokenizer", "encode", "the hat", "--tokenizer", str(tmp_path / "made"), as_json=True)
    assert "".join(shown["tokens"]) == "the␣hat"
    assert "2 bytes" in run("tokenizer", "encode", "hi")
    (compared,) = run("tokenizer", "compare", "nano-2048", str(tmp_path / "made"), as_json=True)
    assert compared["common"] > 292
    assert [row["vocab_size"] for row in compared["tokenizers"]] == [2048, 400]
    assert "|" in run("tokenizer", "compare", "nano-2048", str(tmp_path / "made"), "--text", "the hat")
