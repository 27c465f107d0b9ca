"""The pipe to the chat child: order, stopping, misbehaving children, and that nothing is left running."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from minimind_tui.chat_client import LONGEST_QUEUE, ChatClient, Done, Message, Piece, Ready, Trouble, parse

FAKE = (sys.executable, str(Path(__file__).with_name("fake_chat_worker.py")))


@pytest.fixture
async def client() -> AsyncIterator[ChatClient]:
    made = ChatClient(FAKE)
    yield made
    await made.close()


async def until(client: ChatClient, kind: type[Message], seconds: float = 20.0) -> list[Message]:
    """Everything said up to and with the first message of `kind`."""
    said: list[Message] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        said += client.drain()
        if any(isinstance(message, kind) for message in said):
            return said
        await asyncio.sleep(0.01)
    raise AssertionError(f"no {kind.__name__} in {said}")


def text_of(said: list[Message]) -> str:
    return "".join(message.text for message in said if isinstance(message, Piece))


async def test_answers_in_order_and_says_what_it_opened(client: ChatClient) -> None:
    await client.open("/x/nano")
    assert client.state == "opening"
    (ready,) = await until(client, Ready)
    assert isinstance(ready, Ready)
    assert ready.facts["objective"] == "sft"
    number = await client.chat([{"role": "user", "content": "你好 there"}], {"temperature": 0.0}, top=2)
    said = await until(client, Done)
    assert text_of(said) == "nano heard: 你好 there 好的。"
    first, done = said[0], said[-1]
    assert isinstance(first, Piece)
    assert first.id == number
    assert first.alternatives == (("nano ", 0.5), ("或", 0.25))
    assert isinstance(done, Done)
    assert (done.finish, done.tokens) == ("stop", len(said) - 1)


async def test_stop_ends_the_answer_and_the_next_one_works(client: ChatClient) -> None:
    await client.open("/x/nano")
    await until(client, Ready)
    await client.complete("slow one two three four five six seven eight nine", {})
    await until(client, Piece)
    await client.stop()
    done = (await until(client, Done))[-1]
    assert isinstance(done, Done)
    assert done.finish == "cancelled"
    assert done.tokens < 12
    await client.complete("again", {})
    assert text_of(await until(client, Done)) == "nano heard: again 好的。"


@pytest.mark.parametrize(
    ("asked", "words"), [("please die", "exit 3): RuntimeError: device-side assert"), ("kill yourself", "signal 9")]
)
async def test_death_of_the_child_is_said_and_it_can_be_opened_again(
    client: ChatClient, asked: str, words: str
) -> None:
    await client.open("/x/nano")
    await until(client, Ready)
    await client.complete(asked, {})
    trouble = (await until(client, Trouble))[-1]
    assert isinstance(trouble, Trouble)
    assert trouble.ended
    assert words in trouble.text.en
    assert client.state == "closed"
    await client.open("/x/nano")
    assert isinstance((await until(client, Ready))[0], Ready)


async def test_a_path_that_cannot_be_opened_gives_the_childs_own_words(client: ChatClient) -> None:
    await client.open("/x/missing")
    trouble = (await until(client, Trouble))[0]
    assert isinstance(trouble, Trouble)
    assert trouble.text.zh == "/x/missing：这里没有检查点"


async def test_a_program_that_does_not_exist_is_one_line() -> None:
    client = ChatClient(("/nowhere/python",))
    await client.open("/x/nano")
    (trouble,) = client.drain()
    assert isinstance(trouble, Trouble)
    assert "No such file" in trouble.text.en


async def test_noise_on_the_pipe_is_passed_over(client: ChatClient) -> None:
    await client.open("/x/nano")
    await until(client, Ready)
    await client.complete("noise", {})
    assert text_of(await until(client, Done)) == "nano heard: noise 好的。"


async def test_a_refused_request_leaves_the_child_ready(client: ChatClient) -> None:
    await client.open("/x/nano")
    await until(client, Ready)
    await client.complete("refuse", {})
    trouble = (await until(client, Trouble))[0]
    assert isinstance(trouble, Trouble)
    assert not trouble.ended
    assert client.state == "ready"


async def test_the_queue_is_bounded_and_nothing_is_lost(client: ChatClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LONGEST_QUEUE > 1000
    monkeypatch.setattr("minimind_tui.chat_client.LONGEST_QUEUE", 100)
    await client.open("/x/nano")
    await until(client, Ready)
    await client.complete("flood", {})
    await asyncio.sleep(0.5)
    first = client.drain()
    assert 0 < len(first) <= 100
    rest = await until(client, Done)
    assert text_of(first + rest) == "".join(f"{number} " for number in range(3000))


async def test_close_leaves_no_process_even_when_the_child_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimind_tui.chat_client.GRACE_SECONDS", 0.2)
    client = ChatClient((sys.executable, "-c", "import time; time.sleep(600)"))
    await client.open("/x/deaf")
    process = client._process
    assert process is not None
    await client.close()
    assert process.returncode == -9
    assert client.state == "closed"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"null",
        b'{"op":"token"}',
        b'{"op":"new"}',
        b"\xff",
        b'{"op":"token","id":1,"text":"a","alternatives":[1]}',
    ],
)
def test_lines_that_are_not_messages_are_refused(line: bytes) -> None:
    assert parse(line) is None


def test_an_error_is_cleaned() -> None:
    message = parse(b'{"op":"error","text":{"en":"a\\u001b[31mb","zh":"c\\u009bd"}}')
    assert isinstance(message, Trouble)
    assert message.text.en == "a␛[31mb"
    assert message.text.zh == "c⟨U+009B⟩d"
