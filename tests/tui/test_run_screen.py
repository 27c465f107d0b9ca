"""The screen of one run on the real app: live, ended in every way, hostile, huge, small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import Alert, Band, Language, Level, Mark, Sample, Scalars, Table, Text
from minimind.training.machine import Gpu, Machine
from minimind.training.rules.finding import Finding
from minimind.training.runs import Recorder, read_control
from minimind_tui import supervisor
from minimind_tui.app import MiniMindApp
from minimind_tui.screens.run import RunScreen
from minimind_tui.widgets.line_chart import LineChart
from minimind_tui.widgets.loss_chart import LossChart
from minimind_tui.widgets.metric_charts import MetricCharts
from tests.tui.driving import text_of, until, until_shown, until_told
from tests.tui.fake_runs import alive, hostile_run, make_checkpoint, make_run, scalars

RUNNING = {"en": ("running", "60 %", "left", "held-out"), "zh": ("运行中", "60 %", "还需", "留出集")}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often than a person needs."""
    for name in ("POLL_SECONDS", "DETAIL_SECONDS"):
        monkeypatch.setattr(f"minimind_tui.screens.run.{name}", 0.1)


@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (160, 50)), ("zh", (60, 16))])
async def test_a_live_run_is_followed(language: Language, size: tuple[int, int]) -> None:
    directory = make_run(steps=60)
    app = MiniMindApp(language=language)
    with alive(directory):
        async with app.run_test(size=size) as pilot:
            await app.show_run(directory)
            await until_shown(pilot, *RUNNING[language], directory.name[:12])
            with Recorder(directory) as recorder:
                for step in range(61, 81):
                    recorder.record(scalars(step))
            await until_shown(pilot, "1.075")
            chart = app.screen.query_one(LossChart)
            assert list(chart._series["loss"].curve.xs) == list(range(1, 81))


async def test_tab_goes_through_the_panes_where_there_is_no_room_for_all() -> None:
    directory = make_run(steps=60, checkpoints=(50,), log="hello from the trainer\n")
    app = MiniMindApp(language="en")
    with alive(directory):
        async with app.run_test(size=(80, 24)) as pilot:
            await app.show_run(directory)
            await until_shown(pilot, "Loss  ━ training")
            await pilot.press("tab")
            await until_shown(pilot, "there was a fox at step 50.")
            await pilot.press("tab")
            await until_shown(pilot, "Gradient norm", "Tokens/s")
            await pilot.press("tab")
            await until_shown(pilot, "Nothing stands out in the 60 steps")
            await pilot.press("tab")
            await until_shown(pilot, "This run: ", " of memory", "CPU")
            await pilot.press("tab")
            text = await until_shown(pilot, "Held-out", "1.0 MB")
            assert "1.320" in text
            await pilot.press("tab")
            await until_shown(pilot, "hello from the trainer")
            await pilot.press("tab", "l")
            await until_shown(pilot, "hello from the trainer")
            await pilot.press("shift+tab")
            await until_shown(pilot, "1.0 MB")


async def test_everything_at_once_where_there_is_room_and_back() -> None:
    directory = make_run(steps=60, checkpoints=(50,), log="hello from the trainer\n")
    app = MiniMindApp(language="en")
    words = ("Loss  ━", "there was a fox", "Gradient norm", "1.0 MB", "hello from the trainer")
    with alive(directory):
        async with app.run_test(size=(160, 50)) as pilot:
            await app.show_run(directory)
            await until_shown(pilot, *words)
            await pilot.resize_terminal(80, 24)
            await until(pilot, lambda: "hello from" not in text_of(app))
            await pilot.resize_terminal(160, 50)
            await until_shown(pilot, *words)


