"""Weights in fewer bytes, as the compiled decoding step reads them.

int8: whole numbers from -127 to 127 with one float32 scale a row. int4: whole numbers from -8 to 7 with one bfloat16
scale for each 32 neighbours of a row (4.5 bits a weight); of several scales the one with the least squared error.
Both are symmetric: 0 stays 0. Dettmers et al. 2022, "LLM.int8()", section 2.1 (absmax quantisation); Frantar et al.
2022, "GPTQ", section 4 (groups).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

WeightFormat = Literal["float32", "bfloat16", "int8", "int4"]
WEIGHT_FORMATS: tuple[WeightFormat, ...] = get_args(WeightFormat)
StoredFormat = Literal["float32", "bfloat16", "int8", "int4", "float16"]
STORED_FORMATS: tuple[StoredFormat, ...] = get_args(StoredFormat)
"""How a matrix may lie in memory, numbered as in model.h. float16 is float32 that needs no more: released files hold it."""
QUANTISED: frozenset[str] = frozenset({"int8", "int4"})
"""Formats that only the compiled step can read."""
GROUP = 32
"""Neighbours that share a scale in int4."""
BLOCK = 128
"""Quantised rows are padded with zeros to a multiple of this."""
_SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8)
"""Scales to try, relative to the one at which the largest weight of the group is met exactly."""


@dataclass(frozen=True, slots=True)
class PackedMatrix:
    """A matrix [rows, columns] in `format`.

    `values` is [rows, columns] as it is for float32, bfloat16 and float16, int8 [rows, padded] for int8, and uint8
    [rows, padded/2] for int4: each 64 bytes hold 128 neighbours, the first 64 in the low halves, 8 added to each.
    `scales` is float32 [rows] for int8 and bfloat16 [rows, padded/32] for int4.
    """

    format: StoredFormat
    rows: int
    columns: int
    values: Tensor
    scales: Tensor | None = None

    @property
    def stride(self) -> int:
        """Bytes from one row to the next."""
        return self.values.stride(0) * self.values.element_size()

    @property
    def bytes(self) -> int:
        """Bytes of values and scales: what one product reads."""
        scales = 0 if self.scales is None else self.scales.numel() * self.scales.element_size()
        return self.values.numel() * self.values.element_size() + scales


@torch.no_grad()
def pack(weight: Tensor, format: WeightFormat) -> PackedMatrix:
    """`weight` [rows, columns] in `format`; where it is already that, the very same memory.

    float32 weights that are all half-precision numbers, as those of the released files are, are kept in half the bytes.
    """
    rows, columns = weight.shape
    if format == "float32" and _is_half(weight):
        return PackedMatrix("float16", rows, columns, weight.detach().half().contiguous())
    if format == "float32" or format == "bfloat16":
        dtype = torch.float32 if format == "float32" else torch.bfloat16
        return PackedMatrix(format, rows, columns, weight.detach().to(dtype).contiguous())
    wide = F.pad(weight.detach().float(), (0, -columns % BLOCK))  # [rows, padded]
    if format == "int8":
        scales = wide.abs().amax(1) / 127  # [rows]
        steps = (wide / _divisor(scales)[:, None]).round().clamp(-127, 127)  # [rows, padded]
        return PackedMatrix(format, rows, columns, steps.nan_to_num().to(torch.int8), scales.contiguous())
    scales, steps = _four_bits(wide.view(rows, -1, GROUP))
    halves = (steps + 8).to(torch.uint8).view(rows, -1, 2, BLOCK // 2)  # [rows, blocks, half, 64]
    values = (halves[:, :, 0] | halves[:, :, 1] << 4).reshape(rows, -1)  # [rows, padded/2]
    return PackedMatrix(format, rows, columns, values.contiguous(), scales.contiguous())


def unpack(packed: PackedMatrix) -> Tensor:
    """The float32 matrix [rows, columns] that `packed` stands for."""
    if packed.scales is None:
        return packed.values.float()  # [rows, columns]
    if packed.format == "int8":
        return (packed.values.float() * packed.scales[:, None])[:, : packed.columns]  # [rows, columns]
    blocks = packed.values.view(packed.rows, -1, BLOCK // 2)  # [rows, blocks, 64]
    steps = torch.stack((blocks & 15, blocks >> 4), 2).float() - 8  # [rows, blocks, half, 64]
    groups = steps.view(packed.rows, -1, GROUP) * packed.scales.float()[..., None]  # [rows, groups, 32]
    return groups.flatten(1)[:, : packed.columns]  # [rows, columns]


def _is_half(weight: Tensor) -> bool:
    """Whether rounding `weight` to half precision changes nothing; a glance at the first row settles most."""
    parts = (weight[:1], weight)
    return all(bool((part.half().float() == part).all()) and bool(part.isfinite().all()) for part in parts)


def _divisor(scales: Tensor) -> Tensor:
    """Scales to divide by: those of nothing but zeros become 1."""
    return torch.where(scales == 0, 1.0, scales)


def _four_bits(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Scales, bfloat16 [rows, groups], and steps from -8 to 7 [rows, groups, 32] for `groups` [rows, groups, 32].

    A scale may be negative: the weight that is largest in size becomes -8, the end of the range that reaches further.
    """
    peak = groups.gather(2, groups.abs().argmax(2, keepdim=True))[..., 0]  # [rows, groups]
    best = torch.full_like(peak, torch.inf)  # [rows, groups]
    scales = peak.to(torch.bfloat16)  # [rows, groups]
    steps = torch.zeros_like(groups)  # [rows, groups, 32]
    for shrink in _SHRINKS:
        rounded = (peak * (-shrink / 8)).to(torch.bfloat16)  # [rows, groups]
        scale = rounded.float()[..., None]  # [rows, groups, 1]
        tried = (groups / _divisor(scale)).round().clamp(-8, 7).nan_to_num()  # [rows, groups, 32]
        error = (tried * scale - groups).square().sum(2)  # [rows, groups]
        better = error < best  # [rows, groups]
        best = torch.where(better, error, best)  # [rows, groups]
        scales = torch.where(better, rounded, scales)  # [rows, groups]
        steps = torch.where(better[..., None], tried, steps)  # [rows, groups, 32]
    return scales, steps
