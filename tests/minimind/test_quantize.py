"""Packed weights: what rounding may cost, and that nothing else is lost."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind.inference.quantize import pack, unpack


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 9), columns=st.integers(1, 300), seed=st.integers(0, 99), size=st.sampled_from([1e-6, 1.0, 1e4])
)
def test_rounding_errors_are_within_half_a_step(rows: int, columns: int, seed: int, size: float) -> None:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * size
    eight = pack(weight, "int8")
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((unpack(eight) - weight).abs() <= step * 0.5001).all()
    four = unpack(pack(weight, "int4"))
    assert four.shape == weight.shape
    error = (four - weight).square().mean().sqrt()
    # A step is at most an eighth of a group's largest weight; the largest of 32 normal numbers is seldom beyond 4.
    assert error <= 4 * size / 8 / 3**0.5
    bits = pack(weight, "bfloat16")
    assert ((unpack(bits) - weight).abs() <= weight.abs() / 256).all()


def test_what_is_exact_stays_exact() -> None:
    weight = torch.randn(4, 128)
    same = pack(weight, "float32")
    assert same.values.data_ptr() == weight.data_ptr()
    assert torch.equal(unpack(same), weight)
    half = weight.half().float()
    packed = pack(half, "float32")
    assert (packed.format, packed.bytes) == ("float16", 4 * 128 * 2)
    assert torch.equal(unpack(packed), half)
    half[3, 7] = 1e30
    assert pack(half, "float32").format == "float32"
    for format in ("int8", "int4"):
        assert torch.equal(unpack(pack(torch.zeros(3, 70), format)), torch.zeros(3, 70))
        assert unpack(pack(torch.tensor([[1.0, torch.nan]]), format)).isnan().any()
    steps = torch.arange(-8, 8).repeat(2)[None].float()
    assert torch.equal(unpack(pack(steps * 0.25, "int4")), steps * 0.25)
    lattice = torch.arange(-127, 128)[None].float()
    assert torch.equal(unpack(pack(lattice * 0.5, "int8")), lattice * 0.5)


@pytest.mark.parametrize(("format", "bits"), [("float32", 32), ("bfloat16", 16), ("int8", 8), ("int4", 4.5)])
def test_sizes(format: str, bits: float) -> None:
    packed = pack(torch.randn(64, 1024), format)  # type: ignore[arg-type]
    assert packed.bytes == pytest.approx(64 * 1024 * bits / 8, rel=0.005)
