"""A claim and the measurement that decided it."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from lessons.recorded import measurements_of, seeds_of
from minimind.events import Claim
from minimind.plot import figure
from minimind.safe_text import clean, clean_line
from minimind_tui.speech import Speaker

_VERDICTS = {
    True: ("✓", "[+]", "holds", "success"),
    False: ("✗", "[-]", "refuted", "error"),
    None: ("≈", "[~]", "open", "warning"),
}


class ClaimView(Speaker, Static):
    """`✓ sentence` with what was measured on the line below."""

    DEFAULT_CSS = """
    ClaimView { width: 1fr; height: auto; padding: 0 0 0 0; }
    """

    def __init__(self, claim: Claim) -> None:
        super().__init__("", markup=False)
        self._claim = claim

    def set_claim(self, claim: Claim) -> None:
        """Show another claim, or the same with a newer measurement."""
        self._claim = claim
        self.relabel()

    def on_mount(self) -> None:
        """Speak for the first time."""
        self.relabel()

    def relabel(self) -> None:
        """Speak again."""
        mark, plain_mark, verdict, color = _VERDICTS[self._claim.holds]
        numbers = measurements_of(self._claim)
        measured = "  ".join(f"{clean_line(name)} = {figure(value)}" for name, value in numbers.items())
        seeds = seeds_of(self._claim)
        gap = " " if self.language == "en" else ""
        first = Content.assemble(
            (plain_mark if self.ascii_only else mark, f"bold ${color}"),
            f" {clean(self.say(self._claim.text))} ",
            (self.t(f"events.claim.{verdict}"), f"${color}"),
            (f"{gap}{self.say(seeds)}" if seeds else "", "$text-muted"),
        )
        self.update(Content("\n").join([first, Content.styled(f"  {measured}", "$text-muted")]) if measured else first)
