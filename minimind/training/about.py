"""What a person says about a run: another name, a note, tags. One small file beside run.json, changed under a lock.

run.json is written once and tells what was asked for; about.json may be changed at any time, by any number of windows,
whether the run lives or not. It is not trusted when it is read: a run directory may come from a stranger.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from minimind.errors import UserError
from minimind.safe_text import clean, clean_line
from minimind.training.run_files import ABOUT, ABOUT_LOCK, read_json, take_lock, write_atomic

NAME_LIMIT = 80
NOTE_LIMIT = 10_000
TAG_LIMIT = 40
TAGS_LIMIT = 50
_LOCK_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class About:
    """A person's words about a run. `name` is None where it was never renamed; the tags are in alphabetical order."""

    name: str | None = None
    note: str = ""
    tags: tuple[str, ...] = ()


def read_about(directory: Path) -> About:
    """What is said of the run in `directory`, cleaned; nothing where the file is missing or damaged."""
    data = read_json(directory / ABOUT) or {}
    name, note, tags = data.get("name"), data.get("note"), data.get("tags")
    return About(
        clean_line(name, NAME_LIMIT) if isinstance(name, str) else None,
        clean(note)[:NOTE_LIMIT] if isinstance(note, str) else "",
        _known_tags(tags) if isinstance(tags, list) else (),
    )


def change_about(directory: Path, edit: Callable[[About], About]) -> About:
    """Replace what is said by `edit` of it, one writer at a time; returns what is now stored.

    Raises UserError where it cannot be written.
    """
    try:
        lock = take_lock(directory / ABOUT_LOCK, _LOCK_PATIENCE)
        if lock is None:
            raise TimeoutError(0, "another window keeps it locked")
        try:
            after = edit(read_about(directory))
            write_atomic(directory / ABOUT, asdict(after))
            return after
        finally:
            os.close(lock)
    except OSError as error:
        raise UserError(
            f"{directory.name}: cannot be changed: {error.strerror}", f"{directory.name}：无法修改：{error.strerror}"
        ) from None


def rename_run(directory: Path, name: str) -> About:
    """Give a run another name (empty: none). Raises UserError for one that is not allowed, and as `change_about`."""
    name = checked_name(name)
    return change_about(directory, lambda about: replace(about, name=name))


def set_note(directory: Path, note: str) -> About:
    """Replace the note of a run (empty: none). Raises UserError for one that is too long, and as `change_about`."""
    text = clean(note).strip()
    if len(text) > NOTE_LIMIT:
        raise UserError(
            f"the note has {len(text):,} characters: use at most {NOTE_LIMIT:,}",
            f"备注有 {len(text):,} 个字符：请不要超过 {NOTE_LIMIT:,} 个",
        )
    return change_about(directory, lambda about: replace(about, note=text))


def change_tags(directory: Path, add: Iterable[str] = (), remove: Iterable[str] = ()) -> About:
    """Add and remove tags of a run. Raises UserError for a tag that is not allowed, and as `change_about`."""
    added, removed = {_checked_tag(tag) for tag in add}, set(remove)

    def edit(about: About) -> About:
        tags = tuple(sorted((set(about.tags) | added) - removed))
        if len(tags) > TAGS_LIMIT:
            raise UserError(f"{len(tags)} tags: use at most {TAGS_LIMIT}", f"{len(tags)} 个标签：最多 {TAGS_LIMIT} 个")
        return replace(about, tags=tags)

    return change_about(directory, edit)


def checked_name(name: str | None) -> str:
    """`name` without space around it. Raises UserError for what is too long or not all visible."""
    name = (name or "").strip()
    if len(name) > NAME_LIMIT or name != clean_line(name) or os.sep in name:
        raise UserError(
            f"name {clean_line(name, 40)!r} is not allowed: use at most {NAME_LIMIT} visible characters without {os.sep}",
            f"名称 {clean_line(name, 40)!r} 不可用：请用不超过 {NAME_LIMIT} 个可见字符，且不含 {os.sep}",
        )
    return name


def _is_tag(tag: Any) -> bool:
    allowed = isinstance(tag, str) and 0 < len(tag) <= TAG_LIMIT and tag == clean_line(tag)
    return allowed and not any(character.isspace() or character in ',:"' for character in tag) and tag[0] not in "-+"


def _checked_tag(tag: str) -> str:
    if not _is_tag(tag):
        raise UserError(
            f"tag {clean_line(tag, 40)!r} is not allowed: use at most {TAG_LIMIT} visible characters without space, comma, "
            "colon or quotes, not beginning with - or +",
            f"标签 {clean_line(tag, 40)!r} 不可用：请用不超过 {TAG_LIMIT} 个可见字符，不含空格、逗号、冒号、引号，且不以 - 或 + 开头",
        )
    return tag


def _known_tags(tags: list[Any]) -> tuple[str, ...]:
    return tuple(sorted({tag for tag in tags if _is_tag(tag)}))[:TAGS_LIMIT]
