"""The numbers that prose states about an experiment: filled from recorded claims, never typed.

``{{depth_signal.signal_dies.signal}}`` is a number that the claim ``signal_dies`` measured, and
``{{depth_signal.signal_dies}}`` the claim's sentence with its verdict;
``{{depth_signal.signal_dies?it is gone|it is still there|the seeds disagree}}`` is the sentence that the data chose, for
a claim that holds, is refuted, is open. In it may stand numbers, but no other bar, brace or line break. They come from the learner's own run where it
used the values the lesson was recorded with, otherwise from ``recorded.json``, made by ``python -m lessons record``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lessons.pages import outside_code
from minimind.errors import UserError
from minimind.events import Claim, Language, Text, from_dict, to_dict
from minimind.figures import show_number

PLACEHOLDER = re.compile(r"\{\{(?P<experiment>[a-z0-9_]+)\.(?P<claim>[a-z0-9_]+)(?:\.(?P<measure>[A-Za-z0-9_]+))?\}\}")
_SENTENCE = r"((?:[^|{}\n]|\{\{[A-Za-z0-9_.]+\}\})*)"
CHOICE = re.compile(
    r"\{\{(?P<experiment>[a-z0-9_]+)\.(?P<claim>[a-z0-9_]+)\?" + rf"{_SENTENCE}\|{_SENTENCE}\|{_SENTENCE}\}}\}}"
)
"""A placeholder of three sentences, of which the claim's verdict chooses one."""
_FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$\n]*\$", re.DOTALL)
PREDICTION = "prediction"
"""The claim by which an experiment says what came true: ``measured={"choice": index}``, or ``{"number": value}``."""
SEEDS = "seeds"
"""The measurement that says how many seeds were run; it is told beside the verdict."""
VERDICTS = {
    True: Text("✓ supported", "✓ 成立"),
    False: Text("✗ refuted", "✗ 不成立"),
    None: Text("≈ inconclusive", "≈ 无法判定"),
}


@dataclass(frozen=True, slots=True)
class Recording:
    """The claims of one run of an experiment: with which values, where and when."""

    values: Mapping[str, Any]
    claims: tuple[Claim, ...]
    made: str = ""
    """Torch version, threads and date of a recording that came with the lesson; empty for the learner's own run."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """CPU-seconds of a run of each budget that was measured, on one thread."""

    def claim(self, name: str) -> Claim | None:
        """The claim called `name`."""
        return next((claim for claim in self.claims if claim.id == name), None)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        claims = [to_dict(claim) for claim in self.claims]
        return {"values": dict(self.values), "claims": claims, "made": self.made, "seconds": dict(self.seconds)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recording:
        """The inverse of `to_dict`. Raises KeyError, TypeError or AttributeError for something else."""
        events = [from_dict(item) for item in data["claims"]]
        claims = tuple(event for event in events if isinstance(event, Claim))
        seconds = {str(budget): float(value) for budget, value in data.get("seconds", {}).items()}
        return cls(dict(data["values"]), claims, str(data["made"]), seconds)


def load_recordings(path: Path) -> dict[str, Recording]:
    """The recordings in ``recorded.json``, by experiment; empty where there is none. Raises UserError."""
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {name: Recording.from_dict(item) for name, item in data.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not a recording ({error}): make it again with python -m lessons record",
            f"{path}：不是记录文件（{error}）：请用 python -m lessons record 重新生成",
        ) from None


def placeholders(text: str) -> Iterator[tuple[str, str, str | None]]:
    """Each placeholder of `text` as (experiment, claim, measure or None)."""
    for match in CHOICE.finditer(text):
        yield match["experiment"], match["claim"], None
    for match in PLACEHOLDER.finditer(text):
        yield match["experiment"], match["claim"], match["measure"]


def placeholder_names(text: str) -> set[str]:
    """The placeholders of `text` by what they name; those that choose a sentence end in ``?``."""
    chosen = {f"{match['experiment']}.{match['claim']}?" for match in CHOICE.finditer(text)}
    return chosen | {match.group().strip("{}") for match in PLACEHOLDER.finditer(text)}


def sentences(text: str) -> str:
    """`text` with each placeholder that chooses a sentence replaced by all its sentences."""
    return CHOICE.sub(lambda match: " ".join(match.groups()[2:]), text)


def malformed(text: str) -> str:
    """What in `text`, outside code and formulas, looks like a placeholder and is none; empty where there is nothing."""
    found: list[str] = []

    def look(piece: str) -> str:
        left = PLACEHOLDER.sub("", CHOICE.sub(lambda match: PLACEHOLDER.sub("", match.group())[2:-2], piece))
        left = _FORMULA.sub("", left)
        at = re.search(r"\{\{.{0,40}|.{0,40}\}\}", left)
        found.extend([at.group()] if at else [])
        return piece

    outside_code(text, look)
    return found[0] if found else ""


def choose(recorded: Recording | None, own: Recording | None) -> Recording | None:
    """The learner's own run where it used the recorded values, else the recorded one."""
    if own is not None and (recorded is None or dict(own.values) == dict(recorded.values)):
        return own
    return recorded


def fill(text: str, recordings: Mapping[str, Recording], language: Language) -> str:
    """`text` with its placeholders, outside code, replaced by numbers and verdicts; an unknown one becomes "—"."""

    def pick(match: re.Match[str]) -> str:
        recording = recordings.get(match["experiment"])
        claim = recording.claim(match["claim"]) if recording else None
        return "—" if claim is None else match.groups()[2:][(True, False, None).index(claim.holds)].strip()

    def replace(match: re.Match[str]) -> str:
        recording = recordings.get(match["experiment"])
        claim = recording.claim(match["claim"]) if recording else None
        if claim is None:
            return "—"
        if match["measure"] is None:
            return f"{VERDICTS[claim.holds].of(language)}{'：' if language == 'zh' else ': '}{claim.text.of(language)}"
        value = claim.measured.get(match["measure"])
        return "—" if value is None else show_number(value)

    return outside_code(text, lambda piece: PLACEHOLDER.sub(replace, CHOICE.sub(pick, piece)))


def seeds_of(claim: Claim) -> Text | None:
    """How many seeds decided `claim`, in brackets; None where it does not say."""
    count = claim.measured.get(SEEDS)
    if count is None or not math.isfinite(count):
        return None
    return Text(f"({count:.0f} seed{'' if count == 1 else 's'})", f"（{count:.0f} 个种子）")


def measurements_of(claim: Claim) -> dict[str, float]:
    """What was measured for `claim`, without the number of seeds."""
    return {name: value for name, value in claim.measured.items() if name != SEEDS}
