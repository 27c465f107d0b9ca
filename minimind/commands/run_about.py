"""``minimind runs rename | note | tag``: a person's words about a run."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from minimind.commands.output import Output
from minimind.training.runs import About, change_tags, find_run, rename_run, set_note


def add_about_flags(
    rename: argparse.ArgumentParser, note: argparse.ArgumentParser, tag: argparse.ArgumentParser
) -> None:
    """The arguments after the run."""
    rename.add_argument("name", metavar="NAME", help="'' takes the name away / '' 表示去掉名称")
    note.add_argument("note", metavar="TEXT", help="'' takes the note away / '' 表示删除备注")
    tag.add_argument("tags", nargs="*", metavar="TAG", help="tags to add / 要加的标签")
    tag.add_argument(
        "--remove", nargs="+", default=[], metavar="TAG", help="tags to take away / 要去掉的标签", action="extend"
    )


def rename(arguments: argparse.Namespace, output: Output) -> int:
    """Give a run another name."""
    directory = find_run(arguments.id)
    return _tell(directory, rename_run(directory, arguments.name), output)


def note(arguments: argparse.Namespace, output: Output) -> int:
    """Replace the note of a run."""
    directory = find_run(arguments.id)
    return _tell(directory, set_note(directory, arguments.note), output)


def tag(arguments: argparse.Namespace, output: Output) -> int:
    """Add and remove tags."""
    directory = find_run(arguments.id)
    return _tell(directory, change_tags(directory, arguments.tags, arguments.remove), output)


def _tell(directory: Path, about: About, output: Output) -> int:
    output.emit({"id": directory.name, **asdict(about)}, "\n".join((directory.name, *about_lines(about, output))))
    return 0


def about_lines(about: About, output: Output) -> list[str]:
    """What is said of a run, a line each."""
    lines = []
    if about.name:
        lines.append(output.pick(f"name: {about.name}", f"名称：{about.name}"))
    if about.tags:
        lines.append(output.pick(f"tags: {', '.join(about.tags)}", f"标签：{'、'.join(about.tags)}"))
    if about.note:
        lines.append(output.pick(f"note: {about.note}", f"备注：{about.note}"))
    return lines