async def test_samples_can_be_followed_and_looked_up() -> None:
    directory = make_run(steps=150, total=200)
    app = MiniMindApp(language="en")
    async with app.run_test(size=(160, 50)) as pilot:
        await app.show_run(directory)
        await until_shown(pilot, "Step 150, the newest (3 of 3)", "fox at step 150", "第 150 步")
        await pilot.press("left_square_bracket")
        await until_shown(pilot, "Step 100 (2 of 3)", "fox at step 100")
        with Recorder(directory) as recorder:
            recorder.record(Sample(200, "Once", " more."))
        await until_shown(pilot, "Step 100 (2 of 4)")
        await pilot.press(*["right_square_bracket"] * 5)
        await until_shown(pilot, "Step 200, the newest (4 of 4)", "Once more.")


@pytest.mark.parametrize(
    ("verdict", "exit_file", "words"),
    [
        ({"outcome": "finished"}, None, ("finished", "lowest held-out loss 1.300", "f teaches it to answer")),
        ({"outcome": "stopped"}, None, ("stopped", "r resumes it", "f teaches it")),
        ({"outcome": "failed", "text": {"en": "data.jsonl line 7: not JSON", "zh": "x"}}, None,
         ("failed", "data.jsonl line 7: not JSON", "last words", "r resumes it")),
        ({"outcome": "out-of-memory"}, None, ("out of memory", "smaller batch_size")),
        (None, '{"signal": 9}', ("killed", "SIGKILL", "r resumes it")),
        (None, '{"code": 1}', ("failed", "status 1", "last words")),
        (None, None, ("lost", "ended without a trace", "r resumes it")),
    ],
)  # fmt: skip
async def test_every_end_has_its_words_and_its_remedy(
    verdict: dict[str, Any] | None, exit_file: str | None, words: tuple[str, ...]
) -> None:
    directory = make_run(steps=60, checkpoints=(50,), verdict=verdict, log="first\nlast words\n")
    if exit_file:
        (directory / "exit.json").write_text(exit_file, encoding="utf-8")
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_run(directory)
        await until_shown(pilot, *words)
        assert "p Pause" not in text_of(app)


async def test_a_run_that_is_resumed_elsewhere_goes_back_and_on() -> None:
    directory = make_run(steps=60)
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_run(directory)
        await until_shown(pilot, "lost")
        with alive(directory), Recorder(directory) as recorder:
            recorder.record(Mark("started", 50))
            for step in (51, 52):
                recorder.record(scalars(step))
            await until_shown(pilot, "running")
            chart = app.screen.query_one(LossChart)
            await until(pilot, lambda: list(chart._series["loss"].curve.xs) == list(range(1, 53)))


async def test_wishes_reach_the_run() -> None:
    directory = make_run(steps=60)
    app = MiniMindApp(language="en")
    with alive(directory):
        async with app.run_test(size=(100, 30), notifications=True) as pilot:
            await app.show_run(directory)
            await until_shown(pilot, "running")
            await pilot.press("w")
            await until(pilot, lambda: read_control(directory).save == 1)
            await until_shown(pilot, "saves after the current step")
            await pilot.press("p")
            await until(pilot, lambda: read_control(directory).want == "pause")
            with Recorder(directory) as recorder:
                recorder.record(Mark("paused", 60))
            await until_shown(pilot, "paused between two steps")
            await pilot.press("p")
            await until(pilot, lambda: read_control(directory).want == "run")
            await until(pilot, lambda: "paused between" not in text_of(app))
            await pilot.press("s")
            await until_shown(pilot, "It saves a checkpoint and ends")
            await pilot.press("y")
            await until(pilot, lambda: read_control(directory).want == "stop")


async def test_one_key_starts_fine_tuning_from_the_newest_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = make_run(steps=60, checkpoints=(40, 50), verdict={"outcome": "finished"})
    asked: list[Path] = []

    def fine_tune(model: Path) -> Path:
        asked.append(model)
        if len(asked) == 1:
            raise UserError("no room", "没有空间")
        return make_run(config=TrainConfig(objective="sft", model=str(model)))

    monkeypatch.setattr(supervisor, "fine_tune", fine_tune)
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await app.show_run(directory)
        await until_shown(pilot, "f teaches it")
        await pilot.press("f")
        await until_shown(pilot, "no room")
        await pilot.press("f")
        await until_shown(pilot, "-sft-", "not started", "r starts it")
        assert asked == [directory / "checkpoints" / "step-000050"] * 2
        assert "f Start SFT" not in text_of(app)


