"""Lesson Markdown: one H2 is one page, and some fences stand for live panes.

    ## Where does the signal go? {#signal .why}      a page: its id, shared by both languages, and its part
    ```predict depth_signal                          ask for a prediction before the first run
    ```run depth_signal depth=30                     run an experiment, with other values than its defaults
    ```code minimind.model.transformer:RMSNorm       show source; each line inside is a note below it
    ```quiz plateau upcast                           ask these questions (none named: all of the lesson)
    ```exercise rmsnorm                              write it yourself
    ```figure block                                  a diagram, drawn in figures/block.en.txt and block.zh.txt
    ```diagram norm,residual                         the block with these switches, to be set and trained

Everything else is CommonMark that reads well elsewhere too. ``[[eps|ε]]`` links to the glossary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, cast

from minimind.errors import UserError

Part = Literal["why", "what", "how"]
PARTS: tuple[Part, ...] = ("why", "what", "how")
MAXIMUM_PAGE_LINES = 60

_HEADING = re.compile(r"^(?P<level>#{1,6})\s+(?P<title>.*?)(?:\s+\{(?P<attributes>[^}]*)\})?\s*$")
_FENCE = re.compile(r"^(?P<mark>`{3,}|~{3,})\s*(?P<info>.*?)\s*$")
_WHOLE_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
TERM_LINK = re.compile(r"\[\[(?P<term>[a-z][a-z0-9_]*)(?:\\?\|(?P<label>[^\]]+))?\]\]")
"""A link to a glossary entry: ``[[term]]`` or ``[[term|label]]``; in a table's cell ``[[term\\|label]]``."""


@dataclass(frozen=True, slots=True)
class MarkdownBlock:
    """Prose, tables and plain code, as Markdown."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class PredictBlock:
    """The question an experiment asks before it first runs."""

    experiment: str
    line: int


@dataclass(frozen=True, slots=True)
class RunBlock:
    """An experiment, with the values that differ from its defaults."""

    experiment: str
    values: Mapping[str, str]
    line: int


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """Source code by reference, with notes in the page's language."""

    reference: str
    notes: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class QuizBlock:
    """Questions by id; none named means every question of the lesson."""

    questions: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class ExerciseBlock:
    """An exercise by name."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class FigureBlock:
    """A diagram made of characters, by name."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class DiagramBlock:
    """The block with these switches live, by name (`minimind.lab.switches`)."""

    switches: tuple[str, ...]
    line: int


Block: TypeAlias = (
    MarkdownBlock | PredictBlock | RunBlock | CodeBlock | QuizBlock | ExerciseBlock | FigureBlock | DiagramBlock
)
Mark: TypeAlias = tuple[str, ...]
"""A point of a page's skeleton: a heading with level and id, or a fence with its info string."""


@dataclass(frozen=True, slots=True)
class Page:
    """One idea: `id` is shared by the languages, `part` says which of why, what and how it belongs to."""

    id: str
    title: str
    part: Part
    blocks: tuple[Block, ...]
    skeleton: tuple[Mark, ...]
    line: int
    line_count: int


@dataclass
class _Draft:
    """A page while it is read."""

    id: str
    title: str
    part: Part
    line: int
    blocks: list[Block] = field(default_factory=list)
    skeleton: list[Mark] = field(default_factory=list)
    prose: list[str] = field(default_factory=list)
    prose_line: int = 0
    last_line: int = 0

    def add_prose(self, line: str, number: int) -> None:
        if not self.prose:
            if not line.strip():
                return
            self.prose_line = number
        self.prose.append(line)

    def end_prose(self) -> None:
        text = "\n".join(self.prose).strip("\n")
        if text.strip():
            self.blocks.append(MarkdownBlock(text, self.prose_line))
        self.prose = []

    def finish(self) -> Page:
        self.end_prose()
        count = self.last_line - self.line + 1
        return Page(self.id, self.title, self.part, tuple(self.blocks), tuple(self.skeleton), self.line, count)


