"""What is said about the machine, and what is refused."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from minimind import hardware
from minimind.errors import UserError


def with_cpuinfo(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    def read_text(self: Path, **_: Any) -> str:
        if text is None:
            raise FileNotFoundError
        return text

    monkeypatch.setattr(Path, "read_text", read_text)
    hardware.cpu_flags.cache_clear()
    monkeypatch.setattr(hardware, "cpu_flags", hardware.cpu_flags.__wrapped__)


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        ("model name\t: A CPU\nflags\t\t: fpu avx512f avx512_bf16\n", True),
        ("model name\t: A CPU\nflags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("model name\t: A CPU\nflags\t\t: fpu avx2 avx512f\n", False),
        ("Features\t: fp asimd\n", False),
        ("", False),
        (None, False),
    ],
)
def test_bfloat16_is_fast_only_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, text: str | None, fast: bool
) -> None:
    with_cpuinfo(monkeypatch, text)
    assert hardware.cpu_has_fast_bfloat16() is fast
    expected = torch.bfloat16 if fast else torch.float32
    assert hardware.choose_dtype("auto", torch.device("cpu")) == expected
    if text and "model name" in text:
        assert hardware.cpu_name() == "A CPU"


def test_a_wish_for_a_precision_is_obeyed() -> None:
    cpu = torch.device("cpu")
    assert hardware.choose_dtype("float32", cpu) == torch.float32
    assert hardware.choose_dtype("bfloat16", cpu) == torch.bfloat16
    assert hardware.choose_dtype("auto", torch.device("mps")) == torch.float32


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert hardware.choose_device("auto") == torch.device("cpu")
    with pytest.raises(UserError, match=r"cuda.*use one of cpu"):
        hardware.choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert hardware.choose_device("auto") == torch.device("cuda")
    assert hardware.choose_device("cpu") == torch.device("cpu")


def test_memory_grows_with_what_is_held() -> None:
    cpu = torch.device("cpu")
    before = hardware.memory_in_use(cpu)
    with mmap.mmap(-1, 128 << 20) as held:  # not from the allocator, which may hold as much that earlier tests freed
        held.write(b"1" * len(held))
        assert hardware.memory_in_use(cpu) - before > 32 << 20
        assert hardware.peak_memory(cpu) >= hardware.memory_in_use(cpu) - (8 << 20)


def test_cores_are_those_this_process_may_use() -> None:
    assert 1 <= hardware.available_cores() <= (os.cpu_count() or 1)


def test_the_allocator_is_told_on_linux_and_left_alone_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []

    def mallopt(parameter: int, value: int) -> int:
        calls.append((parameter, value))
        return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    monkeypatch.setattr(sys, "platform", "linux")
    assert hardware.keep_freed_memory()
    assert [parameter for parameter, _ in calls] == [-3, -1]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())  # musl has no mallopt
    assert not hardware.keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not hardware.keep_freed_memory()


def test_a_persons_own_waiting_policy_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    hardware.wait_without_spinning()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    hardware.wait_without_spinning()
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
