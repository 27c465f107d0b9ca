"""The whole way: a child process with the real huggingface_hub client, against a hub on the loopback."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

import pytest

from minimind.cli import main
from minimind.errors import UserError
from minimind.events import Event, Note, Progress
from minimind.hub import child, download, downloaded_dataset, downloaded_model, downloaded_models
from minimind.hub.child import choose
from minimind.hub.fetch import RemoteFile, fetch
from minimind.hub.names import find
from minimind.training.recommend import recommended_config
from tests.minimind.hub.conftest import WEIGHTS, Served


def test_a_model_arrives_whole_and_is_found_by_every_name(served: Served, home: Path) -> None:
    assert downloaded_model("minimind-3") is None
    assert downloaded_models() == ()
    events = list(download("minimind3"))
    folder = home / "models" / "minimind-3"
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress[-1].done == progress[-1].total == len(WEIGHTS) + 5
    assert [event.done for event in progress] == sorted(event.done for event in progress)
    notes = [event.text.en for event in events if isinstance(event, Note)]
    assert notes == [f"minimind-3: 3 files in {folder}, every checksum right"]
    assert downloaded_model("minimind-3") == downloaded_model("gongjy/minimind-3") == folder
    assert downloaded_models() == ("minimind-3",)


def test_what_is_there_is_not_fetched_again_and_what_is_damaged_is(served: Served, home: Path) -> None:
    list(download("minimind-3"))
    (home / "models" / "minimind-3" / "model.safetensors").write_bytes(b"\0" * len(WEIGHTS))
    served.hub.requests.clear()
    list(download("minimind-3"))
    fetched = [path for _, path, _ in served.hub.requests if "/resolve/" in path]
    assert [path.rpartition("/")[2] for path in fetched] == ["model.safetensors"]
    assert (home / "models" / "minimind-3" / "model.safetensors").read_bytes() == WEIGHTS


def test_a_child_that_is_stopped_leaves_what_the_next_one_needs(served: Served, home: Path) -> None:
    served.hub.faults["model.safetensors"] = [("cut", 300_000), *[("status", 503)] * 20]
    events = download("minimind-3")
    part = home / "models" / "minimind-3" / "model.safetensors.part"
    for event in events:
        if isinstance(event, Progress) and event.label is not None and event.label.en == "model.safetensors":
            break
    events.close()  # type: ignore[attr-defined]
    left = part.stat().st_size
    assert 0 < left <= 300_000
    served.hub.faults.clear()
    served.hub.requests.clear()
    list(download("minimind-3"))
    asked = [headers.get("Range") for _, path, headers in served.hub.requests if path.endswith("model.safetensors")]
    assert asked == [f"bytes={left}-"]


def test_modelscope_takes_over_where_the_hub_does_not_answer(
    served: Served, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    events = list(download("minimind-3"))
    assert "trying ModelScope" in next(event.text.en for event in events if isinstance(event, Note))
    assert (home / "models" / "minimind-3" / "model.safetensors").read_bytes() == WEIGHTS
    assert {path.split("/")[1] for _, path, _ in served.hub.requests} == {"api", "models"}
    assert all("gongjy" in path for _, path, _ in served.hub.requests)


def test_modelscope_goes_on_where_the_hubs_file_host_fails(
    served: Served, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror that lists everything and delivers a part: the rest comes from the other hub, not all of it again."""
    told: list[Event] = []
    url = f"{served.url}/jingyaogong/minimind-3/resolve/main/model.safetensors"
    mirrored = RemoteFile("model.safetensors", url, len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest(), "sha256")
    monkeypatch.setitem(child.SOURCES, "huggingface", lambda wanted: [mirrored])
    monkeypatch.setattr(child, "fetch", partial(fetch, pause=lambda _: None))
    served.hub.faults["model.safetensors"] = [("cut", 300_000), *[("status", 503)] * 5]
    child.run(find("minimind-3"), [], "auto", told.append)
    assert "gave up" in next(event.text.en for event in told if isinstance(event, Note))
    assert (home / "models" / "minimind-3" / "model.safetensors").read_bytes() == WEIGHTS
    command, path, headers = next(r for r in reversed(served.hub.requests) if r[1].endswith("model.safetensors"))
    assert (command, path.split("/")[2], headers.get("Range")) == ("GET", "gongjy", "bytes=300000-")


