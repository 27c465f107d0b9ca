"""The table of devices and the forecasts from it, and the command that prints them."""

from __future__ import annotations

import argparse
import io
import json
from typing import Any

import pytest

from minimind.benchmarks.ceilings import Ceilings
from minimind.commands import estimate as estimate_command
from minimind.commands.on_paper import assumptions, table_text
from minimind.commands.output import Output
from minimind.config import MODEL_PRESETS, ModelConfig, TrainConfig
from minimind.devices import Device, Work, devices, find_devices, forecast, make_device
from minimind.errors import UserError
from minimind.events import LANGUAGES, Language
from minimind.scale import decode_bytes_per_token, training_flops_per_token
from minimind.training import estimate as estimate_module
from minimind.training.estimate import Measured, measure_against_ceilings

CEILINGS = Ceilings(1e11, 4e11, 4e10, 1, "cpu")


def names(found: tuple[Device, ...]) -> list[str]:
    return [device.name for device in found]


def run_command(*arguments: str, as_json: bool = False, language: Language = "en") -> str:
    parser = argparse.ArgumentParser()
    estimate_command.register(parser.add_subparsers())
    options = parser.parse_args(["estimate", *arguments])
    stdout = io.StringIO()
    output = Output(as_json=as_json, language=language, stdout=stdout, stderr=io.StringIO())
    assert options.run(options, output) == 0
    return stdout.getvalue()


def refused(*arguments: str) -> str:
    with pytest.raises(UserError) as error:
        run_command(*arguments)
    assert "\n" not in str(error.value)
    assert error.value.text.zh != error.value.text.en
    return str(error.value)


# --- the table ---------------------------------------------------------------------------------------------------------


def test_every_device_of_the_table_makes_sense() -> None:
    assert len({device.name for device in devices()}) == len(devices())
    for device in devices():
        assert device.kind in {"gpu", "cpu"}
        assert 1e9 < device.memory < 1e12
        assert 1e10 < device.bandwidth < 1e13
        assert set(device.peak) <= {"float32", "bfloat16"}
        assert device.peak["float32"] <= device.peak.get("bfloat16", float("inf"))
        # Every machine of these years computes 2 to 300 times in float32 or bfloat16 while it reads one byte.
        assert 2 < max(device.peak.values()) / device.bandwidth < 500
        for slow, fast in (device.training_share, device.bandwidth_share):
            assert 0 < slow < fast < 1
        assert device.operation_seconds[0] > device.operation_seconds[1] > 0


def test_devices_are_found_as_a_person_writes_them() -> None:
    assert names(find_devices("NVIDIA RTX-4090")) == names(find_devices("4090")) == ["RTX 4090"]
    assert names(find_devices("h100")) == ["H100 PCIe", "H100 SXM"]
    assert names(find_devices("A10")) == ["A10"]
    assert names(find_devices("t4, rtx 3090,t4")) == ["T4", "RTX 3090"]
    assert find_devices("all") == devices()


@pytest.mark.parametrize("name", ["", "RTX 490", "voodoo"])
def test_an_unknown_device_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UserError, match=r"unknown device .*RTX 3060, RTX 3090, .*, or all"):
        find_devices(name)


# --- the forecast ------------------------------------------------------------------------------------------------------


def test_a_forecast_is_the_formula() -> None:
    config = MODEL_PRESETS["mini"]
    device = Device("d", "gpu", 8e9, 2e11, {"bfloat16": 5e13}, (0.1, 0.5), (0.4, 0.8), (4e-6, 1e-6))
    found = forecast(config, device, Work(batch=4, length=128, tokens=1e9, context=64, price_per_hour=3.0))
    of_a_step = 4 * 128 * training_flops_per_token(config, 128)
    low = 512 / (of_a_step / (0.1 * 5e13) + 100 * 8 * 4e-6)
    high = 512 / (of_a_step / (0.5 * 5e13) + 100 * 8 * 1e-6)
    assert (found.training.low, found.training.high) == pytest.approx((low, high))
    assert (found.seconds.low, found.seconds.high) == pytest.approx((1e9 / high, 1e9 / low))
    read = decode_bytes_per_token(config, 2, 64)
    assert found.decode.low == pytest.approx(1 / (read / (0.4 * 2e11) + 10 * 8 * 4e-6))
    assert found.decode.high == pytest.approx(1 / (read / (0.8 * 2e11) + 10 * 8 * 1e-6))
    assert found.cost is not None
    assert found.cost.high == pytest.approx(3.0 * found.seconds.high / 3600)
    assert found.fits
    assert not forecast(config, device, Work(batch=1024)).fits
    assert forecast(config, device, Work()).tokens == 20 * config.parameter_count()


