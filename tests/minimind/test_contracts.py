"""Events survive a round trip, settings refuse what they should, and released parameter counts are exact."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimind.config import MODEL_PRESETS, ModelConfig, SampleConfig, TrainConfig, model_preset
from minimind.errors import UserError
from minimind.events import Claim, Event, Heatmap, Mark, Note, Sample, Scalars, Table, Text, from_dict, to_json
from minimind.experiment import Parameter, experiment
from minimind.safe_text import clean, clean_line

EVENTS: list[Event] = [
    Scalars(3, {"loss": 1.5, "bad": math.inf}, axis="layer", chart="signal"),
    Heatmap("attention", ((0.0, 1.0), (0.5, 0.25)), ("注", "意"), ("a", "b"), low=0.0),
    Table("sizes", (Text("name", "名称"), Text("count", "数量")), (("embedding", 3),)),
    Note(Text("done", "完成")),
    Sample(5, "从前", "\x1b[2J"),
    Claim("dies", Text("it dies", "它消失"), {"signal": 1e-5}, None),
    Mark("saved", 100, {"path": "step-000100"}),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_event_survives_one_line_of_strict_json(event: Event) -> None:
    line = to_json(event, t=1.0)
    assert "\n" not in line
    data = json.loads(line, parse_constant=lambda name: pytest.fail(f"bare {name} is not JSON"))
    assert data["t"] == 1.0
    assert from_dict(data) == event


def test_nan_survives() -> None:
    back = from_dict(json.loads(to_json(Scalars(1, {"loss": math.nan}))))
    assert isinstance(back, Scalars)
    assert math.isnan(back.values["loss"])


@pytest.mark.parametrize("data", [{}, {"kind": "future"}, {"kind": "scalars"}, {"kind": ["x"]}])
def test_unknown_records_are_none(data: dict[str, object]) -> None:
    assert from_dict(data) is None


def test_fields_of_a_later_version_are_ignored() -> None:
    assert from_dict({"kind": "scalars", "x": 1, "values": {}, "colour": "red"}) == Scalars(1, {})


@given(st.text())
def test_clean_leaves_no_control_character(text: str) -> None:
    assert all(ch in "\n\t" or (ch.isprintable() or not ch.isascii()) for ch in clean(text))
    assert not any(0x7F <= ord(ch) < 0xA0 or ord(ch) in range(0x202A, 0x202F) for ch in clean(text))
    assert "\n" not in clean_line(text)


def test_clean_shows_what_it_removed() -> None:
    assert clean("\x1b]52;c;AAAA\x07") == "␛]52;c;AAAA␇"
    assert clean("a\u202eb") == "a⟨U+202E⟩b"
    assert clean("abcdef", limit=2) == "ab… [+4]"


@pytest.mark.parametrize(
    ("preset", "count"),
    [("mini", 8_327_936), ("small", 25_829_888), ("minimind2", 104_030_976), ("minimind3", 63_912_192)],
)
def test_parameter_counts_are_the_released_ones(preset: str, count: int) -> None:
    assert model_preset(preset).parameter_count() == count


@pytest.mark.parametrize(("width", "expected"), [(768, 2432), (512, 1664), (256, 832)])
def test_feed_forward_width_rule(width: int, expected: int) -> None:
    assert ModelConfig(hidden_size=width).feed_forward_size == expected


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown preset 'nanno' \(→ nano\?\)"):
        model_preset("nanno")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 130, "num_attention_heads": 4}, "not a multiple"),
        ({"num_attention_heads": 6, "num_key_value_heads": 4, "hidden_size": 768}, "num_key_value_heads = 4"),
        ({"hidden_size": 12, "num_attention_heads": 4}, "must be even"),
        ({"hiden_size": 12}, r"no such setting \(→ hidden_size\?\)"),
        ({"rope_theta": "big"}, "rope_theta = 'big'"),
        ({"dropout": float("nan")}, "dropout = nan"),
        ({"num_hidden_layers": 2.5}, "num_hidden_layers = 2.5"),
        ({"tie_word_embeddings": "maybe"}, "true|bool"),
    ],
)
def test_bad_model_settings_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        ModelConfig.from_dict(values)
    assert caught.value.text.zh != caught.value.text.en


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(UserError) as caught:
        TrainConfig.from_dict({"batch_size": 0, "learning_rate": -1, "color": 1})
    assert all(name in str(caught.value) for name in ("batch_size", "learning_rate", "color"))


def test_steps_minutes_and_epochs_exclude_each_other() -> None:
    with pytest.raises(UserError, match="exclude each other"):
        TrainConfig(steps=1, minutes=1.0)


@pytest.mark.parametrize("name", ["settings.toml", "settings.json"])
def test_settings_files_round_trip_and_their_errors_name_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text('{"steps": 5}' if name.endswith("json") else "steps = 5", encoding="utf-8")
    assert TrainConfig.from_file(path).steps == 5
    path.write_text("{{{", encoding="utf-8")
    with pytest.raises(UserError, match=name):
        TrainConfig.from_file(path)
    with pytest.raises(UserError, match="no such file"):
        TrainConfig.from_file(tmp_path / "missing.toml")


@pytest.mark.parametrize(
    "config", [*MODEL_PRESETS.values(), TrainConfig(), SampleConfig()], ids=lambda c: type(c).__name__
)
def test_configs_round_trip_through_json(config: ModelConfig | TrainConfig | SampleConfig) -> None:
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_every_setting_explains_itself_in_both_languages() -> None:
    for config in (ModelConfig, TrainConfig, SampleConfig):
        for declared in config.declared():
            assert declared.about.help.en
            assert any("\u4e00" <= ch <= "\u9fff" for ch in declared.about.help.zh) or declared.name == "device"


def test_experiment_settings_come_from_the_signature() -> None:
    @experiment(
        title=Text("t", "题"),
        question=Text("q", "问"),
        parameters={"depth": Parameter(Text("layers", "层数"), low=1, high=10)},
        quick={"depth": 2},
    )
    def count(depth: int = 3):  # type: ignore[no-untyped-def]
        for layer in range(depth):
            yield Scalars(layer, {"x": layer})

    assert len(list(count.run())) == 3
    assert len(list(count.run({"depth": "4"}))) == 4
    for values, message in (
        ({"depth": 11}, "1…10"),
        ({"width": 1}, "no parameter 'width'"),
        ({"depth": "x"}, "a whole number 1…10"),
    ):
        with pytest.raises(UserError, match=message):
            count.run(values)


def test_experiment_without_a_parameter_for_an_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="'depth' has no Parameter"):
        experiment(title=Text("t", "题"), question=Text("q", "问"), parameters={}, quick={})(lambda depth=1: iter(()))