async def test_hostile_text_is_only_text() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(160, 50)) as pilot:
        await app.show_run(hostile_run())
        text = await until_shown(pilot, "sample␛]52;c;aGk=␇", "alert␛]52", "prompt␛", "[/][@click=app.bell]press[/]")
        assert not {"\x1b", "\x9b", "\u202e"} & set(text)


async def test_the_latest_warning_of_a_live_run_stands_on_top() -> None:
    directory = make_run(steps=60)
    app = MiniMindApp(language="zh")
    with alive(directory), Recorder(directory) as recorder:
        recorder.record(Alert("warning", "nan", Text("loss is NaN", "损失为 NaN"), 60))
        async with app.run_test(size=(80, 24)) as pilot:
            await app.show_run(directory)
            await until_shown(pilot, "损失为 NaN", "离开此屏")


async def test_a_long_history_is_taken_in_by_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimind_tui.run_watch._POLL_SECONDS", 0.0)
    monkeypatch.setattr("minimind_tui.run_watch.SLICE", 4096)
    directory = make_run(steps=400, total=400, verdict={"outcome": "finished"})
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_run(directory)
        await until_shown(pilot, "Reading this run's history")
        await until_shown(pilot, "Finished: 400 steps")


async def test_the_language_changes_live() -> None:
    directory = make_run(steps=60, checkpoints=(50,))
    app = MiniMindApp(language="en")
    with alive(directory):
        async with app.run_test(size=(160, 50)) as pilot:
            await app.show_run(directory)
            await until_shown(pilot, "goes on without this window", "the newest (1 of 1)")
            await pilot.press("f8")
            text = await until_shown(pilot, "都不会中断训练", "最新（1/1）", "梯度范数", "多久前", "留出集")
            assert "newest" not in text
            await pilot.press("f1")
            await until_shown(pilot, "更早的样例", "立即保存")


async def test_a_run_deleted_under_the_window_is_said() -> None:
    directory = make_run(steps=60)
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_run(directory)
        await until_shown(pilot, "lost")
        supervisor.delete(directory)
        await until_shown(pilot, "This run was deleted")
        await pilot.press("s", "p", "r", "w", "f", "c", "d")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, RunScreen))


async def test_something_that_is_no_run_is_said_and_no_screen_opens(tmp_path: Path) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await app.show_run(tmp_path)
        await until_shown(pilot, "not a run (no run.json in it)")


async def test_keys_of_the_charts() -> None:
    directory = make_run(steps=60)
    app = MiniMindApp(language="en")
    async with app.run_test(size=(160, 50)) as pilot:
        await app.show_run(directory)
        await until_shown(pilot, "Loss  ━")
        await pilot.press("tab", "y", "m")
        assert app.screen.query_one(LossChart).logarithmic
        assert all(chart.smoothed for chart in app.screen.query(LineChart))
        make_checkpoint(directory, 60)
        await until_shown(pilot, "60       1.300")