def test_a_mixture_costs_its_active_experts_and_keeps_all() -> None:
    (device,) = find_devices("RTX 3090")
    dense, mixture = (forecast(MODEL_PRESETS[name], device, Work()) for name in ("minimind3", "minimind3-moe"))
    assert mixture.training.low == pytest.approx(dense.training.low, rel=0.01)
    assert mixture.memory.weights > 3 * dense.memory.weights
    assert mixture.tokens == pytest.approx(dense.tokens, rel=0.01)


@pytest.mark.parametrize(
    ("config", "training", "decode"),
    [
        # Tokens a second measured on the last device of the table, both in bfloat16: see its comment.
        (ModelConfig(hidden_size=256, num_hidden_layers=4), 6_500, None),
        (MODEL_PRESETS["small"], 1_455, 886),
        (MODEL_PRESETS["minimind3"], 574, 365),
        (MODEL_PRESETS["minimind2"], None, 160),
    ],
)
def test_what_was_measured_lies_in_the_range(config: ModelConfig, training: float | None, decode: float | None) -> None:
    (device,) = find_devices("CPU 2 cores")
    found = forecast(config, device, Work(length=340, context=64))
    for measured, span in ((training, found.training), (decode, found.decode)):
        if measured is not None:
            assert span.low < measured < 1.05 * span.high


# --- the command -------------------------------------------------------------------------------------------------------


def test_the_command_tells_of_all_devices() -> None:
    lines = run_command("--on-paper", "mini").splitlines()
    assert [line.split("  ")[0] for line in lines[1 : len(devices()) + 1]] == names(devices())
    assert "20 tokens a parameter" in "\n".join(lines)
    assert "In float32, the others in bfloat16: T4, Apple M1, Apple M1 Max" in lines[-1]


def test_the_command_under_json() -> None:
    text = run_command(
        "--on-paper", "nano", "minimind3", "--device", "t4,h100 sxm", "--tokens", "0.5B", "--price-per-hour", "2",
        as_json=True,
    )  # fmt: skip
    rows = [json.loads(line) for line in text.splitlines()]
    assert [(row["model"], row["device"], row["dtype"]) for row in rows] == [
        ("nano", "T4", "float32"),
        ("nano", "H100 SXM", "bfloat16"),
        ("minimind3", "T4", "float32"),
        ("minimind3", "H100 SXM", "bfloat16"),
    ]
    for row in rows:
        assert row["tokens"] == 5e8
        assert row["cost"] == pytest.approx([seconds / 1800 for seconds in row["seconds"]])
        assert row["seconds"] == pytest.approx([5e8 / speed for speed in reversed(row["training_tokens_per_second"])])
        assert row["measured"] is None
        memory: dict[str, Any] = row["training_memory_bytes"]
        assert memory.pop("total") == sum(memory.values())
    assert rows[2]["parameters"] == 63_912_192


def test_settings_of_a_run_are_respected() -> None:
    small, large = (
        json.loads(run_command("--on-paper", "--device", "a10", "--batch-size", batch, as_json=True))
        for batch in ("1", "512")
    )
    assert small["fits"]
    assert not large["fits"]
    assert "✗" in run_command("--on-paper", "--device", "a10", "--batch-size", "512")
    wide = json.loads(run_command("--on-paper", "--device", "a10", "--dtype", "float32", as_json=True))
    assert wide["dtype"] == "float32"
    able = run_command("--on-paper", "--dtype", "bfloat16")
    assert "RTX 3060" in able
    assert "T4" not in able


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_table_has_the_columns_that_differ(language: Language) -> None:
    work = Work(price_per_hour=1.0)
    found = [(name, forecast(MODEL_PRESETS[name], device, work)) for name in ("nano", "mini") for device in devices()]
    head = {"en": "model  device", "zh": "模型  设备"}[language]
    assert table_text(found, language).startswith(head)
    assert {"en": "cost", "zh": "费用"}[language] in table_text(found, language)
    free = forecast(MODEL_PRESETS["nano"], devices()[0], Work())
    assert table_text([("nano", free)], language).startswith({"en": "device", "zh": "设备"}[language])
    assert {"en": "cost", "zh": "费用"}[language] not in table_text([("nano", free)], language)
    assert "20%–45%" in assumptions(work, []).of(language)


