"""The doctor's findings, looked for in a process of its own (it imports torch; this one must not)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from minimind.events import Text
from minimind.safe_text import clean
from minimind_tui.screens.base import MiniMindScreen

_MARKS = {"ok": ("✓", "+", "$success"), "warning": ("!", "!", "$warning"), "error": ("✗", "x", "$error")}


class DoctorScreen(MiniMindScreen):
    """One line a finding, with its remedy below where there is one."""

    TITLE_KEY = "doctor.title"
    DEFAULT_CSS = """
    DoctorScreen VerticalScroll { padding: 1 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "look(False)", "doctor.key.again"),
        Binding("f", "look(True)", "doctor.key.fix"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._findings: list[dict[str, Any]] = []
        self._is_done = False
        self._failure = ""

    def compose_body(self) -> ComposeResult:
        """One scrolling text."""
        with VerticalScroll():
            yield Static(markup=False)

    def on_mount(self) -> None:
        """Look."""
        self.action_look(False)

    def action_look(self, fix: bool) -> None:
        """Look again, putting right what can be, if `fix`."""
        self._findings, self._is_done, self._failure = [], False, ""
        self.relabel()
        self._look(fix)

    @work(group="doctor", exclusive=True)
    async def _look(self, fix: bool) -> None:
        command = [sys.executable, "-P", "-m", "minimind", "doctor", "--json", *(["--fix"] if fix else [])]
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            async for line in child.stdout:
                with contextlib.suppress(ValueError):
                    self._findings.append(json.loads(line))
                    self.relabel()
            complaint = (await child.stderr.read()).decode("utf-8", "replace").strip()
            await child.wait()
        finally:
            if child.returncode is None:
                child.kill()
        self._failure = complaint.splitlines()[-1] if complaint and not self._findings else ""
        self._is_done = True
        self.relabel()

    def relabel(self) -> None:
        """Show everything found so far."""
        lines = [part for finding in self._findings for part in self._lines(finding)]
        if not self._is_done:
            lines.append(Content.styled(self.t("doctor.looking"), "$text-muted"))
        elif self._failure:
            lines.append(Content.styled(clean(self._failure), "$error"))
        else:
            wrong = sum(finding.get("level") != "ok" and not finding.get("fixed") for finding in self._findings)
            lines += [Content(""), Content(self.t("doctor.some" if wrong else "doctor.none", count=wrong))]
        self.query_one(Static).update(Content("\n").join(lines))

    def _lines(self, finding: dict[str, Any]) -> list[Content]:
        mark, plain, color = _MARKS.get(str(finding.get("level")), _MARKS["warning"])
        words = self._words(finding.get("text"))
        if finding.get("fixed"):
            words += self.t("doctor.fixed")
        lines = [Content.assemble((plain if self.ascii_only else mark, f"bold {color}"), f" {words}")]
        remedy = self._words(finding.get("remedy"))
        if remedy and not finding.get("fixed"):
            lines.append(Content.assemble(("    -> " if self.ascii_only else "    → ", color), remedy))
        return lines

    def _words(self, phrase: Any) -> str:
        if not isinstance(phrase, dict):
            return ""
        return clean(self.say(Text(str(phrase.get("en", "")), str(phrase.get("zh", "")))))
