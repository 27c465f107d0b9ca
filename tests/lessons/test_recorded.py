"""Numbers in prose: from recorded claims, or the learner's own run of the same values."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from lessons.recorded import (
    Recording,
    choose,
    fill,
    load_recordings,
    malformed,
    measurements_of,
    placeholder_names,
    placeholders,
    seeds_of,
    sentences,
)
from minimind.errors import UserError
from minimind.events import Claim, Text
from minimind.figures import show_number

CLAIM = Claim("dies", Text("it dies", "它没了"), {"share": 1.2345e-9, "loss": math.inf}, True)


def test_fills_numbers_and_verdicts_outside_code() -> None:
    recordings = {"depth": Recording({"layers": 30}, (CLAIM,), "torch")}
    text = "{{depth.dies.share}} and {{depth.dies.loss}}; {{depth.dies}}\n\n```text\n{{depth.dies}}\n```"
    assert fill(text, recordings, "en") == "1.2×10⁻⁹ and ∞; ✓ supported: it dies\n\n```text\n{{depth.dies}}\n```"
    assert fill("{{depth.dies}}", recordings, "zh") == "✓ 成立：它没了"
    assert fill("{{depth.other.share}} {{no.dies.x}} {{depth.dies.no}}", recordings, "en") == "— — —"


@pytest.mark.parametrize(("holds", "said"), [(True, "gone: 1.2×10⁻⁹ left"), (False, "there"), (None, "unclear")])
def test_the_data_choose_the_sentence(holds: bool | None, said: str) -> None:
    recordings = {"depth": Recording({}, (replace(CLAIM, holds=holds),))}
    text = "It is {{depth.dies?gone: {{depth.dies.share}} left|there| unclear }}. `{{depth.dies?a|b|c}}`"
    assert fill(text, recordings, "en").startswith(f"It is {said}. ")
    assert fill("{{depth.other?a|b|c}}", recordings, "en") == "—"
    assert list(placeholders(text))[:2] == [("depth", "dies", None), ("depth", "dies", None)]
    assert placeholder_names(text) == {"depth.dies?", "depth.dies.share"}
    assert sentences("x {{depth.dies?好, 吗|b|c}} y") == "x 好, 吗 b c y"
    assert malformed(text) == ""


@pytest.mark.parametrize(
    "text", ["{{depth.dies?a|b}}", "{{Depth.dies}}", "{{depth}}", "{{depth.dies", "depth.dies.x}}"]
)
def test_what_only_looks_like_a_placeholder_is_found(text: str) -> None:
    assert text in malformed(f"Here: {text} and {{{{depth.dies.share}}}}.")
    assert malformed(f"```text\n{text}\n```") == ""


def test_the_number_of_seeds_stands_apart() -> None:
    claim = replace(CLAIM, measured={"share": 0.5, "seeds": 3})
    assert seeds_of(claim) == Text("(3 seeds)", "（3 个种子）")
    assert seeds_of(replace(CLAIM, measured={"seeds": 1.0})) == Text("(1 seed)", "（1 个种子）")
    assert seeds_of(CLAIM) is None
    assert measurements_of(claim) == {"share": 0.5}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (12.0, "12"),
        (1234567.0, "1.2×10⁶"),
        (0.034398, "0.0344"),
        (260.529, "261"),
        (3.4567, "3.46"),
        (4.9e-4, "4.9×10⁻⁴"),
        (-0.5, "-0.500"),
        (math.nan, "NaN"),
        (-math.inf, "-∞"),
    ],
)
def test_numbers_for_a_reader(value: float, text: str) -> None:
    assert show_number(value) == text


def test_own_run_counts_only_with_the_recorded_values() -> None:
    recorded = Recording({"layers": 30}, (CLAIM,), "torch")
    same, other = Recording({"layers": 30}, ()), Recording({"layers": 10}, ())
    assert choose(recorded, same) is same
    assert choose(recorded, other) is recorded
    assert choose(recorded, None) is recorded
    assert choose(None, other) is other
    assert choose(None, None) is None


def test_recordings_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "recorded.json"
    assert load_recordings(path) == {}
    recording = Recording({"layers": 30, "bias": True}, (CLAIM,), "torch", {"quick": 1.5, "standard": 20.0})
    path.write_text(json.dumps({"depth": recording.to_dict()}), encoding="utf-8")
    assert load_recordings(path) == {"depth": recording}
    older = {name: value for name, value in recording.to_dict().items() if name != "seconds"}
    path.write_text(json.dumps({"depth": older}), encoding="utf-8")
    assert load_recordings(path) == {"depth": replace(recording, seconds={})}


@pytest.mark.parametrize("text", ["{", "[]", '{"depth": {}}', '{"depth": {"values": {}, "claims": [1], "made": ""}}'])
def test_a_damaged_recording_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recorded.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"recorded\.json: not a recording"):
        load_recordings(path)
