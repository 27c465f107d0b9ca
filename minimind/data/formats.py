"""Training files from anyone, read line by line: what is usable comes out, what is not is counted and explained.

One JSON object a line (`text`, `conversations`, `chosen`/`rejected`), or plain text for pretraining. A bad line never
stops the reading; too many of them do. Only `UserError` is raised, and memory does not grow with the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean_line

Kind = Literal["pretrain", "sft", "dpo", "rlaif", "agent"]
Messages = list[dict[str, Any]]
Preference = tuple[Messages, Messages]
AgentTask = tuple[Messages, list[str]]

LONGEST_LINE = 4 << 20
"""Bytes; a longer line is skipped."""
LONGEST_PARAGRAPH = 64 << 10
"""Bytes of plain text after which a document ends at the next line end."""
MOST_BAD = 0.05
_EXAMPLES = 5
_HOPELESS = 200
"""Bad lines without a single usable one after which the rest of the file is not read."""
ROLES = ("system", "user", "assistant", "tool")

_SIGNATURES = (
    (b"\x1f\x8b", Text("gzip-compressed: unpack it with gunzip", "gzip 压缩文件：请先用 gunzip 解压")),
    (b"PK\x03\x04", Text("a zip archive: unpack it", "zip 压缩包：请先解压")),
    (b"\x28\xb5\x2f\xfd", Text("zstd-compressed: unpack it with unzstd", "zstd 压缩文件：请先用 unzstd 解压")),
    (b"PAR1", Text("a Parquet file: convert it to JSON lines", "Parquet 文件：请转换成 JSONL")),
    (b"\xff\xfe", Text("UTF-16 text: save it as UTF-8", "UTF-16 文本：请另存为 UTF-8")),
    (b"\xfe\xff", Text("UTF-16 text: save it as UTF-8", "UTF-16 文本：请另存为 UTF-8")),
    (
        b"version https://git-lfs",
        Text(
            "a Git LFS pointer, not the data itself: run `git lfs pull`",
            "Git LFS 指针，不是数据本身：请运行 `git lfs pull`",
        ),
    ),
)


class _BadLine(Exception):
    """Why a line cannot be used."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.text = Text(en, zh)


@dataclass(slots=True)
class Report:
    """What a reading found: lines in all, and how many are usable, bad (the first of them with a reason) or blank."""

    path: Path
    allow_bad: bool = False
    lines: int = 0
    usable: int = 0
    bad: int = 0
    blank: int = 0
    first_bad: list[tuple[int, Text]] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def examples(self) -> list[Text]:
        """The first bad lines as `file:line: reason`."""
        found = []
        for line, reason in self.first_bad:
            where = clean_line(f"{self.path.name}:{line}")
            found.append(Text(f"{where}: {reason.en}", f"{where}：{reason.zh}"))
        return found

    def add(self, line: int, reason: Text) -> None:
        """Count a bad line."""
        self.bad += 1
        kind = reason.en.partition(" (")[0]
        self.reasons[kind] = self.reasons.get(kind, 0) + 1
        if len(self.first_bad) < _EXAMPLES:
            self.first_bad.append((line, reason))

    def merge(self, part: Report) -> None:
        """Add what was found in the next part of the file, whose lines were counted from 1."""
        for line, reason in part.first_bad[: _EXAMPLES - len(self.first_bad)]:
            self.first_bad.append((self.lines + line, reason))
        self.lines += part.lines
        self.usable += part.usable
        self.bad += part.bad
        self.blank += part.blank
        for kind, count in part.reasons.items():
            self.reasons[kind] = self.reasons.get(kind, 0) + count

    def require_hope(self) -> None:
        """Raise UserError when the first 200 lines or more are all bad: the rest need not be read."""
        if not self.usable and self.bad >= _HOPELESS:
            self.require_usable()

    def require_usable(self) -> None:
        """Raise UserError when nothing is usable, or more than 5 % of the lines are bad and `allow_bad` is not set."""
        total = self.usable + self.bad
        if self.usable and (self.allow_bad or self.bad <= MOST_BAD * total):
            return
        name = clean_line(str(self.path))
        shown = Text("; ".join(text.en for text in self.examples), "；".join(text.zh for text in self.examples))
        if not total:
            raise UserError(f"{name} is empty: it needs at least one line of data", f"{name} 是空的：至少要有一行数据")
        if not self.usable:
            raise UserError(
                f"{name}: none of the lines read ({total}) can be used. {shown.en}",
                f"{name}：读到的 {total} 行全都不可用。{shown.zh}",
            )
        raise UserError(
            f"{name}: {self.bad} of {total} lines cannot be used (more than {MOST_BAD:.0%}; --allow-bad skips them). {shown.en}",
            f"{name}：{total} 行中有 {self.bad} 行不可用（超过 {MOST_BAD:.0%}；--allow-bad 可跳过它们）。{shown.zh}",
        )