@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (160, 50))])
async def test_whatever_a_method_records_is_drawn(language: Language, size: tuple[int, int]) -> None:
    directory = make_run(steps=20)
    app = MiniMindApp(language=language)
    with alive(directory), Recorder(directory) as recorder:
        async with app.run_test(size=size) as pilot:
            await app.show_run(directory)
            await until_shown(pilot, "Loss  ━" if language == "en" else "损失  ━")
            for step in range(21, 41):
                values = {"loss": 0.1, "reward": step / 40, "reward_format": 0.5, "kl": 0.02, "oddity": float(step)}
                recorder.record(Scalars(step, values))
            recorder.record(Level("reward", "chance", 0.25))
            recorder.record(Band("kl", "kl", (21.0, 40.0), (0.0, 0.0), (0.04, 0.04)))
            recorder.record(Table("episodes", (Text("question", "问题"),), (("1 + 1",),), Text("Episodes", "回合")))
            # What is learned is the reward now, and the loss one metric among others.
            main = app.screen.query_one(LossChart)
            await until(pilot, lambda: main.group == "rewards" and "reward_format" in main._series)
            await until(pilot, lambda: "chance" in main._references)
            charts = app.screen.query_one(MetricCharts)
            assert charts.groups == ("loss", "kl", "rate", "gradient", "speed", "memory", "other")
            assert "kl" in charts._charts["kl"]._bands
            if size[0] == 80:
                await pilot.press("tab", "tab")
                await until_shown(pilot, "KL divergence", "Charts 1 of 2")
                assert "Other figures" not in text_of(app)
                await pilot.press("enter")  # the first chart alone, and all again
                await until(pilot, lambda: "KL divergence" not in text_of(app))
                assert "Loss  ━" in text_of(app)
                await pilot.press("enter")
                await until_shown(pilot, "KL divergence")
                await pilot.press("pagedown")
                await until_shown(pilot, "Other figures  ━ oddity 40")
                await pilot.press("enter")
                await until(pilot, lambda: app.focused is not None and app.focused.size.height > 10)
                await pilot.press("enter", "tab")
                await until_shown(pilot, "Episodes", "1 + 1")
            else:
                await until_shown(pilot, "KL 散度", "其他数据", "问题", "1 + 1", "chance 0.25")


async def test_another_learning_rate_is_asked_of_a_live_run() -> None:
    directory = make_run(steps=60)
    app = MiniMindApp(language="en")
    with alive(directory):
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await app.show_run(directory)
            await until_shown(pilot, "running")
            await pilot.press("a")
            await until_shown(pilot, "Now its peak is 0.003")
            await pilot.press("x", "enter")
            await until_shown(pilot, "learning_rate = 'x' is not allowed", "Double")
            await pilot.press("backspace", *"0.003", "down", "enter")
            await until(pilot, lambda: read_control(directory).learning_rate == 0.0015)
            await until_told(pilot, "peak rate of 0.0015")
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show_run(directory)
        await until_shown(pilot, "lost")
        await pilot.press("a")
        await pilot.pause()
        assert isinstance(app.screen, RunScreen)


async def test_one_pane_can_have_all_the_room() -> None:
    directory = make_run(steps=60, log="hello from the trainer\n")
    app = MiniMindApp(language="en")
    async with app.run_test(size=(160, 50)) as pilot:
        await app.show_run(directory)
        await until_shown(pilot, "hello from the trainer", "Loss  ━")
        await pilot.press("l", "z")
        await until(pilot, lambda: "Loss  ━" not in text_of(app))
        assert "hello from the trainer" in text_of(app)
        await pilot.press("z")
        await until_shown(pilot, "hello from the trainer", "Loss  ━")


EVIL = "\x1b[2J[/]"
FOUND = [
    Finding(
        "spike",
        "error",
        Text("The loss jumped", "损失突跳"),
        Text(f"It rose to 7.{EVIL}", f"升到了 7。{EVIL}"),
        Text("Lower the rate.", "请调低学习率。"),
        "training",
        (40, 44),
        {"gradient_norm": 12.5},
    ),
    Finding("plateau", "info", Text("No progress", "停滞"), Text("…", "…"), Text("Wait.", "再等等。"), "softmax"),
]


