"""The guides that come with the package: both languages say the same, and their commands are ours."""

from __future__ import annotations

import argparse
import json
import re

import pytest

from minimind import cli
from minimind.commands import runs, train
from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.guides import guide, guides

_CODE = re.compile(r"^```.*?^```|^    .*?$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", list(guides()))
def test_both_languages_have_the_same_commands_and_headings(name: str) -> None:
    english, chinese = guide(name, "en"), guide(name, "zh")
    assert [len(mark) for mark in re.findall("^#+", english, re.MULTILINE)] == [
        len(mark) for mark in re.findall("^#+", chinese, re.MULTILINE)
    ]
    without_remarks = [
        [re.sub(r" +# .*", "", line) for block in _CODE.findall(text) for line in block.splitlines()]
        for text in (english, chinese)
    ]
    assert without_remarks[0] == without_remarks[1]
    assert len(re.findall(r"^\|", english, re.MULTILINE)) == len(re.findall(r"^\|", chinese, re.MULTILINE))


def test_the_cluster_guides_commands_and_settings_exist() -> None:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    for command in (train, runs):
        command.register(subparsers)
    known = {flag for sub in subparsers.choices.values() for flag in sub._option_string_actions}
    text = guide("cluster", "en")
    lines = [line for block in _CODE.findall(text) for line in block.splitlines() if "minimind train" in line]
    assert len(lines) >= 6
    used = {flag for line in lines for flag in re.findall(r"(?<=\s)--[a-z-]+", line.partition("minimind train")[2])}
    assert used <= known
    assert {"--gpus", "--nodes", "--node-rank", "--rendezvous", "--take-over", "--create-only"} <= used
    settings = {declared.name for declared in TrainConfig.declared()}
    assert {"processes", "process_timeout", "restarts", "accumulation_steps", "batch_size"} <= settings
    assert f"`process_timeout` seconds ({TrainConfig().process_timeout:g})" in text
    assert f"`restarts` times ({TrainConfig().restarts})" in text


def test_the_command_lists_and_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["guide"]) == 0
    assert "cluster" in capsys.readouterr().out
    assert cli.main(["guide", "cluster", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["markdown"].startswith("# ")
    assert cli.main(["guide", "clustr"]) == 2
    assert "→ cluster?" in capsys.readouterr().err
    with pytest.raises(UserError, match="no such guide"):
        guide("../cli", "en")


def test_a_run_is_made_without_being_started(home: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "pretrain", "--model", "nano", "--gpus", "2", "--create-only", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert cli.main(["runs", "show", made["directory"], "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["state"] == "created"
    for wrong in (["--nodes", "2"], ["--nodes", "2", "--node-rank", "2", "--rendezvous", "host:29500"]):
        assert cli.main(["train", "--run", made["id"], *wrong]) == 2
        assert "HOST:PORT" in capsys.readouterr().err
    assert cli.main(["train", "pretrain", "--nodes", "2", "--rendezvous", "host:29500"]) == 2
    assert "--create-only" in capsys.readouterr().err
