"""``minimind estimate --on-paper``: what a model would need on devices that are not here, and on this one."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from minimind import paths
from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.config import ModelConfig, TrainConfig, given_flags, model_preset
from minimind.devices import (
    ALL,
    Device,
    Forecast,
    Range,
    Work,
    computing_in,
    expected_shares,
    find_devices,
    forecast,
    make_device,
)
from minimind.errors import UserError
from minimind.events import Language, Text
from minimind.figures import percent, quantity, rough_duration, size
from minimind.scale import decode_bytes_per_token, parameter_counts, training_flops_per_token

if TYPE_CHECKING:
    from minimind.training.estimate import Measured

HERE = "here"
_DEFAULT_PRESET = "minimind3"
_SCALES = {"k": 1e3, "m": 1e6, "b": 1e9}


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one device; `measured` where the device is this machine."""

    preset: str
    config: ModelConfig
    forecast: Forecast
    measured: Measured | None = None


def add_paper_flags(parser: argparse.ArgumentParser) -> None:
    """Add what an estimate on paper takes; a measured one takes the price too."""
    group = parser.add_argument_group("on paper / 纸上估算")
    group.add_argument(
        "--on-paper",
        action="store_true",
        help="calculate instead of measuring, for PRESETs and --device NAME,…|all|here / "
        "只计算不实测：给出预设名与 --device 设备名,…|all|here",
    )
    group.add_argument(
        "--tokens",
        type=_amount("--tokens", "400M"),
        metavar="N",
        help="tokens to train on, such as 400M / 训练词元数，如 400M",
    )
    parser.add_argument(
        "--price-per-hour",
        type=_amount("--price-per-hour", "2.5"),
        metavar="X",
        help="of the device, for the cost (measured: default as in minimind settings) / "
        "设备每小时价格，用于算费用（实测时默认取 minimind settings）",
    )


def _amount(flag: str, example: str) -> Callable[[str], float]:
    """How to read a positive number with k, M or B for thousands, millions or billions (10⁹)."""

    def read(text: str) -> float:
        scale = _SCALES.get(text[-1:].lower(), 1.0)
        try:
            value = float(text[:-1] if scale > 1 else text) * scale
        except ValueError:
            value = math.nan
        if not (value > 0 and math.isfinite(value)):
            raise UserError(
                f"{flag} = {text!r}: give a number above 0, such as {example}",
                f"{flag} = {text!r}：请给出大于 0 的数，例如 {example}",
            )
        return value

    return read


def run_on_paper(arguments: argparse.Namespace, output: Output) -> int:
    """Calculate and tell. Raises UserError for an unknown preset or device."""
    given = given_flags(arguments, TrainConfig)
    asked = TrainConfig.from_dict(
        {name: given[name] for name in ("batch_size", "sequence_length", "dtype") if name in given}
    )
    names = str(given.get("device", ALL))
    presets = arguments.objective or [_DEFAULT_PRESET]
    configs = {name: model_preset(name) for name in presets}
    work = Work(
        batch=asked.batch_size,
        length=asked.sequence_length,
        tokens=arguments.tokens,
        context=asked.sequence_length,
        dtype=asked.dtype,
        price_per_hour=arguments.price_per_hour,
    )
    elsewhere = [name for name in names.split(",") if name.strip().lower() != HERE]
    places = computing_in(work.dtype, find_devices(",".join(elsewhere))) if elsewhere else ()
    rows = [Row(name, config, forecast(config, place, work)) for name, config in configs.items() for place in places]
    if len(elsewhere) < len(names.split(",")):
        rows += _rows_here(configs, work, asked, output, arguments.seconds)
        rows.sort(key=lambda row: presets.index(row.preset))
    if output.as_json:
        for row in rows:
            output.emit(_data(row, work), "")
    else:
        output.emit({}, _text(rows, work, output.language))
    return 0


