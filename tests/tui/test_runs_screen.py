"""The list of runs on the real app."""

from __future__ import annotations

import pytest

from minimind.config import TrainConfig
from minimind.events import Language, Mark, Scalars
from minimind.training.about import About, change_tags, read_about, rename_run
from minimind.training.queue import waiting_runs
from minimind.training.runs import Recorder, read_control
from minimind_tui.app import MiniMindApp
from minimind_tui.screens.compare import CompareScreen
from minimind_tui.screens.run import RunScreen
from tests.tui.driving import text_of, until, until_shown, until_told
from tests.tui.fake_runs import alive, hostile_run, make_run, scalars

EMPTY = {"en": "No training run yet.", "zh": "还没有训练。"}
STATES = {"en": ("finished", "lost"), "zh": ("已完成", "失去踪迹")}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often than a person needs."""
    monkeypatch.setattr("minimind_tui.screens.runs.POLL_SECONDS", 0.1)


@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (160, 50)), ("zh", (60, 16))])
async def test_empty_then_full(language: Language, size: tuple[int, int]) -> None:
    app = MiniMindApp(language=language, target=("runs",))
    async with app.run_test(size=size, notifications=True) as pilot:
        text = await until_shown(pilot, EMPTY[language])
        assert "n" in text
        make_run(steps=60)
        make_run(steps=100, verdict={"outcome": "finished"})
        text = await until_shown(pilot, *STATES[language])
        assert "100 %" in text
        assert EMPTY[language] not in text


async def test_too_small_a_terminal_says_so_and_comes_back() -> None:
    app = MiniMindApp(language="en", target=("runs",))
    make_run(steps=60)
    async with app.run_test(size=(40, 10), notifications=True) as pilot:
        await until_shown(pilot, "60×16")
        await pilot.resize_terminal(80, 24)
        await until_shown(pilot, "lost")


async def test_the_language_changes_live() -> None:
    app = MiniMindApp(language="en", target=("runs",))
    make_run(steps=60)
    async with app.run_test(size=(100, 24), notifications=True) as pilot:
        await until_shown(pilot, "lost", "State", "ended without a trace")
        await pilot.press("f8")
        text = await until_shown(pilot, "失去踪迹", "状态", "没有留下任何记录")
        assert "ended without" not in text


async def test_live_figures_follow() -> None:
    app = MiniMindApp(language="en", target=("runs",))
    directory = make_run(steps=60)
    with alive(directory):
        async with app.run_test(size=(100, 24), notifications=True) as pilot:
            await until_shown(pilot, "running", "60 %", "20 s", "1.100")
            with Recorder(directory) as recorder:
                recorder.record(scalars(80))
            await until_shown(pilot, "10 s", "1.075")


async def test_filter_narrows_and_escape_shows_all() -> None:
    app = MiniMindApp(language="en", target=("runs",))
    make_run(steps=1, name="apple")
    make_run(steps=1, name="banana")
    async with app.run_test(size=(100, 24), notifications=True) as pilot:
        await until_shown(pilot, "apple", "banana")
        await pilot.press("slash", *"BAN")
        await until(pilot, lambda: "apple" not in text_of(app))
        await pilot.press(*"xyz", "enter")
        await until_shown(pilot, "No run matches “BANxyz”")
        await pilot.press("escape")
        await until_shown(pilot, "apple", "banana")
        assert app.current_mode == "runs"
        await pilot.press("escape")
        await until(pilot, lambda: app.current_mode == "learn")


async def test_pause_stop_and_delete_ask_the_run_and_say_so() -> None:
    app = MiniMindApp(language="en", target=("runs",))
    directory = make_run(steps=60, checkpoints=(50,))
    async with app.run_test(size=(100, 24), notifications=True) as pilot:
        with alive(directory):
            await until_shown(pilot, "running")
            await pilot.press("p")
            await until(pilot, lambda: read_control(directory).want == "pause")
            await until_shown(pilot, "pauses after the current step")
            await pilot.press("s")
            await until_shown(pilot, "Stop it", f"Stop {directory.name}?")
            await pilot.press("n")
            assert read_control(directory).want == "pause"
            await pilot.press("s")
            await until_shown(pilot, "Stop it")
            await pilot.press("y")
            await until(pilot, lambda: read_control(directory).want == "stop")
            await until_shown(pilot, "stopping")
            await pilot.press("d", "p")
            await until(pilot, lambda: "p Pause" not in text_of(app))
            assert "cannot be undone" not in text_of(app)
            await pilot.press("s")
            await until_shown(pilot, "already asked to stop")
            await pilot.press("escape")
            assert not read_control(directory).force
        await until_shown(pilot, "lost", "r Resume")
        assert "s Stop" not in text_of(app)
        await pilot.press("delete")
        await until_shown(pilot, "its checkpoints (1,")
        await pilot.press("enter")
        assert directory.exists()
        await pilot.press("delete")
        await until_shown(pilot, "cannot be undone")
        await pilot.press("right", "enter")
        await until_shown(pilot, "No training run yet.")
        assert not directory.exists()


async def test_hostile_text_stays_text() -> None:
    app = MiniMindApp(language="en", target=("runs",))
    hostile_run()
    async with app.run_test(size=(100, 24), notifications=True) as pilot:
        text = await until_shown(pilot, "failed", "[/][@click=app.bell]press[/]")
        assert not {"\x1b", "\x9b", "\u202e"} & set(text)


async def test_a_damaged_run_is_shown_with_what_is_wrong() -> None:
    app = MiniMindApp(language="en", target=("runs",))
    directory = make_run(steps=1)
    (directory / "run.json").write_text("{", encoding="utf-8")
    async with app.run_test(size=(100, 24), notifications=True) as pilot:
        await until_shown(pilot, "unreadable", "damaged, or not made by minimind")
        await pilot.press("c", "p", "r", "enter")
        await until_shown(pilot, "unreadable")


async def test_many_runs_scroll_with_the_cursor() -> None:
    app = MiniMindApp(language="en", target=("runs",))
    names = {make_run().name for _ in range(30)}
    async with app.run_test(size=(80, 20), notifications=True) as pilot:
        await until_shown(pilot, "1/30")
        seen = {name for name in names if name in text_of(app)}
        assert 5 < len(seen) < 30
        await pilot.press("end")
        await until_shown(pilot, "30/30")
        assert not seen & {name for name in names if name in text_of(app).rsplit("\n", 6)[0]}


@pytest.mark.parametrize("width", [60, 66, 72, 78, 80, 88, 106, 116, 128, 160])
async def test_an_id_is_never_cut(width: int) -> None:
    first = make_run(steps=1)
    second = make_run(steps=1, config=TrainConfig(objective="sft", model=str(first / "checkpoints" / "step-000100")))
    app = MiniMindApp(language="zh", target=("runs",))
    async with app.run_test(size=(width, 20)) as pilot:
        text = await until_shown(pilot, first.name, second.name)
        assert (f"{first.name[-4:]} · step 100" in text) == (width >= 106)


async def test_a_condition_on_state_and_tags_narrows_and_a_wrong_one_is_explained() -> None:
    app = MiniMindApp(language="en", target=("runs",))
    change_tags(make_run(steps=1, name="apple"), ["fruit"])
    make_run(steps=1, name="stone", verdict={"outcome": "finished"})
    async with app.run_test(size=(160, 24)) as pilot:
        await until_shown(pilot, "apple", "stone", "fruit")
        await pilot.press("slash", *"tag:fruit")
        await until(pilot, lambda: "stone" not in text_of(app))
        await pilot.press(*" -state:lost")
        await until_shown(pilot, "No run matches")
        await pilot.press("ctrl+u", *"colour:red")
        await until_shown(pilot, "there is no such key")
        await pilot.press("ctrl+u", *"state:finished", "enter")
        await until_shown(pilot, "stone")
        assert "apple" not in text_of(app)


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_run_is_given_a_name_tags_and_a_note(language: Language) -> None:
    app = MiniMindApp(language=language, target=("runs",))
    directory = make_run(steps=1)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, directory.name)
        await pilot.press("e")
        words = ("About", "Save", "Cancel") if language == "en" else ("关于", "保存", "取消")
        await until_shown(pilot, directory.name, *words)  # all of it, at 80 x 24
        await pilot.press(*"fox", "tab", *"b a", "tab", *"tried it", "ctrl+r")
        await until_shown(pilot, "fox (", "#a #b", "tried it")
        assert read_about(directory) == About("fox", "tried it", ("a", "b"))
        await pilot.press("e")
        await until_shown(pilot, "tried it")
        await pilot.press("tab", "end", *" x:y", "enter")
        await until_told(pilot, "tag 'x:y' is not allowed" if language == "en" else "标签 'x:y' 不可用")
        await pilot.press("e", "escape")
        assert read_about(directory) == About("fox", "tried it", ("a", "b"))


async def test_marked_runs_are_compared_and_deleted_together() -> None:
    app = MiniMindApp(language="en", target=("runs",))
    runs = [make_run(steps=10, checkpoints=(10,)) for _ in range(3)]
    live = make_run(steps=10)
    with alive(live):
        async with app.run_test(size=(100, 24), notifications=True) as pilot:
            await until_shown(pilot, *(run.name for run in runs), "running")
            await pilot.press("o")
            await until_told(pilot, "Mark two runs or more")
            await pilot.press("space", "space", "space")
            await until_shown(pilot, "marked: 3", "◆")
            await pilot.press("o")
            await until(pilot, lambda: isinstance(app.screen, CompareScreen))
            await pilot.press("escape")
            await until_shown(pilot, "marked: 3")
            await pilot.press("d")
            await until_shown(pilot, "Delete 2 runs with their checkpoints (2,", "they are alive: 1")
            await pilot.press("y")
            await until(pilot, lambda: sum(run.exists() for run in runs) == 1)
            assert live.exists()
            await until_shown(pilot, "marked: 1")
            await pilot.press("escape")
            await until(pilot, lambda: "marked" not in text_of(app))


async def test_the_device_of_the_last_start_is_shown() -> None:
    app = MiniMindApp(language="en", target=("runs",))
    directory = make_run(steps=0)
    with Recorder(directory) as recorder:
        recorder.record(Mark("started", 0, {"device": "cuda"}))
    rename_run(directory, "mine")
    async with app.run_test(size=(160, 24)) as pilot:
        await until_shown(pilot, "mine (", "cuda", "Device")


async def test_runs_wait_in_an_order_that_can_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimind.training.queue.wake_runner", lambda: False)
    first, second = make_run(name="apple"), make_run(name="pear")
    make_run(steps=5, name="other", verdict={"outcome": "finished"})
    app = MiniMindApp(language="en", target=("runs",))
    async with app.run_test(size=(100, 24), notifications=True) as pilot:
        await until_shown(pilot, "apple", "pear", "other")
        await pilot.press("u")  # the newest is finished: it cannot wait
        await until_told(pilot, "cannot wait for a start")
        await pilot.press("end", "u")
        await until_shown(pilot, "waits: 1", "waiting: 1")
        await pilot.press("up", "u")
        await until_shown(pilot, "waits: 2")
        assert [one.directory for one in waiting_runs()] == [first, second]
        await pilot.press("w")
        await until(pilot, lambda: "other" not in text_of(app))
        await pilot.press("shift+up")
        await until(pilot, lambda: [one.directory for one in waiting_runs()] == [second, first])
        await pilot.press("u")
        await until(pilot, lambda: [one.directory for one in waiting_runs()] == [first])
        await until_shown(pilot, "the queue: 1 wait")
        await pilot.press("u")
        await until(pilot, lambda: not waiting_runs())
        await until_shown(pilot, "Nothing runs and nothing waits")
        await pilot.press("w")
        await until_shown(pilot, "other")


async def test_of_a_method_that_earns_rewards_the_reward_is_shown() -> None:
    directory = make_run(steps=0, config=TrainConfig(objective="grpo", model="nano"))
    with Recorder(directory) as recorder:
        recorder.record(Mark("started", 0))
        recorder.record(Scalars(1, {"loss": 0.001, "reward": 0.75}))
        recorder.record(Scalars(1, {"validation_loss": -0.5, "validation_reward": 0.5}))
        recorder.finish({"outcome": "finished"})
    app = MiniMindApp(language="en", target=("runs",))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "↑0.75", "↑0.5")
        await pilot.press("enter")
        text = await until_shown(pilot, "highest held-out reward 0.5", "Reward  ━ mean reward 0.7500")
        assert "held-out 0.5000" in text
        assert "0.001" not in text


async def test_the_cursor_is_on_the_run_that_was_looked_at_last() -> None:
    runs = [make_run(steps=1) for _ in range(3)]
    app = MiniMindApp(language="en", target=("runs",))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, *(run.name for run in runs))
        await app.show_run(runs[0])
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("escape")
        await until(pilot, lambda: f"{runs[0].name}:" in text_of(app))
