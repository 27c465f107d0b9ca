"""The form of a new run on the real app, with a fake estimate and a fake trainer."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import psutil
import pytest
from textual.widgets import Input, Select, Static

from minimind.config import MODEL_PRESETS, TrainConfig
from minimind.devices import devices
from minimind.errors import UserError
from minimind.events import Language
from minimind.training.checkpoint import write
from minimind.training.recommend import recommended_config
from minimind_tui import estimate_client, learning_rate_client, supervisor
from minimind_tui.app import MiniMindApp
from minimind_tui.estimate_client import arguments_for, measure, parse
from minimind_tui.model_list import Model, starting_model
from minimind_tui.screens.new_run import NewRunScreen
from minimind_tui.screens.on_paper import OnPaperDialog
from minimind_tui.widgets.config_form import ConfigForm
from tests.tui.driving import lines_of, text_of, until, until_shown, until_told
from tests.tui.fake_runs import make_run

SHOWN = {
    "en": ("Train your first model", "2.0 min to 2.5 min for 812 steps", "1.1 M parameters", "310 MB of memory"),
    "zh": ("训练你的第一个模型", "2.0 分 至 2.5 分，共 812 步", "1.1 M 个参数", "内存 310 MB"),
}

TUNED = recommended_config("sft", {"model": "nano"})
NOT_STARTED = {"en": "not started yet", "zh": "尚未启动"}


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """The configs that were started, without a trainer."""
    monkeypatch.setattr(estimate_client, "COMMAND", (sys.executable, str(Path(__file__).with_name("fake_estimate.py"))))
    monkeypatch.setattr("minimind_tui.screens.new_run.PATIENCE", 0.05)
    monkeypatch.setattr("minimind.paths.shipped_models", lambda: Path("/nowhere"))
    configs: list[TrainConfig] = []

    def start(config: TrainConfig, *, queue: bool = False) -> Path:
        configs.append(config)
        if config.seed == 11:
            raise UserError("/runs: no run can be made there: No space left on device", "磁盘已满")
        return make_run(config=config, name="queued" if queue else None)

    monkeypatch.setattr(supervisor, "start", start)
    return configs


def type_into(app: MiniMindApp, name: str, value: str) -> None:
    editor = app.screen.query_one(ConfigForm).row(name).editor
    if isinstance(editor, Select):
        editor.value = value
    else:
        assert isinstance(editor, Input)
        editor.value = value


def shown_value(app: MiniMindApp, name: str) -> object:
    return app.screen.query_one(ConfigForm).row(name).typed


@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (160, 50)), ("zh", (60, 16))])
async def test_enter_starts_the_first_model(
    language: Language, size: tuple[int, int], started: list[TrainConfig]
) -> None:
    app = MiniMindApp(language=language)
    async with app.run_test(size=size) as pilot:
        await app.show_new_run()
        await until_shown(pilot, *(words if size[0] > 60 else words[:12] for words in SHOWN[language]))
        await pilot.press("enter")
        await until(pilot, lambda: started)
        assert started == [recommended_config("pretrain", {})]
        await until_shown(pilot, NOT_STARTED[language])


async def test_enter_starts_while_it_is_still_measuring(started: list[TrainConfig]) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_new_run({"seed": 8})
        await until_shown(pilot, "Measuring a few real steps on this machine")
        await until(pilot, lambda: _children())
        await pilot.press("enter")
        await until_shown(pilot, "-pretrain-")
        assert [config.seed for config in started] == [8]
        await until(pilot, lambda: not _children())


async def test_leaving_ends_the_measurement() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_new_run({"seed": 8})
        await until(pilot, lambda: _children())
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, NewRunScreen))
        await until(pilot, lambda: not _children())


def _children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "fake_estimate.py" in " ".join(child.cmdline())]


async def test_a_change_is_measured_again_and_an_error_stands_at_its_field(started: list[TrainConfig]) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 40)) as pilot:
        await app.show_new_run()
        await until_shown(pilot, "812 steps")
        type_into(app, "minutes", "never")
        await until_shown(pilot, "Something below needs correcting first", "minutes = 'never' is not allowed")
        await pilot.press("enter")
        assert not started
        type_into(app, "minutes", "3")
        await until_shown(pilot, "812 steps")
        assert "never" not in text_of(app)


async def test_what_the_probe_refuses_is_said_in_its_words() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_new_run({"seed": 7})
        text = await until_shown(pilot, "no estimate: stories.jsonl, line 3: not JSON ␛]52", "[/]")
        assert "\x1b" not in text
        await app.show_new_run({"seed": 9})
        await until_shown(pilot, "no estimate: exit 0")
        await app.show_new_run({"seed": 10})
        await until_shown(pilot, "of disk are free: the run may stop")
        await app.show_new_run({"seed": 12})
        await until_shown(pilot, "for 812 steps, about 1.23 CNY")


async def test_a_run_that_cannot_be_made_says_why_and_stays(started: list[TrainConfig]) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_new_run({"seed": 11})
        await pilot.press("enter")
        await until_shown(pilot, "No space left on device")
        assert isinstance(app.screen, NewRunScreen)


async def test_the_objective_brings_its_recommended_settings_and_keeps_what_was_set(started: list[TrainConfig]) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 40)) as pilot:
        await app.show_new_run()
        await until_shown(pilot, "812 steps")
        type_into(app, "batch_size", "5")
        type_into(app, "objective", "sft")
        await until_shown(pilot, "learns to answer", "99 steps")
        assert shown_value(app, "learning_rate") == f"{TUNED.learning_rate:g}"
        assert shown_value(app, "batch_size") == "5"
        type_into(app, "minutes", "")
        type_into(app, "steps", "20")
        type_into(app, "objective", "pretrain")
        await until_shown(pilot, "812 steps")
        assert (shown_value(app, "minutes"), shown_value(app, "steps")) == ("", "20")
        await pilot.press("enter")
        await until(pilot, lambda: started)
        assert (started[0].steps, started[0].minutes, started[0].batch_size) == (20, None, 5)


async def test_another_recipe_brings_its_settings_and_keeps_what_was_set() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 40)) as pilot:
        await app.show_new_run()
        await until_shown(pilot, "812 steps")
        assert shown_value(app, "optimizer") == "muon"
        type_into(app, "batch_size", "5")
        type_into(app, "recipe", "released")
        await until(pilot, lambda: shown_value(app, "optimizer") == "adamw")
        assert shown_value(app, "learning_rate") == "0.0005"
        assert shown_value(app, "batch_size") == "5"
        assert shown_value(app, "accumulation_steps") == "8"


def shown_notices(app: MiniMindApp) -> str:
    return " ".join(notice.message for notice in app._notifications)


async def test_a_learning_rate_is_found_and_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Path(__file__).with_name("fake_learning_rate.py")
    monkeypatch.setattr(learning_rate_client, "COMMAND", (sys.executable, str(fake)))
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 40)) as pilot:
        await app.show_new_run()
        await until_shown(pilot, "812 steps")
        before = shown_value(app, "learning_rate")
        for seed, words in (("7", "no learning rate found: the loss blew up after 3 updates"), ("9", "exit 0")):
            type_into(app, "seed", seed)
            await pilot.pause()
            await pilot.press("r")
            await until(pilot, lambda words=words: words in shown_notices(app))  # type: ignore[misc]
            assert shown_value(app, "learning_rate") == before
        assert "\x1b" not in shown_notices(app)
        type_into(app, "seed", "3")
        await pilot.pause()
        await pilot.press("r")
        await until(pilot, lambda: shown_value(app, "learning_rate") == "0.0042")
        assert "because" in shown_notices(app)


async def test_fine_tuning_from_a_checkpoint_that_is_chosen(home: Path) -> None:
    directory = make_run(steps=60, verdict={"outcome": "finished"})
    config = json.dumps(MODEL_PRESETS["nano"].to_dict()).encode()
    write(directory / "checkpoints", 60, {"config.json": config}, keep=1)
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 40)) as pilot:
        await app.show_new_run({"objective": "sft", "model": directory.name})
        await until_shown(pilot, "learns to answer", "99 steps", f"{directory.name} · step 60")
        assert str(shown_value(app, "model")).endswith("checkpoints/step-000060")
        assert shown_value(app, "minutes") == f"{TUNED.minutes:g}"
        type_into(app, "model", "nonsense")
        await until_shown(pilot, "no model", "Something below needs correcting")
        await pilot.press("o")
        await until_shown(pilot, "Choose a model", f"{directory.name} · step 60")
        await pilot.press("enter")
        await until_shown(pilot, f"SFT: {directory.name} · step 60 learns to answer", "99 steps")


@pytest.mark.parametrize("size", [(80, 24), (40, 10)])
async def test_what_it_would_take_elsewhere(size: tuple[int, int]) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=size, notifications=True) as pilot:
        await app.show_new_run({"model": "mini", "minutes": 3.0})
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen) and app.screen._found is not None)
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, OnPaperDialog))
        dialog = app.screen
        table, notes = (str(dialog.query_one(part, Static).content) for part in (".table", ".notes"))
        assert [line.split("  ")[0] for line in table.splitlines()[1:]] == [device.name for device in devices()]
        advised = recommended_config("pretrain", {"model": "mini"})
        assert f"3.3 M tokens; {advised.batch_size} sequences of {advised.sequence_length} tokens" in notes
        await until_shown(pilot, "On paper: what mini")
        if size[0] == 80:
            await until_shown(pilot, "RTX 3060")
        await pilot.press("end")
        await pilot.press("f8")
        await until_shown(pilot, "纸上估算：mini")
        assert "以上为计算值" in str(dialog.query_one(".notes", Static).content)
        assert lines_of(app)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))


async def test_elsewhere_needs_an_architecture(home: Path) -> None:
    (home / "bare").mkdir(parents=True)
    (home / "bare" / "model.safetensors").write_bytes(b"")
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await app.show_new_run()
        screen = app.screen
        assert isinstance(screen, NewRunScreen)
        screen._config = screen._config.replace(model=str(home / "bare"))
        await pilot.press("p")
        await until_told(pilot, "without a config.json")
        screen._config = screen._config.replace(model="nowhere")
        await pilot.press("p")
        await until_told(pilot, "no model")
        assert app.screen is screen


async def test_all_settings_and_live_language() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 50)) as pilot:
        await app.show_new_run()
        text = await until_shown(pilot, "812 steps", "All settings")
        assert "beta2" not in text
        await pilot.press("m")
        await until_shown(pilot, "beta2", "Fewer settings", "optimiser steps")
        await pilot.press("f8")
        await until_shown(pilot, "只看主要设置", "优化步数", "共 812 步")
        await pilot.press("f1")
        await until_shown(pilot, "实测", "检查点")


def test_every_setting_reaches_the_child() -> None:
    config = TrainConfig(objective="sft", data=("a b", "c"), steps=3, allow_bad=True, device="cpu")
    words = arguments_for(config, "zh")
    assert words[:5] == ["estimate", "sft", "--json", "--lang", "zh"]
    place = words.index("--data")
    assert words[place : place + 4] == ["--data", "a b", "c", "--data-megabytes"]
    assert words[words.index("--minutes") + 1] == "none"
    from minimind.cli import assemble
    from minimind.commands import estimate
    from minimind.commands.training_flags import training_config

    parser = assemble("minimind", "", [estimate.register])
    arguments = parser.parse_args(arguments_for(TrainConfig(steps=3, seed=5, beta1=0.8), "en"))
    arguments.objective = estimate.one_objective(arguments.objective)
    assert training_config(arguments) == TrainConfig(steps=3, seed=5, beta1=0.8)


@pytest.mark.parametrize("output", [b"", b"\n", b"[]", b"{}", b'{"steps": "many"}', b"\xff"])
def test_what_is_no_estimate_is_refused(output: bytes) -> None:
    assert parse(output) is None


async def test_cancelling_kills_the_child() -> None:
    task = asyncio.create_task(measure(TrainConfig(seed=8), "en"))
    while not _children():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not _children()


async def test_a_method_that_goes_on_is_given_the_newest_fitting_checkpoint_and_data_that_fit() -> None:
    pretrained = make_run(verdict={"outcome": "finished"})
    config = json.dumps(MODEL_PRESETS["nano"].to_dict()).encode()
    write(pretrained / "checkpoints", 10, {"config.json": config}, keep=1)
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show_new_run()
        await until_shown(pilot, "812 steps")
        type_into(app, "objective", "sft")
        await until_shown(pilot, f"{pretrained.name} · step 10 learns to answer", "99 steps")
        assert str(shown_value(app, "model")).endswith("step-000010")
        await pilot.press("d")
        text = await until_shown(pilot, "Data for sft", "sft_t2t_mini", "not here")
        assert "pretrain_t2t" not in text
        await pilot.press("down", "enter")
        await until(pilot, lambda: shown_value(app, "data") not in ("embedded", ""))


async def test_random_weights_are_warned_of_where_training_should_go_on() -> None:
    app = MiniMindApp(language="zh")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show_new_run({"objective": "sft", "model": "nano"})
        await until_shown(pilot, "nano 会从随机权重开始")


def test_where_a_method_most_likely_starts() -> None:
    def model(path: str, objective: str, time: float) -> Model:
        return Model(path, path, objective, None, time)

    models = [model("shipped", "sft", 0.0), model("b", "pretrain", 2.0), model("a", "sft", 1.0)]
    assert starting_model(models, "pretrain") is None
    assert [found and found.path for found in (starting_model(models, name) for name in ("sft", "dpo", "grpo"))] == [
        "b",
        "a",
        "a",
    ]
    shipped = starting_model(models[:1], "dpo")
    assert shipped is not None
    assert shipped.is_shipped
    assert starting_model([], "sft") is None


async def test_a_run_can_wait_for_its_turn(started: list[TrainConfig]) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show_new_run({"steps": 5})
        await until_shown(pilot, "Queue", "812 steps")
        await pilot.press("u")
        await until(pilot, lambda: started)
        await until_shown(pilot, "queued (")