def read_pages(path: Path) -> tuple[str, tuple[Page, ...]]:
    """The title (the H1) and the pages of the Markdown file `path`. Raises UserError with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}", f"{path}：读不出来：{error}") from None
    return parse_pages(text, str(path))


def parse_pages(text: str, where: str) -> tuple[str, tuple[Page, ...]]:
    """The title and the pages of Markdown `text`, called `where` in messages. Raises UserError."""
    title = ""
    drafts: list[_Draft] = []
    for number, line, fence in _lines(text, where):
        heading = None if fence else _HEADING.match(line)
        if heading and heading["level"] == "#" and not drafts:
            title = heading["title"]
        elif heading and heading["level"] == "##":
            drafts.append(_open_page(heading, where, number))
        elif not drafts:
            if line.strip() and not line.startswith("<!--"):
                raise _wrong(where, number, "text before the first page (## …)", "第一页（## …）之前有文字")
        elif fence:
            _add_fence(drafts[-1], fence, where, number)
        else:
            _add_line(drafts[-1], line, heading, where, number)
        if drafts and line.strip():
            drafts[-1].last_line = number
    if not title:
        raise _wrong(where, 1, "begin with a title (# …)", "请以标题（# …）开头")
    pages = tuple(draft.finish() for draft in drafts)
    _check_pages(pages, where)
    return title, pages


@dataclass(frozen=True, slots=True)
class _Fence:
    """A fence with its info string and the lines inside; `raw` is the whole as it stands."""

    info: str
    body: tuple[str, ...]
    raw: tuple[str, ...]


def _lines(text: str, where: str) -> Iterator[tuple[int, str, _Fence | None]]:
    """Each line with its number; a fence comes as one item (with the number of its first line)."""
    lines = text.splitlines()
    index = 0
    while index < len(lines):
        opening = _FENCE.match(lines[index])
        if opening is None:
            yield index + 1, lines[index], None
            index += 1
            continue
        closing = index + 1
        while closing < len(lines) and lines[closing].strip() != opening["mark"]:
            closing += 1
        if closing == len(lines):
            raise _wrong(where, index + 1, "this fence is not closed", "这个代码围栏没有结束")
        fence = _Fence(opening["info"], tuple(lines[index + 1 : closing]), tuple(lines[index : closing + 1]))
        yield index + 1, lines[index], fence
        index = closing + 1


def _open_page(heading: re.Match[str], where: str, number: int) -> _Draft:
    attributes = (heading["attributes"] or "").split()
    ids = [item[1:] for item in attributes if item.startswith("#")]
    parts = [item[1:] for item in attributes if item.startswith(".") and item[1:] in PARTS]
    if len(ids) != 1 or len(parts) != 1 or not _NAME.match(ids[0]):
        raise _wrong(
            where,
            number,
            "a page needs an id and a part: ## Title {#id .why} (or .what, .how)",
            "每页需要 id 和所属部分：## 标题 {#id .why}（或 .what、.how）",
        )
    draft = _Draft(ids[0], heading["title"], cast(Part, parts[0]), number, last_line=number)
    draft.skeleton.append(("heading", "2", ids[0]))
    return draft


def _add_line(draft: _Draft, line: str, heading: re.Match[str] | None, where: str, number: int) -> None:
    if heading:
        if heading["level"] == "#":
            raise _wrong(where, number, "a second title (# …)", "出现了第二个标题（# …）")
        identifier = (heading["attributes"] or "").strip().removeprefix("#")
        draft.skeleton.append(("heading", str(len(heading["level"])), identifier))
        line = f"{heading['level']} {heading['title']}"
    draft.add_prose(line, number)


def _add_fence(draft: _Draft, fence: _Fence, where: str, number: int) -> None:
    kind, _, rest = fence.info.partition(" ")
    block = _live_block(kind, rest.split(), fence.body, where, number)
    draft.skeleton.append(("fence", fence.info))
    if block is None:
        for offset, line in enumerate(fence.raw):
            draft.add_prose(line, number + offset)
        draft.last_line = number + len(fence.raw) - 1
    else:
        draft.end_prose()
        draft.blocks.append(block)
        draft.last_line = number + len(fence.raw) - 1


def _live_block(kind: str, words: list[str], body: tuple[str, ...], where: str, number: int) -> Block | None:
    """The live pane a fence stands for, or None for ordinary code."""
    if kind not in {"run", "predict", "code", "quiz", "exercise", "figure", "diagram"}:
        return None
    if kind == "quiz":
        return QuizBlock(tuple(words), number)
    if not words or (kind != "run" and len(words) > 1):
        raise _wrong(where, number, f"name one thing after `{kind}`", f"`{kind}` 之后请写一个名称")
    notes = tuple(line.strip() for line in body if line.strip())
    if kind == "code":
        return CodeBlock(words[0], notes, number)
    if notes:
        raise _wrong(where, number, f"a `{kind}` fence holds no text", f"`{kind}` 围栏内不能有文字")
    if kind == "predict":
        return PredictBlock(words[0], number)
    if kind == "exercise":
        return ExerciseBlock(words[0], number)
    if kind == "figure":
        return FigureBlock(words[0], number)
    if kind == "diagram":
        return DiagramBlock(tuple(words[0].split(",")), number)
    values: dict[str, str] = {}
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise _wrong(where, number, f"{word!r} is not name=value", f"{word!r} 不是 名称=值")
        values[name] = value
    return RunBlock(words[0], values, number)


def _check_pages(pages: tuple[Page, ...], where: str) -> None:
    """Ids once each; why, what and how all there and in this order; no page too long."""
    seen: set[str] = set()
    for page in pages:
        if page.id in seen:
            raise _wrong(where, page.line, f"page id {page.id!r} is used twice", f"页 id {page.id!r} 重复")
        seen.add(page.id)
        if page.line_count > MAXIMUM_PAGE_LINES:
            raise _wrong(
                where,
                page.line,
                f"this page has {page.line_count} lines, more than {MAXIMUM_PAGE_LINES}: split it",
                f"这一页有 {page.line_count} 行，超过 {MAXIMUM_PAGE_LINES} 行：请拆开",
            )
        runs = {(block.experiment, block.line) for block in page.blocks if isinstance(block, RunBlock)}
        for block in page.blocks:
            if isinstance(block, PredictBlock) and not any(
                name == block.experiment and line > block.line for name, line in runs
            ):
                name = block.experiment
                raise _wrong(where, block.line, f"`run {name}` must follow on this page", f"本页后面应有 `run {name}`")
    order = [PARTS.index(page.part) for page in pages]
    if order != sorted(order) or set(order) != {0, 1, 2}:
        line = pages[-1].line if pages else 1
        raise _wrong(where, line, "pages must go why, what, how", "各页必须依次属于 why、what、how")


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """`text` with `change` applied to what is not inside a code fence."""
    pieces = _WHOLE_FENCE.split(text)
    return "".join(piece if index % 2 else change(piece) for index, piece in enumerate(pieces))


def term_links(text: str, link: Callable[[str, str], str]) -> str:
    """`text` with each glossary link, outside code, replaced by ``link(term, label)``."""

    def replace(match: re.Match[str]) -> str:
        return link(match["term"], match["label"] or match["term"].replace("_", " "))

    return outside_code(text, lambda piece: TERM_LINK.sub(replace, piece))


def _wrong(where: str, line: int, en: str, zh: str) -> UserError:
    return UserError(f"{where}:{line}: {en}", f"{where}:{line}：{zh}")
