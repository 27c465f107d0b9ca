"""The form made from a config's declarations: values in and out, errors at their place, both languages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from textual.app import ComposeResult
from textual.widgets import Input, Select

from minimind.config import Config, SampleConfig, TrainConfig
from minimind.declaration import setting
from minimind.events import Language
from minimind_tui.widgets.config_form import ConfigForm, SettingRow
from tests.tui.driving import BareApp, text_of


class FormApp(BareApp):
    changes = 0

    def __init__(self, config: Config, **options: Any) -> None:
        super().__init__()
        self.config, self.options = config, options

    def compose(self) -> ComposeResult:
        yield ConfigForm(self.config, **self.options)

    @property
    def form(self) -> ConfigForm:
        return self.query_one(ConfigForm)

    def on_config_form_changed(self) -> None:
        self.changes += 1


def editor(form: ConfigForm, name: str) -> Input:
    found = form.row(name).editor
    assert isinstance(found, Input)
    return found


async def test_every_field_of_every_config_goes_in_and_out_unchanged() -> None:
    config = TrainConfig(objective="sft", data=("a b.jsonl", "c'd.jsonl"), minutes=1.5, allow_bad=True, device="cpu")
    for given in (config, SampleConfig(seed=7, temperature=0.0)):
        app = FormApp(given)
        async with app.run_test(size=(80, 40)):
            assert app.form.read() == given


async def test_only_main_fields_are_shown_until_asked_and_advanced_ones_never_before() -> None:
    app = FormApp(TrainConfig(), main=("model", "minutes"))
    async with app.run_test(size=(100, 100)) as pilot:
        text = text_of(app)
        assert "preset, or a checkpoint to start from" in text
        assert "batch_size" not in text
        app.form.toggle_all()
        await pilot.pause()
        text = text_of(app)
        assert "batch_size" in text
        assert "beta2" in text
        names = [declared.name for declared in TrainConfig.declared() if TrainConfig().applies(declared.about)]
        assert [name for name in names if f" {name} " not in text] == []


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "minutes = 'soon' is not allowed: use a number 0.01…1,000,000 min"), ("zh", "minutes = 'soon' 不可用")],
)
async def test_an_error_stands_under_its_field_and_goes_away(language: Language, words: str) -> None:
    app = FormApp(TrainConfig(), main=("minutes", "device"))
    app.language = language
    async with app.run_test(size=(100, 12)) as pilot:
        editor(app.form, "minutes").value = "soon"
        await pilot.pause()
        lines = text_of(app).splitlines()
        place = next(number for number, line in enumerate(lines) if line.startswith(" minutes"))
        assert words in lines[place + 1]
        assert app.form.read() is None
        editor(app.form, "minutes").value = "2"
        await pilot.pause()
        assert words not in text_of(app)
        config = app.form.read()
        assert isinstance(config, TrainConfig)
        assert config.minutes == 2.0
        assert app.changes == 2


async def test_fields_that_exclude_each_other_blame_one_that_is_named() -> None:
    app = FormApp(TrainConfig(), main=("steps", "minutes"))
    async with app.run_test(size=(100, 12)) as pilot:
        editor(app.form, "minutes").value = "2"
        editor(app.form, "steps").value = "10"
        await pilot.pause()
        assert app.form.read() is None
        assert "exclude each other" in text_of(app)
        app.form.focus_problem()
        await pilot.pause()
        assert app.focused is editor(app.form, "steps")


async def test_a_problem_of_a_hidden_field_brings_it_up() -> None:
    app = FormApp(TrainConfig(), main=("model",))
    async with app.run_test(size=(100, 40)) as pilot:
        editor(app.form, "beta1").value = "7"
        await pilot.pause()
        app.form.focus_problem()
        await pilot.pause()
        assert app.form.shows_all
        assert "beta1 = '7' is not allowed" in text_of(app)


async def test_markup_and_control_characters_typed_are_shown_harmless() -> None:
    app = FormApp(TrainConfig(), main=("learning_rate", "data"))
    async with app.run_test(size=(120, 12)) as pilot:
        editor(app.form, "learning_rate").value = "[/]\x9b31m[@click=app.bell]x"
        editor(app.form, "data").value = "'open"
        await pilot.pause()
        text = text_of(app)
        assert "[/]" in text
        assert "\x9b" not in "".join(row.error.en for row in (app.form.row("learning_rate"),) if row.error)
        assert "data: a quotation mark is not closed" in text


async def test_choices_and_switches() -> None:
    app = FormApp(TrainConfig(), skip=("model",))
    async with app.run_test(size=(80, 50)) as pilot:
        device, bad = app.form.row("device").editor, app.form.row("allow_bad").editor
        assert isinstance(device, Select)
        assert isinstance(bad, Select)
        device.value, bad.value = "cuda", "true"
        await pilot.pause()
        config = app.form.read()
        assert isinstance(config, TrainConfig)
        assert (config.device, config.allow_bad) == ("cuda", True)
        app.form.put(TrainConfig(device="cpu", steps=3))
        await pilot.pause()
        assert app.form.read() == TrainConfig(device="cpu", steps=3)


@dataclass(frozen=True, kw_only=True)
class Method(Config):
    """Stands for the part of a config that says what is done."""

    objective: str = setting("plain", "what", "什么", choices=("plain", "paired"))
    tune: str = setting("full", "how", "怎样", choices=("full", "lora"), advanced=True)


@dataclass(frozen=True, kw_only=True)
class Special(Config):
    """Stands for the settings of some methods."""

    beta: float = setting(0.1, "strictness", "严格程度", low=0.0, methods=("paired",))
    rank: int = setting(8, "rank", "秩", low=1, methods=("lora",))
    depth: int = setting(1, "depth", "深度", methods=("paired",), advanced=True)


@dataclass(frozen=True, kw_only=True)
class Whole(Special, Method):
    """Both."""


async def test_a_setting_is_there_only_where_it_means_something() -> None:
    app = FormApp(Whole(), main=("objective", "tune"))
    async with app.run_test(size=(80, 30)) as pilot:

        def shown() -> list[str]:
            return [row.declared.name for row in app.query(SettingRow) if row.display]

        assert shown() == ["objective", "tune"]
        editor(app.form, "beta").value = "bad"  # typed for another method: no reason to refuse
        await pilot.pause()
        assert app.form.read() == Whole()
        choice = app.form.row("objective").editor
        assert isinstance(choice, Select)
        choice.value = "paired"
        await pilot.pause()
        assert shown() == ["objective", "tune", "beta"]
        assert app.form.read() is None
        assert "beta = 'bad' is not allowed" in text_of(app)
        app.form.put(Whole(objective="paired", tune="lora"))
        await pilot.pause()
        assert shown() == ["objective", "tune", "beta", "rank"]
        app.form.toggle_all()
        await pilot.pause()
        assert shown() == ["objective", "tune", "beta", "rank", "depth"]


@pytest.mark.parametrize(("language", "heading"), [("en", "Optimiser"), ("zh", "优化器")])
async def test_all_settings_stand_under_headings(language: Language, heading: str) -> None:
    app = FormApp(TrainConfig(), main=("objective",))
    app.language = language
    async with app.run_test(size=(80, 70)) as pilot:
        assert heading not in text_of(app)
        app.form.toggle_all()
        await pilot.pause()
        lines = [line.strip() for line in text_of(app).splitlines()]
        assert lines.index(heading) < next(n for n, line in enumerate(lines) if line.startswith("learning_rate"))


async def test_of_durations_the_one_filled_in_last_holds() -> None:
    app = FormApp(TrainConfig(minutes=3.0), exclusive=("steps", "minutes", "epochs"))
    async with app.run_test(size=(80, 40)) as pilot:
        editor(app.form, "steps").value = "2"
        await pilot.pause()
        assert app.form.read() == TrainConfig(steps=2)
        assert app.changes == 1
        editor(app.form, "epochs").value = "1.5"
        await pilot.pause()
        assert app.form.read() == TrainConfig(epochs=1.5)
        editor(app.form, "epochs").value = ""
        await pilot.pause()
        assert app.form.read() == TrainConfig()
