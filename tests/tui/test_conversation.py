"""Conversations are kept a turn at a time and survive torn lines, foreign lines and full disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from minimind.errors import UserError
from minimind_tui.conversation import LONGEST_FILE, Conversation, Turn, read_turns


def test_turns_come_back_at_the_next_start(home: Path) -> None:
    kept = Conversation.new()
    assert not kept.path.exists()
    kept.append(Turn("user", "你好\nthere"))
    kept.append(Turn("assistant", "hi", model="nano-chat"))
    kept.append(Turn("assistant", "hello", model="other", side=1))
    again = Conversation.newest()
    assert again.path == kept.path
    assert again.turns == kept.turns
    assert again.path.parent == home / "chats"
    assert again.path.stat().st_mode & 0o077 == 0
    assert again.messages() == [{"role": "user", "content": "你好\nthere"}, {"role": "assistant", "content": "hi"}]
    assert again.messages(side=1)[1] == {"role": "assistant", "content": "hello"}


def test_a_torn_line_swallows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"role":"user","text":"one"}\n[1]\n{"role":"god","text":"x"}\n\xff\n{"role":"user","te')
    Conversation(path).append(Turn("user", "two"))
    assert [turn.text for turn in read_turns(path)] == ["one", "two"]


def test_a_half_surrogate_from_a_terminal_does_not_stop_the_keeping(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    Conversation(path).append(Turn("user", "a\ud800b"))
    assert [turn.role for turn in read_turns(path)] == ["user"]


def test_only_the_end_of_a_huge_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    line = '{"role":"user","text":"%s"}\n'
    path.write_text(line % "first" + line % ("x" * LONGEST_FILE) + line % "last", encoding="utf-8")
    assert [turn.text for turn in read_turns(path)] == ["last"]


def test_what_cannot_be_kept_is_said_and_still_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory", encoding="utf-8")
    kept = Conversation(tmp_path / "file" / "a.jsonl")
    with pytest.raises(UserError, match="the conversation cannot be kept: "):
        kept.append(Turn("user", "one"))
    assert kept.turns == [Turn("user", "one")]


def test_an_empty_file_and_an_unreadable_one_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").mkdir()
    (tmp_path / "c.jsonl").write_text("", encoding="utf-8")
    Conversation(tmp_path / "a.jsonl").append(Turn("user", "old"))
    assert Conversation.newest(tmp_path).path.name == "a.jsonl"
    assert Conversation.newest(tmp_path / "nowhere").turns == []