def read_texts(path: Path, report: Report) -> Iterator[str]:
    """The documents of a pretraining file: `text` of each JSON line, or the paragraphs of a plain text file."""
    with _open(path) as file:
        if _is_json(file):
            yield from _records(file, report, _text_record)
        else:
            yield from _paragraphs(file, report)
    report.require_usable()


def read_conversations(path: Path, report: Report, *, kind: Literal["sft", "rlaif"] = "sft") -> Iterator[Messages]:
    """The conversations of a fine-tuning file; of an rlaif file without the placeholder answer at the end."""
    with _open(path) as file:
        yield from _records(file, report, _SCHEMAS[kind])
    report.require_usable()


def read_preferences(path: Path, report: Report) -> Iterator[Preference]:
    """The (chosen, rejected) conversations of a preference file."""
    with _open(path) as file:
        yield from _records(file, report, _dpo_record)
    report.require_usable()


def read_agent_tasks(path: Path, report: Report) -> Iterator[AgentTask]:
    """The conversations of a file for tool use, up to the last question, each with the right answers (``gt``)."""
    with _open(path) as file:
        yield from _records(file, report, _agent_record)
    report.require_usable()


def is_json_lines(path: Path) -> bool:
    """Whether a file is one JSON object a line rather than plain text. Raises UserError like reading."""
    with _open(path) as file:
        return _is_json(file)


def read_part(path: Path, kind: Kind, report: Report, start: int, end: int) -> Iterator[Any]:
    """The documents of those lines of a JSON-lines file that begin at byte `start` or later and before `end`.

    Parts that together cover a file give what reading it whole gives. `report` counts lines from the part's first.
    Raises UserError for a file that cannot be read; whether enough of it is usable is for who has all parts to say.
    """
    with _open(path) as file:
        if start > 0:
            file.seek(start - 1)
            while (raw := _readline(file)) and not raw.endswith(b"\n"):
                pass  # the rest of a line that begins in an earlier part
        yield from _records(file, report, _SCHEMAS[kind], start == 0, end)


def documents(path: Path, kind: Kind, report: Report) -> Iterator[Any]:
    """The documents of a file of any kind, as the reader for that kind gives them."""
    if kind == "pretrain":
        return read_texts(path, report)
    if kind == "dpo":
        return read_preferences(path, report)
    if kind == "agent":
        return read_agent_tasks(path, report)
    return read_conversations(path, report, kind=kind)


def check(path: Path, kind: Kind, report: Report) -> None:
    """Read the whole file, filling the report; raises UserError as reading it for training would."""
    for _ in documents(path, kind, report):
        pass


def guess_kind(path: Path) -> Kind:
    """What the first usable line of a file is meant for; plain text is for pretraining. Raises UserError like reading."""
    with _open(path) as file:
        if not _is_json(file):
            return "pretrain"
        file.seek(0)
        for raw in iter(lambda: file.readline(LONGEST_LINE + 1), b""):
            try:
                record = _object(raw.removeprefix(b"\xef\xbb\xbf"))
            except _BadLine:
                continue
            if "chosen" in record:
                return "dpo"
            if "gt" in record:
                return "agent"
            if "conversations" in record or "messages" in record:
                return "sft"
            return "pretrain"
    return "pretrain"


