"""The end and the alerts of a run are told to a web address, by processes beside the trainer."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from minimind.events import Alert, Scalars, Text
from minimind.preferences import Preferences, save_preferences
from minimind.training import afterwards, launch, webhook
from minimind.training.follower import Follower
from minimind.training.liveness import read_processes
from minimind.training.runs import Recorder, RunView, change_tags, rename_run, status_of
from minimind.training.webhook import message_of_end, post

SECRET = "services/SECRET?token=SECRET"


class Site:
    """A web server that keeps what it is sent and answers with the statuses given, the last one for ever."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.statuses = [200]
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                site.received.append({"path": self.path, **json.loads(body)})
                status = site.statuses.pop(0) if len(site.statuses) > 1 else site.statuses[0]
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/{SECRET}"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Site()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_a_message_is_posted_and_tried_again_after_what_may_pass(site: Site) -> None:
    site.statuses = [503, 429, 200]
    assert post(site.address, {"text": "第一"}, pause=0.01) is None
    assert [message["text"] for message in site.received] == ["第一"] * 3
    assert site.received[0]["path"] == f"/{SECRET}"


@pytest.mark.parametrize(("status", "attempts"), [(500, 3), (404, 1), (302, 1)])
def test_what_is_refused_is_told_without_the_secret(site: Site, status: int, attempts: int) -> None:
    site.statuses = [status]
    problem = post(site.address, {}, pause=0.01)
    assert problem is not None
    assert problem.en == f"webhook http://127.0.0.1/…: not delivered: HTTP {status}"
    assert "SECRET" not in problem.en + problem.zh
    assert [message["path"] for message in site.received] == [f"/{SECRET}"] * attempts


def test_nobody_there_is_told_without_the_secret() -> None:
    problem = post(f"http://127.0.0.1:1/{SECRET}", {}, attempts=2, pause=0.01)
    assert problem is not None
    assert "refused" in problem.en
    assert "SECRET" not in problem.en


def test_the_message_of_an_end(run_directory: Path) -> None:
    with Recorder(run_directory) as recorder:
        recorder.record(Scalars(7, {"loss": 2.5, "strange": float("nan")}))
        recorder.finish({"outcome": "finished"})
    rename_run(run_directory, "fox")
    change_tags(run_directory, ["baseline"])
    message = message_of_end(RunView(run_directory), status_of(run_directory))
    assert message["text"] == f"fox ({run_directory.name}): finished at step 7, loss 2.500 (all steps are done)"
    assert (message["event"], message["state"], message["tags"]) == ("ended", "finished", ["baseline"])
    assert message["figures"] == {"loss": 2.5}
    json.dumps(message, allow_nan=False)


def test_alerts_are_told_once_whoever_follows(site: Site, run_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preferences = Preferences(webhook=site.address)
    recorder = Recorder(run_directory)
    recorder.record(Alert("warning", "not-finite", Text("odd\x1b[2J", "怪"), 3))
    recorder.record(Alert("error", "failed", Text("the last word", "最后一句"), 3))
    first = Follower(RunView(run_directory), preferences, None)
    first.take_new()
    first.take_new()
    recorder.record(Alert("error", "disk-full", Text("full", "满"), 4))
    second = Follower(RunView(run_directory), preferences, None)
    second.take_new()
    recorder.close()
    assert [message["code"] for message in site.received] == ["not-finite", "disk-full"]
    assert site.received[0]["text"] == f"{run_directory.name}: warning: odd␛[2J"
    assert site.received[1]["reason"] == {"en": "full", "zh": "满"}


def test_a_shim_lets_the_end_be_told(
    site: Site, run_directory: Path, fake: Callable[..., list[str]], until: Callable[..., None]
) -> None:
    save_preferences(Preferences(webhook=site.address))
    launch.launch(run_directory, command=fake(run_directory, steps=3, die=2))
    until(lambda: len(site.received) == 1)
    (message,) = site.received
    assert (message["event"], message["state"], message["run"]) == ("ended", "failed", run_directory.name)
    assert (run_directory / "exit.json").exists()
    said = "".join(path.read_text() for path in run_directory.glob("*.log")) + (run_directory / "log.txt").read_text()
    assert "SECRET" not in said


def test_a_site_that_never_answers_does_not_hold_a_run_up(
    run_directory: Path, fake: Callable[..., list[str]], until: Callable[..., None]
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        save_preferences(Preferences(webhook=f"http://127.0.0.1:{silent.getsockname()[1]}/"))
        launch.launch(run_directory, command=fake(run_directory, steps=20))
        until(lambda: status_of(run_directory).state == "finished")
        until(lambda: (run_directory / "exit.json").exists())
        save_preferences(Preferences())


def test_without_its_shim_the_follower_tells_the_end(
    site: Site, run_directory: Path, fake: Callable[..., list[str]], until: Callable[..., None]
) -> None:
    launch.launch(run_directory, command=fake(run_directory))
    save_preferences(Preferences(webhook=site.address))
    until(lambda: (run_directory / "events.jsonl").exists())
    follower = Follower(RunView(run_directory), Preferences(webhook=site.address), None)
    thread = threading.Thread(target=follower.follow, args=(0.02,))
    thread.start()
    processes = read_processes(run_directory)
    assert processes is not None
    for identity in (processes.shim, processes.trainer):
        assert identity is not None
        os.kill(identity.pid, signal.SIGKILL)
    thread.join(20)
    assert [message["state"] for message in site.received] == ["lost"]


def test_afterwards_waits_for_the_shim_to_leave(
    site: Site, run_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_preferences(Preferences(webhook=site.address))
    with Recorder(run_directory) as recorder:
        recorder.finish({"outcome": "finished"})
    waits: list[float] = []
    live = status_of(run_directory)
    answers = iter([live.__class__("running", live.reason)] * 2)
    monkeypatch.setattr(RunView, "status", lambda view: next(answers, live))
    monkeypatch.setattr(time, "sleep", waits.append)
    afterwards.run(run_directory)
    assert len(waits) == 2
    assert [message["state"] for message in site.received] == ["finished"]
    site.statuses = [500]
    monkeypatch.setattr(webhook, "ATTEMPTS", 1)
    afterwards.run(run_directory)
    assert "HTTP 500" in capsys.readouterr().err
    afterwards.run(run_directory.parent / "gone")
    assert "gone" in capsys.readouterr().err
