"""Files from anyone: bad lines are skipped and explained, bad files are named, nothing but UserError comes out."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from minimind.data import formats
from minimind.data.formats import Report, check, guess_kind, read_conversations, read_preferences, read_texts
from minimind.errors import UserError

GOOD_TEXT = b'{"text": "hello"}\n'
GOOD_CHAT = {"conversations": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}


def line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"text": "a\xff"}\n', "not UTF-8 (byte 12)"),
        (b'{"text": "a\x00b"}\n', "not JSON"),
        (b'{"text": "a\\u0000b"}\n', "NUL"),
        (b"hello\n", "not JSON"),
        (b'{"text": "torn', "not JSON"),
        (b'["text"]\n', "not a JSON object"),
        (b'{"Text": "a"}\n', 'no "text"'),
        (b'{"text": 7}\n', 'no "text"'),
        (b'{"text": "  "}\n', "empty text"),
        (b'{"text": "\\ud800"}\n', "surrogate"),
        (b'{"text": "\\uD83D\\uDE42", "x": "\\uDE42"}\n', "surrogate"),
        (b'{"text": ' + b"[" * 100_000 + b"\n", "nested too deep"),
        (b'{"text": "a", "n": ' + b"9" * 10_000 + b"}\n", "not JSON"),
        (b'{"text": "' + b"x" * formats.LONGEST_LINE + b'"}\n', "line too long"),
    ],
)
def test_a_bad_line_is_skipped_and_explained(tmp_path: Path, bad: bytes, reason: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(GOOD_TEXT * 30 + bad)
    report = Report(path)
    assert list(read_texts(path, report)) == ["hello"] * 30
    assert (report.usable, report.bad) == (30, 1)
    assert report.examples[0].en.startswith("data.jsonl:31: ")
    assert reason in report.examples[0].en
    assert report.examples[0].zh.startswith("data.jsonl:31：")


@pytest.mark.parametrize("emoji", [b'{"text": "\\uD83D\\uDE42"}\n', '{"text": "🙂"}\n'.encode()])
def test_marks_line_ends_and_pairs_are_accepted(tmp_path: Path, emoji: bytes) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + emoji.replace(b"\n", b"\r\n") + b"\r\n  \n" + b'{"text": "last"}')
    report = Report(path)
    assert list(read_texts(path, report)) == ["🙂", "last"]
    assert (report.usable, report.bad, report.blank) == (2, 0, 2)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (gzip.compress(GOOD_TEXT, mtime=0), "gunzip"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\x28\xb5\x2f\xfdrest", "zstd"),
        (b"PAR1rest", "Parquet"),
        (GOOD_TEXT.decode().encode("utf-16"), "UTF-16"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=name) as caught:
        list(read_texts(path, Report(path)))
    assert str(path) in caught.value.text.zh


def test_empty_missing_and_directories_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\n \n")
    for source, part in ((path, "is empty"), (tmp_path / "none", "cannot be read"), (tmp_path, "is a directory")):
        with pytest.raises(UserError, match=part):
            check(source, "pretrain", Report(source))


def test_too_many_bad_lines_are_an_error_unless_allowed(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(GOOD_TEXT * 94 + b"bad\n" * 6)
    with pytest.raises(UserError, match=r"6 of 100 lines .*allow-bad.*data.jsonl:95") as caught:
        check(path, "pretrain", Report(path))
    assert caught.value.text.zh.count("data.jsonl:") == 5
    report = Report(path, allow_bad=True)
    check(path, "pretrain", report)
    assert (report.usable, report.bad, report.reasons) == (94, 6, {"not JSON": 6})
    path.write_bytes(GOOD_TEXT * 95 + b"bad\n" * 5)
    check(path, "pretrain", Report(path))


def test_a_hopeless_file_is_given_up_early(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"bad\n" * 100_000)
    report = Report(path, allow_bad=True)
    with pytest.raises(UserError, match=r"none of the lines read \(200\)"):
        check(path, "pretrain", report)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"text": "a"}, 'no "conversations" list'),
        ({"conversations": []}, 'no "conversations" list'),
        ({"conversations": ["hi"]}, "role is not one of"),
        ({"conversations": [{"role": "robot", "content": "x"}]}, "role is not one of"),
        ({"conversations": [{"role": "user", "content": 5}]}, '"content" is not a string'),
        ({"conversations": [{"role": "user", "content": "x"}]}, "no assistant answer"),
        (
            {"conversations": [{"role": "user", "content": "x"}, {"role": "assistant", "content": " "}]},
            "no assistant answer",
        ),
        ({"conversations": [{"role": "system", "content": "", "tools": "{"}]}, '"tools" is not'),
        ({"conversations": [{"role": "assistant", "content": "", "tool_calls": "[1]"}]}, '"tool_calls" is not'),
        (
            {"conversations": [{"role": "assistant", "content": "", "tool_calls": '[{"name": "f"}]'}]},
            "tool call without",
        ),
    ],
)
def test_conversations_are_checked(tmp_path: Path, record: Any, reason: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(line(GOOD_CHAT) * 20 + line(record))
    report = Report(path)
    assert len(list(read_conversations(path, report))) == 20
    assert reason in report.examples[0].en


def test_released_conversations_are_read(tmp_path: Path) -> None:
    """Absent keys arrive as null, tools and calls as JSON text."""
    call = '[{"name": "f", "arguments": {"a": 1}}]'
    record = {
        "conversations": [
            {
                "role": "system",
                "content": "S",
                "tools": '[{"type": "function"}]',
                "tool_calls": None,
                "reasoning_content": None,
            },
            {"role": "user", "content": "q", "tools": None},
            {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": call},
            {"role": "tool", "content": "1"},
            {"role": "assistant", "content": "a", "tools": ""},
        ]
    }
    path = tmp_path / "data.jsonl"
    path.write_bytes(line(record))
    (messages,) = read_conversations(path, Report(path))
    assert messages[0] == {"role": "system", "content": "S", "tools": [{"type": "function"}]}
    assert messages[2]["tool_calls"] == [{"name": "f", "arguments": {"a": 1}}]
    assert messages[2]["content"] == ""
    assert messages[4]["tools"] == []


def test_the_placeholder_of_a_prompt_set_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "rlaif.jsonl"
    placeholder = {"conversations": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "无"}]}
    path.write_bytes(line(placeholder) * 20 + line({"conversations": [{"role": "assistant", "content": ""}]}))
    report = Report(path)
    assert list(read_conversations(path, report, kind="rlaif")) == [[{"role": "user", "content": "q"}]] * 20
    assert "no user message" in report.examples[0].en


def test_preferences_need_two_answers(tmp_path: Path) -> None:
    def pair(good: str, bad: str) -> dict[str, Any]:
        question = {"role": "user", "content": "q"}
        return {
            "chosen": [question, {"role": "assistant", "content": good}],
            "rejected": [question, {"role": "assistant", "content": bad}],
        }

    path = tmp_path / "dpo.jsonl"
    path.write_bytes(line(pair("a", "b")) * 20 + line(pair("a", "")))
    report = Report(path)
    pairs = list(read_preferences(path, report))
    assert [answer[-1]["content"] for answer in pairs[0]] == ["a", "b"]
    assert '"rejected" does not end' in report.examples[0].en


def test_plain_text_becomes_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes("\ufeffone\r\ntwo\n\n\n三\n".encode() + b"bad \xff\n" + b"four\n" * 40)
    report = Report(path)
    documents = list(read_texts(path, report))
    assert documents[0] == "one\ntwo"
    assert documents[1].startswith("三")
    assert sum(document.count("four") for document in documents) == 40
    assert "book.txt:6: not UTF-8" in report.examples[0].en
    path.write_bytes(b"a line of text\n" * 20_000)
    documents = list(read_texts(path, Report(path)))
    assert max(map(len, documents)) < formats.LONGEST_PARAGRAPH + 100
    assert "\n".join(documents).count("a line of text") == 20_000


def test_kinds_are_guessed_from_the_first_usable_line(tmp_path: Path) -> None:
    cases = {"pretrain": GOOD_TEXT, "sft": line(GOOD_CHAT), "dpo": line({"chosen": [], "rejected": []})}
    for kind, content in cases.items():
        path = tmp_path / f"{kind}.jsonl"
        path.write_bytes(b"\xef\xbb\xbf" + b"\n" + content)
        assert guess_kind(path) == kind
    text = tmp_path / "a.txt"
    text.write_bytes(b"[once] upon a time")
    assert guess_kind(text) == "pretrain"


def test_names_with_control_characters_reach_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m.jsonl"
    path.write_bytes(b'"\x1b]0;x\x07\n' * 3)
    with pytest.raises(UserError) as caught:
        check(path, "pretrain", Report(path))
    assert "\x1b" not in caught.value.text.en + caught.value.text.zh


def test_random_damage_never_escapes(tmp_path: Path) -> None:
    """600 damaged files of every kind: UserError or a report, nothing else."""
    draw = random.Random(11)
    seeds = [
        GOOD_TEXT,
        line(GOOD_CHAT),
        line({"chosen": GOOD_CHAT["conversations"], "rejected": GOOD_CHAT["conversations"]}),
        b"plain\n\n",
    ]
    path = tmp_path / "fuzz.jsonl"
    refused: list[str] = []
    for _ in range(600):
        content = bytearray(b"".join(draw.choice(seeds) for _ in range(draw.randint(0, 12))))
        for _ in range(draw.randint(0, 8)):
            place = draw.randrange(len(content) + 1)
            content[place : place + draw.randint(0, 3)] = draw.choice(
                (
                    b"",
                    b"\x00",
                    b"\xff\xfe",
                    b'"',
                    b"{",
                    b"[[[[",
                    b"\\ud800",
                    b"\n",
                    b"\r",
                    b"null",
                    b"1e999",
                    b"\x1b[2J",
                )
            )
        path.write_bytes(bytes(content))
        kind: formats.Kind = draw.choice(("pretrain", "sft", "dpo", "rlaif"))
        report = Report(path, allow_bad=draw.random() < 0.5)
        try:
            guess_kind(path)
            check(path, kind, report)
            assert report.usable > 0
        except UserError as error:
            refused.append(error.text.en)
    assert 100 < len(refused) < 590
    assert not any("\x1b" in message for message in refused)


def test_tasks_for_tool_use_end_with_the_question_and_bring_their_answers(tmp_path: Path) -> None:
    path = tmp_path / "agent_rl.jsonl"
    asked = [{"role": "system", "content": "", "tools": '[{"name": "length"}]'}, {"role": "user", "content": "?"}]
    called = {"role": "assistant", "content": "", "tool_calls": '[{"name": "length", "arguments": {"text": "a"}}]'}
    rows = [
        {"conversations": [*asked, {"role": "assistant", "content": ""}], "gt": ["1", 2.5, 3]},
        {"conversations": [*asked, called, {"role": "tool", "content": "1"}], "gt": []},
        {"conversations": asked},
        {"conversations": asked, "gt": "1"},
        {"conversations": asked, "gt": [True]},
        {"conversations": asked[:1], "gt": ["1"]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    report = Report(path, allow_bad=True)
    tasks = list(formats.read_agent_tasks(path, report))
    assert [(len(messages), truths) for messages, truths in tasks] == [(2, ["1", "2.5", "3"]), (2, [])]
    assert tasks[0][0][0]["tools"] == [{"name": "length"}]
    assert [line for line, _ in report.first_bad] == [3, 4, 5, 6]
    assert 'agent_rl.jsonl:3: no "gt" list' in report.examples[0].en
    assert formats.guess_kind(path) == "agent"
