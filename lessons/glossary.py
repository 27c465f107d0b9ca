"""The glossary: one line on each term of the field, in both languages. Each lesson brings the terms it explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lessons.fields import Fields, unique
from minimind.events import Text


@dataclass(frozen=True, slots=True)
class Term:
    """A term: its names, what it means, and the lesson that explains it.

    `formula` or `confused_with` (what it is easily taken for, and how it differs) are there where they help.
    """

    id: str
    name: Text
    meaning: Text
    lesson: str
    formula: str = ""
    confused_with: Text | None = None


def read_glossary(files: Sequence[Path]) -> Mapping[str, Term]:
    """The terms in these ``glossary.toml``, by id; a lesson's name is its folder's. Raises UserError (file, field)."""
    terms = []
    for path in files:
        file = Fields.read(path)
        for fields in file.tables("term"):
            terms.append(
                Term(
                    id=fields.string("id"),
                    name=fields.text("name"),
                    meaning=fields.text("meaning"),
                    lesson=path.parent.name,
                    formula=fields.string("formula", ""),
                    confused_with=fields.text("confused_with") if fields.has("confused_with") else None,
                )
            )
            fields.close()
        file.close()
    return {term.id: term for term in unique(terms, lambda term: term.id, str(files[-1]) if files else "")}
