"""The lab notebook: one Markdown file a lesson, an entry a finished run, with the learner's own notes.

Plain text that a version control system can show the changes of: entries are only added, at the end; a note goes to
the end of its entry. Nobody's words are trusted: they are cleaned, and notes are quoted line by line.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lessons.predictions import Judged
from lessons.report import configuration, outcome, shown, told_claims
from lessons.results import Results
from minimind import paths
from minimind.errors import UserError
from minimind.events import Language, Text
from minimind.experiment import Experiment
from minimind.safe_text import clean, clean_line

LONGEST_NOTE = 4000
_CHART_WIDTH = 68
"""Cells: what a terminal of 80 columns shows inside a code fence."""
_HEAD = "## "
_TITLE = Text("Lab notebook", "实验笔记")
_NOTE = Text("My note", "我的笔记")


@dataclass(frozen=True, slots=True)
class Entry:
    """One run: its heading (time and title), and the Markdown below it."""

    title: str
    text: str


def notebook_file(slug: str) -> Path:
    """The notebook of the lesson `slug`."""
    return paths.notebooks() / f"{slug}.md"


def read_entries(slug: str) -> tuple[Entry, ...]:
    """The entries of a lesson's notebook, oldest first; none where there is no notebook. Raises UserError."""
    try:
        text = notebook_file(slug).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(notebook_file(slug), error) from None
    pieces = _split(text)[1:]
    return tuple(
        Entry(clean_line(piece[0].removeprefix(_HEAD)), clean("\n".join(piece[1:]).strip())) for piece in pieces
    )


def add_entry(slug: str, experiment: Experiment, results: Results, judged: Judged | None, language: Language) -> None:
    """Append what `results` of `experiment` showed. Raises UserError when it cannot be written."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(results.made or time.time()))
    parts = [
        f"{_HEAD}{when} · {clean_line(experiment.title.of(language))}",
        clean(experiment.question.of(language)),
        f"`{experiment.name}`: {configuration(experiment, results, language)}",
        "\n".join(f"- {_one_line(line)}" for line in outcome(judged, language).splitlines()),
        "\n\n".join(_fenced(part) for part in shown(experiment, results.events, language, width=_CHART_WIDTH)),
        "\n".join(_claim(*told) for told in told_claims(results.claims, language)),
    ]
    text = "\n\n".join(part for part in parts if part)
    with _changing(slug, language) as old:
        _write(slug, f"{old.rstrip()}\n\n{text}\n")


def newest_entry(slug: str, experiment: str) -> int | None:
    """The place of the newest entry about `experiment`, from 0; None where there is none. Raises UserError."""
    entries = read_entries(slug)
    found = [number for number, entry in enumerate(entries) if f"`{experiment}`:" in entry.text]
    return found[-1] if found else None


def add_note(slug: str, number: int, note: str, language: Language) -> None:
    """Add the learner's words to the end of entry `number` (from 0). Raises UserError when it cannot be written."""
    words = clean(note.strip(), LONGEST_NOTE)
    if not words:
        return
    with _changing(slug, language) as old:
        pieces = _split(old)
        if not 0 <= number < len(pieces) - 1:
            raise UserError("the notebook has no such entry", "笔记里没有这一条")
        quoted = "\n".join(f"> {line}".rstrip() for line in words.splitlines())
        piece = pieces[number + 1]
        piece[:] = [
            *"\n".join(piece).rstrip().splitlines(),
            "",
            f"**{_NOTE.of(language)}**",
            "",
            *quoted.splitlines(),
            "",
        ]
        _write(slug, "\n".join(line for piece in pieces for line in piece).rstrip() + "\n")


def _claim(verdict: str, sentence: str, numbers: str) -> str:
    return f"- {verdict}: {_one_line(sentence)}" + (f" ({_one_line(numbers)})" if numbers else "")


def _fenced(text: str) -> str:
    """`text` in a code fence longer than any inside it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    mark = "`" * max(3, longest + 1)
    return f"{mark}text\n{text}\n{mark}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _split(text: str) -> list[list[str]]:
    """The lines before the first entry, then those of each entry. Headings inside code fences are none."""
    pieces: list[list[str]] = [[]]
    fence = ""
    for line in text.splitlines():
        mark = re.match(r"`{3,}", line)
        if fence:
            fence = "" if line.strip() == fence else fence
        elif mark:
            fence = mark.group()
        elif line.startswith(_HEAD):
            pieces.append([])
        pieces[-1].append(line)
    return pieces


@contextlib.contextmanager
def _changing(slug: str, language: Language) -> Iterator[str]:
    """The notebook's text, a title where it is new; other processes wait until the block ends."""
    path = notebook_file(slug)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock").open("w")
    except OSError as error:
        raise _unwritable(path, error) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else f"# {_TITLE.of(language)}: {slug}\n"
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(path, error) from None
        yield text


def _write(slug: str, text: str) -> None:
    path = notebook_file(slug)
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise _unwritable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: the notebook cannot be read: {error}", f"{path}：读不出笔记：{error}")


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: not saved: {error.strerror}", f"{path}：没有保存：{error.strerror}")
