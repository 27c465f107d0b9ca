"""The chat child, driven as its parent drives it: a process and two pipes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minimind.config import SampleConfig
from minimind.errors import UserError
from minimind.inference.engine import Engine
from minimind.inference.worker import LONGEST_LINE, Generate, Open, Signal, parse_request
from tests.minimind.tiny import save_tiny

ASK = {
    "op": "generate",
    "id": 7,
    "messages": [{"role": "user", "content": "the cat 小猫"}],
    "sample": {"temperature": 0},
}


class Child:
    """A worker process and its pipes."""

    def __init__(self, path: Path, *program: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *(program or ("-m", "minimind.inference.worker")), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def send(self, *requests: dict[str, Any] | bytes) -> None:
        assert self.process.stdin is not None
        for request in requests:
            self.process.stdin.write(request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        message: dict[str, Any] = json.loads(self.process.stdout.readline())
        return message

    def answer(self) -> list[dict[str, Any]]:
        """Messages up to the one that ends a request."""
        messages = [self.read()]
        while messages[-1]["op"] == "token":
            messages.append(self.read())
        return messages

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(20)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("worker"), max_position_embeddings=4096)


@pytest.fixture
def child(checkpoint: Path) -> Iterator[Child]:
    made = Child(checkpoint)
    with made.process:
        yield made
        made.process.kill()


def test_a_conversation_is_answered_as_the_engine_answers(child: Child, checkpoint: Path) -> None:
    ready = child.read()
    assert ready["op"] == "ready"
    assert ready["path"] == str(checkpoint)
    assert (ready["objective"], ready["step"], ready["context"]) == ("sft", 100, 4096)
    assert ready["parameters"] == Engine.open(checkpoint).model.parameter_count()

    config = SampleConfig(temperature=0, max_new_tokens=9)
    expected = list(Engine.open(checkpoint).chat(ASK["messages"], config, top=3))
    child.send(ASK | {"sample": {"temperature": 0, "max_new_tokens": 9}, "top": 3, "look": ["attention"]})
    *tokens, done = child.answer()
    assert [token["text"] for token in tokens] == [token.text for token in expected if token.finish != "stop"]
    assert {token["id"] for token in tokens} == {7}
    for token, wanted in zip(tokens, expected, strict=False):
        # Attention is watched through torch; without it the compiled step writes, which rounds otherwise.
        assert token["probability"] == pytest.approx(wanted.probability, rel=1e-4)
        assert [label for label, _ in token["alternatives"]] == [label for label, _ in wanted.alternatives]
        assert len(token["attention"]) == 2
        assert sum(token["attention"][0]) == pytest.approx(1, abs=1e-3)
    assert (done["op"], done["id"], done["finish"], done["notes"]) == ("done", 7, expected[-1].finish, [])
    assert done["tokens"] == len(tokens)
    assert done["prompt_tokens"] > 3
    assert done["seconds"] > 0

    child.send({"op": "generate", "id": "raw", "prompt": "the", "sample": {"temperature": 0, "max_new_tokens": 3}})
    *tokens, done = child.answer()
    assert [t["text"] for t in tokens] == [t.text for t in Engine.open(checkpoint).complete("the", config)][:3]
    assert "alternatives" not in tokens[0]
    assert done["id"] == "raw"
    assert child.end() == 0


def test_stop_is_heard_while_the_model_writes(child: Child) -> None:
    assert child.read()["op"] == "ready"
    long = {"sample": {"temperature": 1.5, "top_p": 1.0, "max_new_tokens": 4000, "seed": 3}}
    child.send({"op": "generate", "id": 1, "prompt": "the", **long})
    assert child.read()["op"] == "token"
    child.send({"op": "stop"})
    done = child.answer()[-1]
    assert (done["finish"], done["id"]) == ("cancelled", 1)
    child.send({"op": "generate", "id": 2, "prompt": "the", **long}, {"op": "stop"})
    done = child.answer()[-1]
    assert (done["finish"], done["id"]) == ("cancelled", 2)
    child.send(ASK | {"sample": {"max_new_tokens": 2}})
    assert child.answer()[-1]["finish"] in ("length", "stop")


def test_another_model_is_opened_and_a_bad_one_leaves_the_present(child: Child, checkpoint: Path) -> None:
    assert child.read()["op"] == "ready"
    child.send({"op": "open", "path": "/nowhere/at/all"}, ASK | {"sample": {"max_new_tokens": 2}})
    assert "no model" in child.read()["text"]["en"]
    assert child.answer()[-1]["op"] == "done"
    child.send({"op": "open", "path": str(checkpoint.parent)})
    assert child.read()["op"] == "ready"


def test_bad_lines_get_one_error_each_and_change_nothing(child: Child) -> None:
    assert child.read()["op"] == "ready"
    chaos = random.Random(0)
    good = json.dumps(ASK).encode()
    lines = [b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"op":"generate"}', b"x" * (LONGEST_LINE + 100_000)]
    for _ in range(60):
        start, end = sorted(chaos.sample(range(1, len(good)), 2))
        lines.append(good[:start] + chaos.randbytes(3).replace(b"\n", b"") + good[end:])
    lines = [line for line in lines if not parses(line)]
    assert len(lines) > 50
    for line in lines:
        child.send(line + b"\n")
        message = child.read()
        assert message["op"] == "error", line[:200]
        assert message["text"]["en"]
        assert message["text"]["zh"]
        assert "\n" not in message["text"]["en"] + message["text"]["zh"]
    child.send(b"\n", b"  \n", ASK | {"sample": {"max_new_tokens": 2}})
    assert child.answer()[-1]["op"] == "done"
    assert child.end() == 0


def parses(line: bytes) -> bool:
    try:
        parse_request(line)
    except UserError:
        return False
    return True


def test_the_end_of_the_parent_ends_a_child_in_the_middle_of_its_work(child: Child) -> None:
    assert child.read()["op"] == "ready"
    child.send({"op": "generate", "id": 1, "prompt": "the", "sample": {"max_new_tokens": 4000, "temperature": 2.0}})
    assert child.read()["op"] == "token"
    assert child.end() == 0


STUCK = """
import sys, time
import minimind.inference.engine as engine
import minimind.inference.worker as worker
engine.Engine.read = lambda self, tokens, **options: time.sleep(600)
sys.exit(worker.main())
"""


def test_a_child_stuck_in_the_model_ends_with_its_parent_too(checkpoint: Path) -> None:
    child = Child(checkpoint, "-c", STUCK)
    with child.process as process:
        assert child.read()["op"] == "ready"
        child.send(ASK)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        assert child.end() == 0


def test_a_model_that_cannot_be_opened_is_one_error_and_the_end(tmp_path: Path) -> None:
    child = Child(tmp_path / "nothing")
    with child.process as process:
        message = child.read()
        assert message["op"] == "error"
        assert "nothing" in message["text"]["en"]
        assert process.wait(20) == 2
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"id": None}, "id"),
        ({"lookup": 1}, "lookup"),
        ({"id": True}, "id"),
        ({"prompt": "x"}, "messages, prompt"),
        ({"messages": None}, "messages, prompt"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "message 1"),
        ({"messages": None, "prompt": 3}, "prompt"),
        ({"top": -1}, "top"),
        ({"top": 1.5}, "top"),
        ({"look": ["under the bed"]}, "look"),
        ({"sample": []}, "sample"),
        ({"sample": {"temperature": "hot"}}, "temperature"),
        ({"sample": {"temprature": 1}}, "temprature"),
        ({"op": "dance"}, "op"),
        ({"op": "open"}, "op"),
    ],
)
def test_the_field_that_is_wrong_is_named(change: dict[str, Any], names: str) -> None:
    with pytest.raises(UserError, match=names):
        parse_request(json.dumps(ASK | change).encode())


def test_the_weights_asked_for_are_those_that_write(checkpoint: Path) -> None:
    answers: list[dict[str, Any]] = []
    command = [sys.executable, "-m", "minimind.inference.worker", str(checkpoint), "int8"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(ASK | {"lookup": True}).encode() + b"\n")
        process.stdin.flush()
        while not answers or answers[-1]["op"] != "done":  # the end of its input would end it at once
            answers.append(json.loads(process.stdout.readline()))
        process.stdin.close()
        assert process.wait(60) == 0
    ready, done = answers[0], answers[-1]
    assert (ready["dtype"], ready["notes"]) == ("int8", [])
    assert 0 <= done["accepted"] <= done["drafted"]


def test_good_requests_are_understood() -> None:
    made = parse_request(json.dumps(ASK | {"top": 4}).encode())
    assert isinstance(made, Generate)
    assert (made.id, made.top, made.attention, made.sample.temperature) == (7, 4, False, 0)
    assert parse_request(b'{"op":"open","path":"x"}') == Open("x")
    assert parse_request(b'{"op":"stop"}') == Signal(quit=False)
    assert parse_request(b'{"op":"quit"}') == Signal(quit=True)
