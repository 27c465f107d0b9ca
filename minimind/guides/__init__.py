"""Pages about what is done with the program outside of it: on a cluster, for example. Markdown, in both languages."""

from __future__ import annotations

from minimind import paths
from minimind.declaration import nearest
from minimind.errors import UserError
from minimind.events import Language, Text

_MARKDOWN = ".md"


def guides() -> dict[str, Text]:
    """The titles of all guides by name."""
    found = sorted(path.name.removesuffix(f".en{_MARKDOWN}") for path in paths.guides().glob(f"*.en{_MARKDOWN}"))
    return {name: Text(*(_title(guide(name, language)) for language in ("en", "zh"))) for name in found}


def guide(name: str, language: Language) -> str:
    """The Markdown of a guide. Raises UserError where there is none of that name."""
    path = paths.guides() / f"{name}.{language}{_MARKDOWN}"
    if not name.isidentifier() or not path.is_file():
        known = guides()
        listed = ", ".join(known)
        raise UserError(
            f"{name[:40]!r}: no such guide{nearest(name, known)}: there is {listed}",
            f"{name[:40]!r}：没有这篇指南{nearest(name, known)}：现有 {listed}",
        )
    return path.read_text(encoding="utf-8")


def _title(markdown: str) -> str:
    return markdown.partition("\n")[0].removeprefix("# ")
