"""Which language to speak: a flag, a setting, or the locale."""

from __future__ import annotations

import os

from minimind.events import Language


def from_locale() -> Language:
    """``zh`` when the locale's message language is Chinese, else ``en`` (order as gettext: LANGUAGE, LC_ALL, …)."""
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"