def test_weights_without_a_tokenizer_get_that_of_their_model(served: Served, home: Path) -> None:
    list(download("minimind-3-pytorch"))
    folder = home / "models" / "minimind-3-pytorch"
    assert sorted(file.name for file in folder.iterdir()) == ["full_sft_768.pth", "tokenizer.json"]
    list(download("minimind-3-pytorch", ["pretrain_768.pth"]))
    assert (folder / "pretrain_768.pth").stat().st_size == 6000


def test_a_data_set_is_one_file_and_its_licence_is_said(served: Served, home: Path) -> None:
    events = list(download("dpo"))
    assert (home / "datasets" / "dpo.jsonl").read_bytes() == b'{"a": 1}\n' * 500
    assert downloaded_dataset("dpo.jsonl") == home / "datasets" / "dpo.jsonl"
    config = recommended_config("pretrain", {"data": ["embedded", "dpo"], "steps": 1})
    assert config.data == ("embedded", str(home / "datasets" / "dpo.jsonl"))
    assert any("licences" in event.text.en for event in events if isinstance(event, Note))
    events = list(download("rlaif-mini"))
    assert "rlaif took its place" in next(event.text.en for event in events if isinstance(event, Note))
    assert downloaded_dataset("rlaif-mini") == home / "datasets" / "rlaif.jsonl"


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        ("nobody/nothing", [], "has no repository nobody/nothing"),
        ("minimind-3", ["none.bin"], r"minimind-3 has no none\.bin; it holds: .*model\.safetensors"),
        ("sft_t2t", [], r"sft_t2t has no sft_t2t\.jsonl; it holds: dpo\.jsonl"),
    ],
)
def test_what_is_not_there_is_said(served: Served, name: str, files: list[str], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        list(download(name, files))


def test_offline_is_offline(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="offline mode is on"):
        list(download("minimind-3"))
    assert served.hub.requests == []


def test_a_closed_repository_asks_for_a_token(served: Served) -> None:
    served.hub.private = True
    with pytest.raises(UserError, match="HF_TOKEN"):
        list(download("minimind-3"))


def test_a_repository_that_names_files_outside_is_refused(served: Served, home: Path) -> None:
    served.hub.wild = ["../../evil.safetensors"]
    with pytest.raises(UserError, match="could lie outside its folder"):
        list(download("minimind-3"))
    assert not (home / "models").exists()


def test_the_command_tells_a_person_and_a_program(
    served: Served, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", "minimind-3", "--lang", "zh"]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(home / "models" / "minimind-3")
    assert "100%" in told.err
    assert "校验和全部一致" in told.err
    assert main(["download", "dpo", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line.get("kind") for line in lines} == {"note", "progress", "dataset"}
    assert main(["download", "--json"]) == 0
    listed = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert listed["minimind-3"]["path"]
    assert listed["MiniMind2"]["path"] is None
    assert main(["download", "nothing-like-it"]) == 2
    assert "nothing to download" in capsys.readouterr().err


def test_which_files_make_a_model() -> None:
    def chosen(*names: str) -> list[str]:
        files = [RemoteFile(name, "", 1) for name in names]
        return [file.name for file in choose(find("minimind-3"), files)]

    both = chosen("config.json", "model.safetensors", "pytorch_model.bin", "a.gguf", "tokenizer.json", "x/model.onnx")
    assert both == ["config.json", "model.safetensors", "tokenizer.json"]
    assert chosen("config.json", "pytorch_model.bin") == ["config.json", "pytorch_model.bin"]
    assert chosen("full_sft_768.pth", "dpo_768.pth") == ["full_sft_768.pth"]
    with pytest.raises(UserError, match="minimind-3 has no a model"):
        chosen("README.md")
