"""Preferences kept between starts. A missing, torn or foreign file means the defaults; writing is atomic."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from minimind import paths
from minimind.events import LANGUAGES, Language

Theme = Literal["minimind-dark", "minimind-light", "minimind-ansi"]
ColorDepth = Literal["auto", "truecolor", "256", "16"]
THEMES: tuple[Theme, ...] = get_args(Theme)
COLOR_DEPTHS: tuple[ColorDepth, ...] = get_args(ColorDepth)

_ALLOWED: dict[str, tuple[object, ...]] = {
    "language": (None, *LANGUAGES),
    "theme": THEMES,
    "color": COLOR_DEPTHS,
    "ascii_only": (False, True),
    "bell": (False, True),
}


@dataclass
class Settings:
    """What a person chose. `language` None follows the locale."""

    language: Language | None = None
    theme: Theme = "minimind-dark"
    color: ColorDepth = "auto"
    ascii_only: bool = False
    bell: bool = True

    @classmethod
    def load(cls) -> Settings:
        """Read the file; every value that is not allowed falls back to its default."""
        try:
            data: Any = json.loads(paths.settings().read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return cls()
        if not isinstance(data, dict):
            return cls()
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in data.items() if k in known and _is_allowed(k, v)})

    def save(self) -> bool:
        """Write the file; False where the disk refuses (a preference is not worth an error)."""
        path = paths.settings()
        aside = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
            aside.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            return False
        return True


def _is_allowed(name: str, value: object) -> bool:
    return any(value is allowed or (isinstance(value, str) and value == allowed) for allowed in _ALLOWED[name])