def _rows_here(
    configs: dict[str, ModelConfig], work: Work, asked: TrainConfig, output: Output, seconds: float
) -> list[Row]:
    """The forecasts for this machine, from its measured ceilings, beside what it really does."""
    from minimind.hardware import keep_freed_memory, wait_without_spinning

    keep_freed_memory()
    wait_without_spinning()
    from minimind.benchmarks.ceilings import lines, measure_ceilings
    from minimind.training.estimate import measure_against_ceilings

    ceilings = measure_ceilings()
    output.say(lines(ceilings))
    here = device_here(ceilings.matmul_float32, ceilings.matmul_bfloat16, ceilings.memory_read)
    rows = []
    for name, config in configs.items():
        expected = forecast(config, here, work)
        settings = asked.replace(model=name, dtype=expected.dtype)
        measured = measure_against_ceilings(settings, paths.cache() / "estimates", ceilings, seconds)
        rows.append(Row(name, config, expected, measured))
    return rows


def device_here(matmul_float32: float, matmul_bfloat16: float, memory_read: float) -> Device:
    """This machine with its measured ceilings as peaks (operations and bytes a second; 0: it has no such product)."""
    from minimind.hardware import choose_device

    device = choose_device("auto")
    if device.type == "cuda":
        import torch

        memory = float(torch.cuda.mem_get_info(device)[1])
    else:
        import psutil

        memory = float(psutil.virtual_memory().total)
    peak = {"float32": matmul_float32, "bfloat16": matmul_bfloat16}
    return make_device(
        HERE,
        "gpu" if device.type == "cuda" else "cpu",
        memory=memory,
        bandwidth=memory_read,
        peak={name: speed for name, speed in peak.items() if speed > 0},
    )


def _data(row: Row, work: Work) -> dict[str, Any]:
    """One row under ``--json``."""
    found, counts = row.forecast, parameter_counts(row.config)
    ranges = {"training_tokens_per_second": found.training, "decode_tokens_per_second": found.decode}
    ranges["seconds"] = found.seconds
    return {
        "model": row.preset,
        "device": found.device.name,
        "dtype": found.dtype,
        "parameters": counts.total,
        "active_parameters": counts.active,
        "batch_size": work.batch,
        "sequence_length": work.length,
        "tokens": found.tokens,
        "training_flops_per_token": training_flops_per_token(row.config, work.length),
        "decode_bytes_per_token": decode_bytes_per_token(
            row.config, 4.0 if found.dtype == "float32" else 2.0, work.context
        ),
        **{name: [span.low, span.high] for name, span in ranges.items()},
        "training_memory_bytes": {**asdict(found.memory), "total": found.memory.total},
        "device_memory_bytes": found.device.memory,
        "fits": found.fits,
        "decode_memory_bytes": found.decode_memory,
        "decode_fits": found.decode_fits,
        "cost": None if found.cost is None else [found.cost.low, found.cost.high],
        "measured": None if row.measured is None else asdict(row.measured),
    }


def _text(rows: Sequence[Row], work: Work, language: Language) -> str:
    """The table, what it assumes, and how this machine compares with its ceilings."""
    lines = [table_text([(row.preset, row.forecast) for row in rows], language), ""]
    lines += [assumptions(work, [row.forecast for row in rows]).of(language)]
    for row in rows:
        if row.measured is not None:
            lines.append(_compared(row.preset, row.measured).of(language))
    return "\n".join(lines)


def table_text(rows: Sequence[tuple[str, Forecast]], language: Language) -> str:
    """Models and forecasts as a table; a column in which all rows would say the same is left out."""
    zh = language == "zh"
    many_models = len({preset for preset, _ in rows}) > 1
    priced = any(found.cost is not None for _, found in rows)
    heads = ["模型"] if zh and many_models else ["model"] if many_models else []
    heads += ["设备", "训练词元/秒", "内存", "用时"] if zh else ["device", "training tok/s", "memory", "time"]
    heads += (["费用"] if zh else ["cost"]) if priced else []
    heads += ["生成词元/秒"] if zh else ["writing tok/s"]
    lines = [heads]
    for preset, found in rows:
        cells = [preset] if many_models else []
        cells += [_device_name(found.device, language), _span(found.training)]
        cells.append(f"{size(found.memory.total)}{'' if found.fits else ' ✗'}")
        cells.append(_times(found.seconds, language) if found.fits else "–")
        if priced:
            cells.append("–" if found.cost is None or not found.fits else f"{found.cost.low:.2f}–{found.cost.high:.2f}")
        cells.append(_span(found.decode) if found.decode_fits else "–")
        lines.append(cells)
    return in_columns(lines)