def test_what_cannot_be_meant_is_refused_in_one_line() -> None:
    assert "unknown preset 'nanoo' (→ nano?)" in refused("--on-paper", "nanoo")
    assert "unknown device 'GTX'" in refused("--on-paper", "--device", "GTX")
    assert "T4 does not compute in bfloat16" in refused("--on-paper", "--device", "T4", "--dtype", "bfloat16")
    assert "--tokens = '-3'" in refused("--on-paper", "--tokens", "-3")
    assert "--tokens = 'manyk'" in refused("--on-paper", "--tokens", "manyk")
    assert "--price-per-hour = 'nan'" in refused("--on-paper", "--price-per-hour", "nan")
    assert "--tokens needs --on-paper" in refused("pretrain", "--tokens", "3M")
    assert "batch_size = '0' is not allowed" in refused("--on-paper", "--batch-size", "0")
    assert "name one objective of pretrain, sft" in refused()
    assert "there is no 'pretrian' (→ pretrain?)" in refused("pretrian")


# --- this machine ------------------------------------------------------------------------------------------------------


def test_this_machine_stands_beside_its_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[TrainConfig] = []

    def measured(config: TrainConfig, *_: object) -> Measured:
        asked.append(config)
        return Measured(10_000, config.dtype, 0.35, 500, "float32", 0.5)

    monkeypatch.setattr("minimind.benchmarks.ceilings.measure_ceilings", lambda: CEILINGS)
    monkeypatch.setattr(estimate_module, "measure_against_ceilings", measured)
    text = run_command("--on-paper", "mini", "nano", "--device", "here,T4")
    assert "nano, measured here: training 10.0 k tokens/s (bfloat16), 35 % of what the machine multiplies" in text
    assert [line.split()[:2] for line in text.splitlines()[1:5]] == [
        ["mini", "T4"],
        ["mini", "this"],
        ["nano", "T4"],
        ["nano", "this"],
    ]
    assert [(config.model, config.dtype) for config in asked] == [("mini", "bfloat16"), ("nano", "bfloat16")]
    rows = [
        json.loads(line) for line in run_command("--on-paper", "nano", "--device", "here", as_json=True).splitlines()
    ]
    assert rows[0]["measured"]["training_share"] == 0.35
    assert rows[0]["device_memory_bytes"] > 1e8
    assert "本机" in run_command("--on-paper", "nano", "--device", "here", language="zh")


def test_the_shares_of_the_ceilings_are_those_of_what_was_measured(home: Any) -> None:
    config = TrainConfig(
        batch_size=2, sequence_length=48, data_megabytes=0.03, evaluation_tokens=100, threads=1, dtype="float32"
    )
    measured = measure_against_ceilings(config, home / "cache", CEILINGS, seconds=0.2)
    nano = MODEL_PRESETS["nano"]
    operations = measured.training_tokens_per_second * training_flops_per_token(nano, 48)
    assert measured.training_share == pytest.approx(operations / CEILINGS.matmul_float32)
    read = measured.decode_tokens_per_second * decode_bytes_per_token(nano, 4, 64)
    assert measured.decode_share == pytest.approx(read / CEILINGS.memory_read)
    assert (measured.training_dtype, measured.decode_dtype) == ("float32", "float32")
    assert measured.decode_tokens_per_second > 0


def test_a_machine_without_a_type_computes_in_the_other() -> None:
    device = make_device("old", "cpu", memory=8e9, bandwidth=1e10, peak={"float32": 1e11})
    assert device.dtype() == "float32"
    with pytest.raises(UserError, match="old does not compute in bfloat16: use one of float32"):
        device.dtype("bfloat16")
