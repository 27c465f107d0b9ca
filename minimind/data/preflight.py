"""Whether data files can be trained on, looked at in the foreground, before a run is made of them. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from minimind import paths
from minimind.data.catalogue import GENERATED, find, resolve
from minimind.data.formats import Kind, Report, documents
from minimind.errors import UserError
from minimind.safe_text import clean_line

_LOOKED_AT = 2000
"""Documents of each file: a small file is read whole, of a large one the beginning."""


def refuse_unusable(sources: Sequence[str], kind: Kind, *, allow_bad: bool = False) -> None:
    """Raise UserError, with file, line and remedy, for sources that training would refuse after its start.

    What is wrong further down in a large file is found only when the run reads it.
    """
    found = 0
    for source in sources:
        place = resolve(source, paths.data())
        if place in GENERATED:
            refuse_kind(place, kind)
            found += 2
            continue
        found += sum(1 for _ in islice(documents(Path(place), kind, Report(Path(place), allow_bad)), _LOOKED_AT))
    if found < 2:
        raise too_few(sources)


def refuse_kind(source: str, kind: str) -> None:
    """Raise UserError where the data set that is called `source` is of no use for `kind`."""
    entry = find(source)
    if entry is not None and kind not in entry.kinds:
        kinds = " | ".join(entry.kinds)
        raise UserError(
            f"data = {source!r} is for {kinds}, not for {kind}: choose another (`minimind data list`)",
            f"data = {source!r} 用于 {kinds}，不能用于 {kind}：请另选一个（见 `minimind data list`）",
        )


def too_few(sources: Sequence[str]) -> UserError:
    """The refusal of data that cannot be divided into a part to train on and one to validate with."""
    names = [clean_line(source) for source in sources]
    return UserError(
        f"{', '.join(names)}: at least two documents are needed, one of them to validate with: add some",
        f"{'、'.join(names)}：至少需要两个文档，其中一个用于验证：请再加一些",
    )
