"""A download that is broken off, damaged or refused in every way a server has."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from minimind.errors import UserError
from minimind.hub import fetch as module
from minimind.hub.fetch import Cancelled, RemoteFile, check_name, fetch, is_complete
from tests.minimind.hub.conftest import WEIGHTS, Served
from tests.minimind.hub.server import Hub

NAME = "model.safetensors"


def remote(url: str, content: bytes = WEIGHTS, **changes: Any) -> RemoteFile:
    values = {"checksum": hashlib.sha256(content).hexdigest(), "algorithm": "sha256", "size": len(content)} | changes
    return RemoteFile(NAME, f"{url}/jingyaogong/minimind-3/resolve/main/{NAME}", **values)


def get(served: Served, path: Path, **options: Any) -> list[float]:
    """Fetch the model; returns the pauses it made."""
    pauses: list[float] = []
    fetch(remote(served.url), path, pause=pauses.append, **options)
    assert path.read_bytes() == WEIGHTS
    assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name]
    return pauses


def ranges(served: Served) -> list[str | None]:
    return [headers.get("Range") for command, path, headers in served.hub.requests if path.endswith(NAME)]


def test_progress_counts_every_byte(served: Served, tmp_path: Path) -> None:
    seen: list[int] = []
    assert get(served, tmp_path / NAME, progress=seen.append) == []
    assert seen == sorted(seen)
    assert seen[-1] == len(WEIGHTS)


def test_a_broken_line_is_taken_up_where_it_broke(served: Served, tmp_path: Path) -> None:
    served.hub.faults[NAME] = [("cut", 100_000), ("cut", 300_000), ("cut", 0)]
    assert get(served, tmp_path / NAME) == [1.0, 2.0, 4.0]
    assert ranges(served) == [None, "bytes=100000-", "bytes=400000-", "bytes=400000-"]


def test_the_next_run_goes_on_from_what_the_last_one_left(served: Served, tmp_path: Path) -> None:
    arrived: list[int] = []
    with pytest.raises(Cancelled):
        fetch(remote(served.url), tmp_path / NAME, progress=arrived.append, cancelled=lambda: len(arrived) == 2)
    assert not (tmp_path / NAME).exists()
    served.hub.requests.clear()
    get(served, tmp_path / NAME)
    assert ranges(served) == [f"bytes={arrived[-1]}-"]


def test_a_part_of_another_version_is_thrown_away(served: Served, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"older" * 100)
    older = RemoteFile(NAME, "", len(WEIGHTS), "0" * 64, "sha256")
    (tmp_path / f"{NAME}.part.json").write_text(json.dumps({"name": NAME, "checksum": older.checksum}))
    get(served, tmp_path / NAME)
    assert ranges(served) == [None]


@pytest.mark.parametrize(
    "faults",
    [
        [("flip",)],
        [("long",)],
        [("cut", 1000), ("whole",)],
        [("status", 503), ("status", 429), ("status", 500)],
        [("cut", 1000), ("status", 416)],
        [("flip",), ("cut", 5), ("flip",), ("status", 502), ("cut", 500_000)],
    ],
    ids=str,
)
def test_faults_that_pass(faults: list[tuple[Any, ...]], served: Served, tmp_path: Path) -> None:
    served.hub.faults[NAME] = list(faults)
    assert len(get(served, tmp_path / NAME)) == len([fault for fault in faults if fault[0] != "whole"])


@pytest.mark.parametrize("fault", [("flip",), ("status", 503), ("cut", 10)], ids=str)
def test_faults_that_do_not_pass_are_said_after_six_tries(
    fault: tuple[Any, ...], served: Served, tmp_path: Path
) -> None:
    served.hub.faults[NAME] = [fault] * 20
    with pytest.raises(UserError, match=r"gave up after 6 tries \((the checksum|the server answered 503|the conn)"):
        get(served, tmp_path / NAME)
    assert not (tmp_path / NAME).exists()
    assert len(ranges(served)) == 6
    served.hub.faults.clear()
    get(served, tmp_path / NAME)


@pytest.mark.parametrize(("code", "expected"), [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "no longer has")])
def test_refusals_are_not_tried_again(code: int, expected: str, served: Served, tmp_path: Path) -> None:
    served.hub.faults[NAME] = [("status", code)] * 3
    with pytest.raises(UserError, match=expected):
        get(served, tmp_path / NAME)
    assert len(ranges(served)) == 1


def test_a_hub_that_is_gone(served: Served, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gave up after 6 tries"):
        fetch(remote("http://127.0.0.1:9"), tmp_path / NAME, pause=lambda _: None, timeout=1.0)


def test_git_blobs_are_checked_too(served: Served, tmp_path: Path) -> None:
    content = b"{}"
    blob = hashlib.sha1(b"blob 2\0{}", usedforsecurity=False).hexdigest()
    file = RemoteFile("config.json", f"{served.url}/jingyaogong/minimind-3/resolve/main/config.json", 2, blob, "git")
    fetch(file, tmp_path / "config.json")
    assert (tmp_path / "config.json").read_bytes() == content
    assert is_complete(tmp_path / "config.json", file)
    (tmp_path / "config.json").write_bytes(b"[]")
    assert not is_complete(tmp_path / "config.json", file)
    assert not is_complete(tmp_path / "none", file)


def test_the_token_goes_to_no_other_host(served: Served, tmp_path: Path) -> None:
    other = Hub(served.hub.repositories)
    served.hub.redirect_to = other.start().replace("127.0.0.1", "localhost")
    get(served, tmp_path / NAME, token="secret")
    other.stop()
    assert served.hub.requests[0][2]["Authorization"] == "Bearer secret"
    assert "Authorization" not in other.requests[0][2]


def test_a_redirect_to_a_file_of_ours_is_refused(served: Served, tmp_path: Path) -> None:
    served.hub.redirect_to = "file:///etc/hostname?"
    with pytest.raises(UserError, match="gave up"):
        get(served, tmp_path / NAME)


def test_a_full_disk_is_said_before(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(UserError, match=r"needs 1 MB more.*0 MB free"):
        get(served, tmp_path / NAME)
    assert ranges(served) == []


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../b", "a//b", "", ".", "a\\b", "c:x", "a\x1b[2J", "-rf", "a/-b", "x" * 501]
)
def test_names_outside_the_folder_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="could lie outside its folder"):
        check_name(name)
    assert check_name("a/b.safetensors") == "a/b.safetensors"