@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (160, 50))])
async def test_findings_have_evidence_advice_and_a_lesson(
    language: Language, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minimind_tui.run_watch.diagnose", lambda view: FOUND if view.step >= 40 else [])
    monkeypatch.setattr("minimind_tui.run_watch._VERDICT_SECONDS", 0.05)
    directory = make_run(steps=30)
    app = MiniMindApp(language=language)
    async with app.run_test(size=size) as pilot:
        await app.show_run(directory)
        await until(pilot, lambda: app.screen.query("FindingsPane"))
        await pilot.press("g")
        await until_shown(pilot, "the 30 steps so far" if language == "en" else "到目前的 30 步为止")
        with Recorder(directory) as recorder:
            for step in range(31, 51):
                recorder.record(scalars(step))
        words = {
            "en": (
                "The loss jumped · steps 40 to 44",
                "It rose to 7.␛[2J[/]",
                "now 12.5",
                "→ Lower the rate.",
                "No progress",
            ),
            "zh": ("损失突跳 · 第 40 至 44 步", "升到了 7。", "当前 12.5", "→ 请调低学习率。", "停滞"),
        }
        text = await until_shown(pilot, *words[language])
        assert "\x1b" not in text
        if size[0] == 80:
            assert "Findings 2" in text
        asked: list[str] = []
        monkeypatch.setattr(app, "leave_for_lesson", asked.append)
        await pilot.press("enter", "down", "enter")
        await until(pilot, lambda: asked == ["training", "softmax"])


async def test_the_rules_are_asked_of_what_was_really_recorded() -> None:
    directory = make_run(steps=0)
    with Recorder(directory) as recorder:
        recorder.record(Mark("started", 0, {"steps": 400}))
        for step in range(1, 301):
            speed = 9000.0 if step < 150 else 900.0
            recorder.record(
                Scalars(step, {"loss": 5.0 - step / 100, "tokens_per_second": speed, "tokens": step * 4096.0})
            )
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 40)) as pilot:
        await app.show_run(directory)
        await until_shown(pilot, "Findings 1")
        await pilot.press("g")
        await until_shown(pilot, "900 tokens a second since step 149", "⏎ lesson: pretraining")


async def test_what_was_predicted_stands_beside_what_it_took() -> None:
    directory = make_run(steps=60, verdict={"outcome": "finished", "actual": {"seconds": 130.0, "disk_bytes": 5e6}})
    asked = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    asked["prediction"] = {"seconds": 120.0, "disk_bytes": 4e6, "price_per_hour": 36.0, "currency": "CNY"}
    (directory / "run.json").write_text(json.dumps(asked), encoding="utf-8")
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_run(directory)
        await until_shown(pilot, "Predicted → actual: time 2 min 00 s → 2 min 10 s", "cost 1.20 CNY → 1.30")


async def test_gpus_are_shown_with_all_they_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(0, "H100", 0.97, 40 * 10**9, 80 * 10**9, 64.0, 310.0, 700.0)
    shy = Gpu(1, "H100", None, None, None, None, None, None)
    machine = Machine(0.5, 16, 8 * 10**9, 10**11, (gpu, shy), None)
    monkeypatch.setattr("minimind_tui.screens.run.MachineWatch.now", lambda _: machine)
    directory = make_run(steps=10)
    app = MiniMindApp(language="zh")
    async with app.run_test(size=(160, 50)) as pilot:
        await app.show_run(directory)
        await until_shown(pilot, "GPU 0", "97 %", "64 °C", "310/700 W", "40.0 GB，共 80.0 GB", "GPU 1", "没有进程")


async def test_any_method_can_go_on_from_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = make_run(steps=60, checkpoints=(50,), verdict={"outcome": "finished"})
    asked: list[object] = []
    app = MiniMindApp(language="en")

    async def show_new_run(values: object) -> None:
        asked.append(values)

    monkeypatch.setattr(app, "show_new_run", show_new_run)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show_run(directory)
        await until_shown(pilot, "finished")
        await pilot.press("n")
        await until(pilot, lambda: asked)
        assert asked == [{"objective": "sft", "model": str(directory / "checkpoints" / "step-000050")}]
