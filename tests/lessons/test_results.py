"""Results: condensed, drawn as text and as a picture, told in both languages."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from lessons.budgets import budgets_of, expected_seconds, parse_budget, values_of
from lessons.export import export, export_all
from lessons.predictions import Judged, judge, keep_prediction, prediction_of
from lessons.progress import LessonProgress
from lessons.recorded import Recording
from lessons.report import changed_values, report
from lessons.results import Collector, Results
from minimind import paths
from minimind.chart_svg import draw_svg
from minimind.chart_text import draw_chart
from minimind.commands.columns import cell_width
from minimind.errors import UserError
from minimind.events import LANGUAGES, Band, Claim, Language, Level, Progress, Scalars, Text
from minimind.plot import Canvas, Span
from tests.lessons.results_sample import two_arms


@pytest.fixture
def results() -> Results:
    collector = Collector()
    collector.add(two_arms.run())
    return Results("two_arms", two_arms.resolve(), collector.events(), 12.3, 1.7e9)


def test_what_was_replaced_is_forgotten_and_progress_too(results: Results) -> None:
    collector = Collector()
    collector.add(results.events)
    collector.add([Level("loss", "floor", 0.5), Level("loss", "other", 2.0), Claim("lower", Text("x", "x"), {}, False)])
    kept = collector.events()
    assert len(kept) == len(results.events) + 1
    assert [event.value for event in kept if isinstance(event, Level)] == [0.5, 2.0]
    assert [claim.holds for claim in kept if isinstance(claim, Claim) and claim.id == "lower"] == [False]
    assert not any(isinstance(event, Progress) for event in kept)
    assert sum(isinstance(event, Scalars) for event in kept) == 50


def test_charts_hold_curves_levels_and_bands(results: Results) -> None:
    (chart,) = results.charts.values()
    assert (chart.name, chart.axis, list(chart.curves)) == ("loss", "step", ["a", "b"])
    assert chart.curves["a"].ys[-1] == pytest.approx(2.0)
    assert chart.levels == {"floor": 1.0}
    assert isinstance(chart.bands["a"], Band)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_chart_as_text(results: Results, language: Language) -> None:
    rows = draw_chart(results.charts["loss"], two_arms.names, language)
    assert max(map(cell_width, rows)) <= 76
    with_name, without = ("with 2", "without 3") if language == "en" else ("有 2", "无 3")
    assert f"* {with_name}   o {without}" in rows[1]
    assert any("---- floor 1" in row for row in rows)
    assert rows[-1].endswith("step" if language == "en" else "步")
    plot = "\n".join(rows[2:-1])
    assert {"*", "o", "."} <= set(plot)
    stars = [row.index("*") for row in rows[2:-1] if "*" in row]
    assert stars == sorted(stars)


def test_bands_fill_between_their_lines() -> None:
    canvas = Canvas(4, 5, braille=False)
    ends = [Span(value, value, value, value, False) for value in (0.25, 0.75)]
    low, high = ([ends[0], None, None, ends[0]], [ends[1], None, None, ends[1]])
    canvas.fill(low, high, lambda value: value, 7)
    assert ["".join("x" if bit else " " for bit in row) for row in canvas.bits] == [
        "    ",
        "xxxx",
        "xxxx",
        "xxxx",
        "    ",
    ]
    assert canvas.owners[2] == [7] * 4
    canvas.fill([None] * 4, [None] * 4, lambda value: value, 8)
    assert 8 not in {owner for row in canvas.owners for owner in row}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_report_tells_everything_in_order(results: Results, language: Language) -> None:
    told = report(two_arms, results, judge(two_arms, 12, results.claims), language)
    expected = {
        "en": (
            "Two arms\nWhich is lower?", "standard (steps 50, seeds 3, tied no), 12 s of computing",
            "The only difference", "norm: on → off", "Loss\n", "Map\n", "b␛[31m", "Two straight lines.",
            "You said: 12 %\nIt was:   35 % ✗", "✓ supported (3 seeds)  a ends lower\n    a = 2  b = 3",
            "≈ inconclusive  nobody knows",
        ),
        "zh": (
            "两组对比\n哪个更低？", "标准（步数 50, 种子数 3, 绑定 否），计算用时 12 秒", "唯一的不同", "norm: on → off",
            "损失\n", "图\n", "b␛[31m", "两条直线。", "你的预测：12 %\n实际结果：35 % ✗",
            "✓ 成立（3 个种子）  a 更低\n    a = 2  b = 3", "≈ 无法判定  没人知道",
        ),
    }[language]  # fmt: skip
    places = [told.find(words) for words in expected]
    assert -1 not in places, [words for words, place in zip(expected, places, strict=True) if place < 0]
    assert places == sorted(places)


def test_a_picture_is_sound_xml_with_every_curve(results: Results) -> None:
    odd = [*results.events, Scalars(51, {"a": math.nan}, chart="loss"), Scalars(52, {"a": 2.0}, chart="loss")]
    picture = draw_svg("A < B & \x1b[31m", odd, two_arms.names, "en")
    assert picture is not None
    root = ET.fromstring(picture)
    names = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert names.count("polyline") == 3
    assert names.count("polygon") == 1
    words = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"A < B & ␛[31m", "with", "without", "floor 1", "Map", "p", "y"} <= set(words)
    assert draw_svg("x", [], {}, "en") is None


def test_files_of_every_format(results: Results) -> None:
    directory = export_all(two_arms, results, None, "en")
    assert directory.parent == paths.exports()
    assert sorted(path.name for path in directory.iterdir()) == ["results.jsonl", "results.svg", "results.txt"]
    assert export_all(two_arms, results, None, "zh") != directory
    lines = (directory / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(results.events)
    with pytest.raises(UserError, match=r"\.png cannot be written"):
        export(two_arms, results, None, "en", directory / "results.png")
    without = replace(results, events=())
    assert [path.name for path in export_all(two_arms, without, None, "en").glob("*.svg")] == []
    with pytest.raises(UserError, match="draws no chart"):
        export(two_arms, without, None, "en", directory / "none.svg")
    (directory / "file").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="not saved"):
        export(two_arms, results, None, "en", directory / "file" / "x.txt")


def test_budgets() -> None:
    assert values_of(two_arms, "deep", {"steps": "7"}) == {"steps": 7, "seeds": 5, "tied": False}
    assert budgets_of(two_arms, two_arms.resolve()) == ("standard",)
    assert budgets_of(two_arms, {"steps": 10, "seeds": 1, "tied": True}, {"tied": True}) == ("quick",)
    assert budgets_of(two_arms, two_arms.resolve({"steps": 51})) == ()
    assert parse_budget("deep") == "deep"
    with pytest.raises(UserError, match=r"quick \| standard \| deep"):
        parse_budget("huge")


def test_the_expected_seconds_are_measured_or_scaled() -> None:
    recording = Recording({}, (), "torch", {"standard": 30.0, "quick": 1.5})
    assert expected_seconds(two_arms, values_of(two_arms, "standard"), recording) == 30.0
    assert expected_seconds(two_arms, values_of(two_arms, "quick"), recording) == 1.5
    assert expected_seconds(two_arms, values_of(two_arms, "deep"), recording) == pytest.approx(30 * 2 * 5 / 3)
    assert expected_seconds(two_arms, two_arms.resolve({"steps": 100}), recording) == pytest.approx(60)
    assert expected_seconds(two_arms, two_arms.resolve(), None) is None
    assert expected_seconds(two_arms, two_arms.resolve(), Recording({}, ())) is None


def test_number_predictions_are_kept_and_judged(results: Results) -> None:
    record = LessonProgress()
    assert prediction_of(two_arms, record) is None
    keep_prediction(two_arms, record, 40)
    assert (record.guesses, record.predictions) == ({"two_arms": 40.0}, {})
    assert prediction_of(two_arms, record) == 40.0
    assert judge(two_arms, 40, results.claims) == Judged(Text("40 %", "40 %"), Text("35 %", "35 %"), True)
    assert judge(two_arms, 80, results.claims).is_right is False
    assert judge(two_arms, 80, ()) == Judged(Text("80 %", "80 %"))
    with pytest.raises(UserError, match="a number 0…100"):
        keep_prediction(two_arms, record, 101)
    record.guesses["two_arms"] = -5.0
    assert prediction_of(two_arms, record) is None


def test_choices_are_judged_by_their_place() -> None:
    asked = replace(two_arms, number=None, choices=(Text("small", "小"), Text("large", "大")))
    claim = Claim("prediction", Text("large", "大"), {"choice": 1}, True)
    assert judge(asked, 1, [claim]) == Judged(Text("large", "大"), Text("large", "大"), True)
    assert judge(asked, 0, [claim]).is_right is False
    assert judge(asked, 0, [Claim("prediction", Text("?", "?"), {"choice": 9}, None)]) == Judged(Text("small", "小"))
    record = LessonProgress()
    keep_prediction(asked, record, 1)
    assert (record.predictions, prediction_of(asked, record)) == ({"two_arms": 1}, 1)
    for wrong in (2, -1, 0.5):
        with pytest.raises(UserError, match="a number 1…2"):
            keep_prediction(asked, record, wrong)


def test_which_values_changed() -> None:
    before = two_arms.resolve()
    assert changed_values(two_arms, before, before, "en") == []
    now = two_arms.resolve({"seeds": 1, "tied": True})
    assert changed_values(two_arms, before, now, "en") == ["seeds 3 → 1", "tied no → yes"]
    assert changed_values(two_arms, before, now, "zh") == ["种子数 3 → 1", "绑定 否 → 是"]