def _open(path: Path) -> BinaryIO:
    """The file, opened and seen to be text. Raises UserError that names what it is instead."""
    name = clean_line(str(path))
    try:
        if path.is_dir():
            raise UserError(f"{name} is a directory: name a file in it", f"{name} 是目录：请指定其中的文件")
        file = path.open("rb")
        head = file.read(64)
        file.seek(0)
    except OSError as error:
        raise UserError(
            f"{name} cannot be read: {error.strerror}; check the path",
            f"{name} 读不出来：{error.strerror}；请检查路径",
        ) from None
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            file.close()
            raise UserError(f"{name} is {what.en}", f"{name}：{what.zh}")
    return file


def _is_json(file: BinaryIO) -> bool:
    """Whether the first character that is no white space opens a JSON object, or the name says so."""
    head = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    return head[:1] == b"{" or Path(file.name).suffix in (".jsonl", ".json")


def _lines(
    file: BinaryIO, report: Report, at_start: bool = True, end: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of the lines, up to the byte `end`, that are not blank and not too long; bounded memory."""
    while (end is None or file.tell() < end) and (raw := _readline(file)):
        report.lines += 1
        number = report.lines
        if len(raw) > LONGEST_LINE:
            size = len(raw)
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(1 << 20)
                size += len(raw)
            report.add(number, Text(f"line too long ({size:,} bytes)", f"行太长（{size:,} 字节）"))
            continue
        if number == 1 and at_start:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if raw.strip():
            yield number, raw
        else:
            report.blank += 1


def _readline(file: BinaryIO) -> bytes:
    """One line, or the beginning of one that is too long. Raises UserError when the disk or the network fails."""
    try:
        return file.readline(LONGEST_LINE + 1)
    except OSError as error:
        name = clean_line(file.name)
        raise UserError(
            f"{name}: reading failed: {error.strerror}; check the disk",
            f"{name}：读取失败：{error.strerror}；请检查磁盘",
        ) from None


def _records(
    file: BinaryIO,
    report: Report,
    schema: Callable[[dict[str, Any]], Any],
    at_start: bool = True,
    end: int | None = None,
) -> Iterator[Any]:
    for number, raw in _lines(file, report, at_start, end):
        try:
            value = schema(_object(raw))
        except _BadLine as reason:
            report.add(number, reason.text)
            if at_start:
                report.require_hope()
            continue
        report.usable += 1
        yield value


def _object(raw: bytes) -> dict[str, Any]:
    """The JSON object of a line. Raises _BadLine."""
    try:
        line = raw.decode()
    except UnicodeDecodeError as error:
        raise _BadLine(f"not UTF-8 (byte {error.start + 1})", f"不是 UTF-8（第 {error.start + 1} 字节）") from None
    try:
        value = json.loads(line)
    except RecursionError:
        raise _BadLine("not JSON (nested too deep)", "不是 JSON（嵌套太深）") from None
    except ValueError as error:
        detail = clean_line(str(error), 60)
        raise _BadLine(f"not JSON ({detail})", f"不是 JSON（{detail}）") from None
    if not isinstance(value, dict):
        raise _BadLine("not a JSON object", "不是 JSON 对象")
    try:
        escapes = b"\\u" in raw
        if "\x00" in line or (escapes and b"\\u0000" in raw):
            raise _BadLine("holds a NUL character", "含有 NUL 字符")
        if escapes and b"\\ud" in raw.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _BadLine("half of a surrogate pair", "含有半个代理对") from None
    return value


def _text_record(record: dict[str, Any]) -> str:
    text = record.get("text")
    if not isinstance(text, str):
        raise _BadLine('no "text" string', "没有字符串 “text”")
    if not text.strip():
        raise _BadLine("empty text", "文本为空")
    return text


def _sft_record(record: dict[str, Any]) -> Messages:
    messages = _conversation(record.get("conversations", record.get("messages")), "conversations")
    if not any(message["role"] == "assistant" and _says(message) for message in messages):
        raise _BadLine("no assistant answer to learn from", "没有可供学习的 assistant 回答")
    return messages


def _rlaif_record(record: dict[str, Any]) -> Messages:
    messages = _conversation(record.get("conversations", record.get("messages")), "conversations")
    prompt = messages[:-1] if messages[-1]["role"] == "assistant" else messages
    if not prompt or prompt[-1]["role"] not in ("user", "tool"):
        raise _BadLine("no user message to answer", "没有可供回答的 user 消息")
    return prompt


def _agent_record(record: dict[str, Any]) -> AgentTask:
    messages = _conversation(record.get("conversations", record.get("messages")), "conversations")
    asked = [place for place, message in enumerate(messages, 1) if message["role"] == "user"]
    if not asked:
        raise _BadLine("no user message to answer", "没有可供回答的 user 消息")
    truths = record.get("gt")
    if not isinstance(truths, list) or not all(isinstance(item, str) or type(item) in (int, float) for item in truths):
        raise _BadLine('no "gt" list of texts and numbers', "没有由文本和数字组成的列表 “gt”")
    return messages[: asked[-1]], [str(item) for item in truths]


def _dpo_record(record: dict[str, Any]) -> Preference:
    pair = []
    for key in ("chosen", "rejected"):
        messages = _conversation(record.get(key), key)
        if messages[-1]["role"] != "assistant" or not _says(messages[-1]):
            raise _BadLine(f'"{key}" does not end with an assistant answer', f"“{key}” 不以 assistant 的回答结尾")
        pair.append(messages)
    if pair[0] == pair[1]:
        raise _BadLine('"chosen" and "rejected" are the same', "“chosen” 与 “rejected” 相同")
    return pair[0], pair[1]


_SCHEMAS: dict[Kind, Callable[[dict[str, Any]], Any]] = {
    "pretrain": _text_record,
    "sft": _sft_record,
    "dpo": _dpo_record,
    "rlaif": _rlaif_record,
    "agent": _agent_record,
}


def _says(message: dict[str, Any]) -> bool:
    return bool(message["content"].strip() or message.get("tool_calls"))


def _conversation(value: Any, key: str) -> Messages:
    """The turns, checked, absent keys left out; tools and tool calls as lists. Raises _BadLine."""
    if not isinstance(value, list) or not value:
        raise _BadLine(f'no "{key}" list', f"没有列表 “{key}”")
    messages: Messages = []
    for turn in value:
        if not isinstance(turn, dict) or turn.get("role") not in ROLES:
            raise _BadLine(
                f"a turn whose role is not one of {', '.join(ROLES)}", f"有一轮的 role 不是 {'、'.join(ROLES)} 之一"
            )
        message = {name: item for name, item in turn.items() if item is not None}
        message.setdefault("content", "")
        for name in ("content", "reasoning_content"):
            if not isinstance(message.get(name, ""), str):
                raise _BadLine(f'a turn whose "{name}" is not a string', f"有一轮的 “{name}” 不是字符串")
        for name in ("tools", "tool_calls"):
            if name in message:
                message[name] = _json_list(message[name], name)
        messages.append(message)
    for call in (call for message in messages for call in message.get("tool_calls", [])):
        function = call.get("function") or call
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or "arguments" not in function:
            raise _BadLine("a tool call without name and arguments", "有一个工具调用缺少 name 或 arguments")
    return messages


def _json_list(value: Any, name: str) -> list[dict[str, Any]]:
    """A list of objects, given as such or as JSON text (as the released files do)."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else []
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _BadLine(f'"{name}" is not a JSON list of objects', f"“{name}” 不是由对象组成的 JSON 列表")
    return value


def _paragraphs(file: BinaryIO, report: Report) -> Iterator[str]:
    """Plain text as documents: what stands between blank lines, at most 64 KB and a line each."""
    lines: list[str] = []
    size = last = 0
    for number, raw in _lines(file, report):
        try:
            line = raw.decode()
            if "\x00" in line:
                raise _BadLine("holds a NUL character", "含有 NUL 字符")
        except UnicodeDecodeError as error:
            report.add(number, Text(f"not UTF-8 (byte {error.start + 1})", f"不是 UTF-8（第 {error.start + 1} 字节）"))
            continue
        except _BadLine as reason:
            report.add(number, reason.text)
            continue
        report.usable += 1
        if lines and (number > last + 1 or size > LONGEST_PARAGRAPH):
            yield "\n".join(lines)
            lines, size = [], 0
        lines.append(line.rstrip("\r\n"))
        size, last = size + len(raw), number
    if lines:
        yield "\n".join(lines)