def _device_name(device: Device, language: Language) -> str:
    if device.name != HERE:
        return device.name
    return "本机" if language == "zh" else "this machine"


def _span(span: Range) -> str:
    return f"{quantity(span.low)} – {quantity(span.high)}"


def _times(span: Range, language: Language) -> str:
    low, high = (rough_duration(seconds, language) for seconds in (span.low, span.high))
    return low if low == high else f"{low} – {high}"


def assumptions(work: Work, found: Sequence[Forecast]) -> Text:
    """What the figures of the table are based on."""
    tokens_en = "20 tokens a parameter" if work.tokens is None else f"{quantity(work.tokens)} tokens"
    tokens_zh = "每个参数 20 个词元" if work.tokens is None else f"{quantity(work.tokens)} 个词元"
    (gpu, gpu_reads), (cpu, cpu_reads) = expected_shares("gpu"), expected_shares("cpu")
    wide = ", ".join(dict.fromkeys(item.device.name for item in found if item.dtype == "float32"))
    return Text(
        f"Calculated, not measured. Time: {tokens_en}; {work.batch} sequences of {work.length} tokens at a time.\n"
        f"Training at {_shares(gpu)} of a GPU's peak (CPU {_shares(cpu)}), writing at {_shares(gpu_reads)} of the "
        f"bandwidth (CPU {_shares(cpu_reads)}).\n"
        "Memory: weights, gradients, AdamW, activations. ✗: with 1 GB for the framework it does not fit."
        + (f"\nIn float32, the others in bfloat16: {wide}" if wide else ""),
        f"以上为计算值，并非实测。用时按{tokens_zh}计，每次 {work.batch} 条、每条 {work.length} 个词元。\n"
        f"训练按 GPU 峰值的 {_shares(gpu)}（CPU {_shares(cpu)}），"
        f"生成按带宽的 {_shares(gpu_reads)}（CPU {_shares(cpu_reads)}）估计。\n"
        "内存含权重、梯度、AdamW 与激活；✗ 表示加上框架所需的 1 GB 后放不下。"
        + (f"\n以下设备用 float32，其余用 bfloat16：{wide}" if wide else ""),
    )


def _shares(shares: tuple[float, float]) -> str:
    return f"{shares[0]:.0%}–{shares[1]:.0%}"


def _compared(preset: str, measured: Measured) -> Text:
    """How the machine's real speeds compare with its ceilings."""
    training, decode = quantity(measured.training_tokens_per_second), quantity(measured.decode_tokens_per_second)
    of_products, of_memory = percent(measured.training_share), percent(measured.decode_share)
    return Text(
        f"{preset}, measured here: training {training} tokens/s ({measured.training_dtype}), {of_products} of what the "
        f"machine multiplies; writing {decode} tokens/s ({measured.decode_dtype}), {of_memory} of what it reads.",
        f"{preset} 本机实测：训练 {training} 词元/秒（{measured.training_dtype}），为乘法上限的 {of_products}；"
        f"生成 {decode} 词元/秒（{measured.decode_dtype}），为读内存上限的 {of_memory}。",
    )


def refuse_paper_flags(arguments: argparse.Namespace) -> None:
    """Raise UserError where a flag was given that only makes sense on paper."""
    if arguments.tokens is not None:
        raise UserError("--tokens needs --on-paper", "--tokens 需与 --on-paper 同用")
