"""What devices make of a model, on paper: a small table of devices, and forecasts from `minimind.scale`. No torch.

A forecast is a range: between what an ordinary program gets from the device and what a very good one does. The shares
and delays assumed stand beside the devices, in ``devices.toml``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from minimind.config import ModelConfig
from minimind.declaration import nearest
from minimind.errors import UserError
from minimind.scale import (
    BFLOAT16_BYTES,
    FLOAT32_BYTES,
    TrainingMemory,
    decode_bytes_per_token,
    inference_memory,
    parameter_counts,
    training_flops_per_token,
    training_memory,
)

ALL = "all"
DTYPE_BYTES = {"float32": FLOAT32_BYTES, "bfloat16": BFLOAT16_BYTES}
_AS_FAST = {"float16": "bfloat16"}
"""Types that stand for each other: as large, and as fast wherever there are both."""
TOKENS_PER_PARAMETER = 20
"""Training tokens a parameter that spend a given amount of computation best (Hoffmann et al. 2022, "Chinchilla")."""
_FRAMEWORK_BYTES = 1e9
"""What the framework, its kernels and their workspaces take beside the model."""
_DECODE_OPERATIONS = 10
"""Operations of a layer that wait for each other while a token is written."""
_TRAINING_OPERATIONS = 100
"""The same for one micro-step, forwards and backwards."""


@dataclass(frozen=True, slots=True)
class Range:
    """From what to expect at worst to what to expect at best; for times, `low` is the shorter."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Device:
    """One device at its best: bytes of memory, bytes a second, and operations a second by type of number.

    `training_share` and `bandwidth_share` say which part of that programs get, `operation_seconds` how long operations
    take at least that wait for each other; each from slow to fast.
    """

    name: str
    kind: str
    memory: float
    bandwidth: float
    peak: Mapping[str, float]
    training_share: tuple[float, float]
    bandwidth_share: tuple[float, float]
    operation_seconds: tuple[float, float]

    def dtype(self, wish: str = "auto") -> str:
        """The type to compute in: ``float32``, or ``bfloat16`` where the device is faster in it.

        ``float16`` is as large and as fast as that. Raises UserError where it cannot compute in the `wish`.
        """
        if wish == "auto":
            return max(self.peak, key=lambda name: self.peak[name])
        wish = _AS_FAST.get(wish, wish)
        if wish not in self.peak:
            known = ", ".join(self.peak)
            raise UserError(
                f"{self.name} does not compute in {wish}: use one of {known}",
                f"{self.name} 不支持 {wish}：可用 {known}",
            )
        return wish


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads(files("minimind").joinpath("devices.toml").read_text(encoding="utf-8"))


@cache
def devices() -> tuple[Device, ...]:
    """The devices of the table, in its order."""
    return tuple(
        make_device(
            entry["name"],
            entry["kind"],
            memory=entry["memory"] * 1e9,
            bandwidth=entry["bandwidth"] * 1e9,
            peak={dtype: speed * 1e12 for dtype, speed in entry["peak"].items()},
        )
        for entry in _table()["device"]
    )


def make_device(name: str, kind: str, *, memory: float, bandwidth: float, peak: Mapping[str, float]) -> Device:
    """A device of `kind` (``gpu`` or ``cpu``), with the shares that are expected of its kind."""
    training, reading = expected_shares(kind)
    slow, fast = _table()["kind"][kind]["operation_microseconds"]
    return Device(name, kind, memory, bandwidth, peak, training, reading, (slow * 1e-6, fast * 1e-6))


