"""The glossary: one line on each term of the field, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lessons.fields import Fields, unique
from minimind.events import Text


@dataclass(frozen=True, slots=True)
class Term:
    """A term: its names, what it means, and which lesson explains it (`lesson` is a slug)."""

    id: str
    name: Text
    meaning: Text
    lesson: str


def read_glossary(path: Path) -> Mapping[str, Term]:
    """The terms in ``glossary.toml`` by id; none where there is no file. Raises UserError naming file and field."""
    if not path.exists():
        return {}
    file = Fields.read(path)
    terms = []
    for fields in file.tables("term"):
        terms.append(Term(fields.string("id"), fields.text("name"), fields.text("meaning"), fields.string("lesson")))
        fields.close()
    file.close()
    return {term.id: term for term in unique(terms, lambda term: term.id, str(path))}
