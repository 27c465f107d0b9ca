"""Alerts and ends of runs are told wherever one is, once."""

from __future__ import annotations

import pytest

from minimind.events import Alert, Text
from minimind.training.runs import Recorder
from minimind_tui.app import MiniMindApp
from minimind_tui.run_news import RunNews
from tests.tui.driving import until, until_told
from tests.tui.fake_runs import alive, make_run, scalars

NAN = Alert("warning", "not-finite", Text("a step was left out", "有一步被跳过"), 12)


def test_only_what_happens_to_live_runs_after_the_first_look_is_news() -> None:
    old = make_run(steps=10)
    live = make_run(steps=10, name="fox")
    news = RunNews()
    with alive(live):
        with Recorder(live) as recorder:
            recorder.record(Alert("error", "old", Text("before", "之前"), 3))
            assert news.poll() == []
            recorder.record(NAN)
            recorder.record(Alert("info", "tip", Text("by the way", "顺便"), 13))
        with Recorder(old) as recorder:
            recorder.record(NAN)
        (told,) = news.poll()
        assert told.text == Text("fox: a step was left out", "fox：有一步被跳过")
        assert (told.directory, told.level) == (live, "warning")
        with Recorder(live) as recorder:
            recorder.record(scalars(20))
        assert news.poll() == []
    (told,) = news.poll()
    assert told.text.en.startswith("fox: lost — ")
    assert told.level == "error"
    assert news.poll() == []


def test_a_run_begun_later_is_followed_to_its_good_end() -> None:
    news = RunNews()
    assert news.poll() == []
    live = make_run(steps=10, verdict=None)
    with alive(live):
        assert news.poll() == []
        Recorder(live).finish({"outcome": "finished"})
    (told,) = news.poll()
    assert told.text.zh.endswith("：已完成")
    assert told.level == "information"


async def test_it_is_told_on_any_screen_with_a_bell_unless_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    rings: list[int] = []
    live = make_run(steps=10)
    app = MiniMindApp(language="zh")
    monkeypatch.setattr(app, "bell", lambda: rings.append(1))
    with alive(live), Recorder(live) as recorder:
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await app.look_for_news().wait()
            assert not rings
            recorder.record(NAN)
            await app.look_for_news().wait()
            await until_told(pilot, "有一步被跳过")
            assert rings == [1]
            await app.action_show("settings")
            await pilot.press("down", "down", "down", "down", "enter")
            await until(pilot, lambda: not app.settings.bell)
            recorder.record(Alert("error", "again", Text("again", "又一次"), 14))
            await app.look_for_news().wait()
            await until_told(pilot, "又一次")
            assert rings == [1]