def expected_shares(kind: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """The shares of the peak in training and of the bandwidth in writing, each from slow to fast."""
    expected = _table()["kind"][kind]
    (slow, fast), (slow_reading, fast_reading) = expected["training_share"], expected["bandwidth_share"]
    return (slow, fast), (slow_reading, fast_reading)


def find_devices(names: str) -> tuple[Device, ...]:
    """The devices that `names` (separated by commas) mean; ``all`` is every one.

    Case, spaces and a maker's name do not matter, and a part of a name stands for all that have it: ``h100`` is the
    PCIe and the SXM version. Raises UserError that lists the known ones.
    """
    found: dict[str, Device] = {}
    for name in names.split(","):
        for device in _matching(name):
            found[device.name] = device
    return tuple(found.values())


def _matching(name: str) -> Sequence[Device]:
    wanted = _plain(name)
    if wanted == ALL:
        return devices()
    exact = [device for device in devices() if _plain(device.name) == wanted]
    matching = exact or [device for device in devices() if wanted and wanted in _plain(device.name)]
    if not matching:
        known = ", ".join(device.name for device in devices())
        guess = nearest(name.strip(), dict.fromkeys(device.name for device in devices()))
        raise UserError(
            f"unknown device {name.strip()!r}{guess}: use one of {known}, or {ALL}",
            f"没有名为 {name.strip()!r} 的设备{guess}：可用 {known}，或 {ALL}",
        )
    return matching


def computing_in(dtype: str, places: Sequence[Device]) -> tuple[Device, ...]:
    """Those of `places` that compute in `dtype` (``auto``: all). Raises UserError where none does."""
    able = tuple(place for place in places if _AS_FAST.get(dtype, dtype) in ("auto", *place.peak))
    if not able and places:
        places[0].dtype(dtype)
    return able


def _plain(name: str) -> str:
    letters = "".join(character for character in name.lower() if character.isalnum())
    for maker in ("nvidia", "geforce", "tesla"):
        letters = letters.removeprefix(maker)
    return letters


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked of a device: training batches of `batch` sequences of `length` tokens, on `tokens` in all (None: as
    many as the model's size suggests), and text of `context` positions. `dtype` is auto, float32 or bfloat16."""

    batch: int = 16
    length: int = 512
    tokens: float | None = None
    context: int = 512
    dtype: str = "auto"
    price_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What to expect of a model on a device: tokens a second of training and of writing (alone), seconds for `tokens`,
    and their cost in the currency of the price. `fits` and `decode_fits` say whether the memory is enough."""

    device: Device
    dtype: str
    tokens: float
    training: Range
    memory: TrainingMemory
    fits: bool
    decode: Range
    decode_memory: float
    decode_fits: bool
    seconds: Range
    cost: Range | None


def forecast(config: ModelConfig, device: Device, work: Work) -> Forecast:
    """What `device` makes of a model. Raises UserError where it cannot compute in the wished type.

    Training: operations of a micro-step (`training_flops_per_token`) at a share of the peak, and besides at least
    100 operations a layer that wait for each other, which is what small models on fast devices wait for. Writing:
    bytes (`decode_bytes_per_token`) at a share of the bandwidth, and 10 such operations a layer.
    """
    dtype = device.dtype(work.dtype)
    width = DTYPE_BYTES[dtype]
    tokens = work.tokens or TOKENS_PER_PARAMETER * parameter_counts(config).active
    memory = training_memory(
        config, work.batch, work.length, width, stored_attention=device.kind == "cpu" and dtype == "bfloat16"
    )
    micro_step = work.batch * work.length
    operations = training_flops_per_token(config, work.length) * micro_step
    training, decode = [], []
    for share, bandwidth_share, delay in zip(
        device.training_share, device.bandwidth_share, device.operation_seconds, strict=True
    ):
        waiting = config.num_hidden_layers * delay
        step = operations / (share * device.peak[dtype]) + _TRAINING_OPERATIONS * waiting
        training.append(micro_step / step)
        read = decode_bytes_per_token(config, width, work.context) / (bandwidth_share * device.bandwidth)
        decode.append(1 / (read + _DECODE_OPERATIONS * waiting))
    seconds = Range(tokens / training[1], tokens / training[0])
    price = work.price_per_hour
    written = inference_memory(config, width, work.context)
    room = device.memory - _FRAMEWORK_BYTES
    return Forecast(
        device=device,
        dtype=dtype,
        tokens=tokens,
        training=Range(*training),
        memory=memory,
        fits=memory.total <= room,
        decode=Range(*decode),
        decode_memory=written,
        decode_fits=written <= room,
        seconds=seconds,
        cost=None if price is None else Range(price * seconds.low / 3600, price * seconds.high / 3600),
    )
