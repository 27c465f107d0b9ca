"""Which number formats can tell neighbouring positions apart, for fast and for slow pairs?

Three places where digits are lost: the position itself, the angle (position · frequency), and the cosine and sine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from minimind.events import Claim, Event, Progress, Scalars, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.verdicts import agree, means
from minimind.model.transformer import rotary_frequencies, rotary_table

FORMATS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
LONGEST = 32_768
OFFSETS = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
DRAWS = 1000
BLIND = 0.9
"""A format is called blind for a step where it leaves this share of scores exactly as they were."""


@dataclass(frozen=True)
class Pairs:
    """What was measured for each format and pair: distinct codes of it, and the share of scores that a step leaves."""

    codes: dict[str, list[int]]
    unchanged: dict[str, list[float]]


@experiment(
    title=Text("Slow hands and few digits", "慢指针与有限的位数"),
    question=Text(
        "The slowest pairs turn a millionth of a radian a position. Which formats notice the step?",
        "最慢的分量对每个位置只转百万分之一弧度。哪些格式分辨得出这一步？",
    ),
    parameters={
        "head_size": Parameter(Text("components of a head", "每头的分量数"), choices=(32, 64, 96)),
        "base": Parameter(Text("base of the frequencies", "频率的底数"), choices=(10_000.0, 1_000_000.0)),
        "positions": Parameter(Text("positions counted", "统计多少个位置"), choices=(256, 1024, 4096)),
        "first": Parameter(Text("first of them", "从哪个位置开始"), choices=(0, 10_000, 100_000, 1_000_000)),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=10),
    },
    quick={"seeds": 1},
    deep={"seeds": 5},
    smoke={"seeds": 1, "head_size": 64},
    predict=Text(
        "Positions 0, 1, 2, … are stored in bfloat16. Which is the first that is rounded to another one?",
        "把位置 0、1、2、… 存成 bfloat16，最先被舍入成另一个位置的是哪一个？",
    ),
    choices=(
        Text("257", "257"),
        Text("4,097", "4,097"),
        Text("65,537", "65,537"),
        Text("none below 10³⁸: bfloat16 has the range of float32", "10³⁸ 以内没有：bfloat16 的范围与 float32 相同"),
    ),
    names={
        "codes": Text("Distinct (cos, sin) codes", "不同的 (cos, sin) 编码数"),
        "unchanged": Text(
            "Share of scores that one step leaves exactly as they were", "挪一个位置后分数丝毫不变的比例"
        ),
        "angle_error": Text("Largest error of an angle (radians)", "角度的最大误差（弧度）"),
        "pair": Text("pair", "分量对"),
        "position": Text("log10 position", "位置（log10）"),
        "float32 table": Text("float32, as the model", "float32（模型的做法）"),
        "bfloat16 position": Text("position in bfloat16", "位置存成 bfloat16"),
    },
)
def angle_precision(
    head_size: int = 64, base: float = 1_000_000.0, positions: int = 4096, first: int = 0, seeds: int = 3
) -> Iterator[Event]:
    """Count codes and steps pair by pair, then positions that a format cannot hold, then the error of the angles."""
    frequencies = rotary_frequencies(head_size, base)  # [head/2]
    pairs = Pairs({name: [] for name in FORMATS}, {name: [] for name in FORMATS})
    slow: dict[str, list[float]] = {name: [] for name in FORMATS}
    for pair, frequency in enumerate(frequencies.double()):
        angles = torch.arange(first, first + positions) * frequency  # [positions], float64
        for name, dtype in FORMATS.items():
            pairs.codes[name].append(_distinct(angles, dtype))
            pairs.unchanged[name].append(_unchanged(float(frequency), dtype, 0))
        yield Scalars(pair, {name: pairs.codes[name][-1] for name in FORMATS}, axis="pair", chart="codes")
        yield Scalars(pair, {name: pairs.unchanged[name][-1] for name in FORMATS}, axis="pair", chart="unchanged")
        yield Progress(pair + 1, len(frequencies))
    for seed in range(seeds):
        for name, dtype in FORMATS.items():
            slow[name].append(_unchanged(float(frequencies[-1]), dtype, seed))
    errors = _angle_errors(frequencies)
    for offset, (table, rounded) in errors.items():
        values = {"float32 table": table, "bfloat16 position": rounded}
        yield Scalars(float(torch.tensor(offset).log10()), values, axis="position", chart="angle_error")
    cosines = _distinct_cosines(float(frequencies[-1]), first, positions)
    yield _table(pairs, positions)
    yield from _claims_on_positions(errors)
    yield from _claims_on_slow_pairs(pairs, slow, cosines, positions)


def _distinct(angles: Tensor, dtype: torch.dtype) -> int:
    """How many different (cos, sin) there are among `angles` [positions] once both are rounded to `dtype`."""
    cosines, sines = angles.cos().to(dtype).tolist(), angles.sin().to(dtype).tolist()
    return len(set(zip(cosines, sines, strict=True)))


def _distinct_cosines(frequency: float, first: int, positions: int) -> int:
    angles = torch.arange(first, first + positions) * frequency  # [positions]
    return len(set(angles.double().cos().float().tolist()))


def _unchanged(frequency: float, dtype: torch.dtype, seed: int) -> float:
    """The share of random products q · k of one pair that do not change at all when the distance grows by one.

    Everything is computed in `dtype`, from a query and key of size 1 a component, at distances 100 and 101.
    """
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, 2, DRAWS, generator=generator).to(dtype)  # 2 × [2, draws]
    scores = []
    for distance in (100, 101):
        angle = torch.tensor(distance * frequency, dtype=torch.float64)  # []
        cosine, sine = angle.cos().to(dtype), angle.sin().to(dtype)  # 2 × []
        turned = torch.stack((key[0] * cosine - key[1] * sine, key[1] * cosine + key[0] * sine))  # [2, draws]
        scores.append((query * turned).sum(0))  # [draws]
    return float((scores[0] == scores[1]).float().mean())


def _angle_errors(frequencies: Tensor) -> dict[int, tuple[float, float]]:
    """At growing positions: the largest error of the model's float32 angles, and of angles of a bfloat16 position."""
    errors = {}
    for offset in OFFSETS:
        places = torch.arange(offset, offset + 64)  # [64]
        exact = places.double()[:, None] * frequencies.double()  # [64, head/2]
        cosine, sine = rotary_table(places[None], frequencies)  # 2 × [1, 1, 64, head/2]
        made = torch.atan2(sine.double(), cosine.double())[0, 0]  # [64, head/2]
        rounded = places.bfloat16().double()[:, None] * frequencies.double()  # [64, head/2]
        errors[offset] = (_largest_turn(made - exact), _largest_turn(rounded - exact))
    return errors


def _largest_turn(angles: Tensor) -> float:
    """The largest angle, full turns left out."""
    return float(torch.atan2(angles.sin(), angles.cos()).abs().max())


def _table(pairs: Pairs, positions: int) -> Event:
    columns = (
        Text("format", "格式"),
        Text(f"codes of the slowest pair, of {positions}", f"最慢一对的编码数，共 {positions}"),
        Text("steps it misses", "分辨不出的步"),
        Text(f"positions below {LONGEST:,} it can hold", f"{LONGEST:,} 以内能表示的位置"),
    )
    rows = tuple(
        (name, float(pairs.codes[name][-1]), pairs.unchanged[name][-1], float(_held(dtype)))
        for name, dtype in FORMATS.items()
    )
    return Table("formats", columns, rows, Text("What each format can tell apart", "每种格式分辨得出多少"))


def _held(dtype: torch.dtype) -> int:
    """How many of the positions below LONGEST stay different in `dtype`."""
    return len(set(torch.arange(LONGEST).to(dtype).tolist()))


def _first_lost(dtype: torch.dtype) -> int:
    """The first position that `dtype` rounds to another number."""
    places = torch.arange(LONGEST)  # [positions]
    return int((places.to(dtype).long() != places).nonzero()[0])


def _claims_on_positions(errors: dict[int, tuple[float, float]]) -> Iterator[Event]:
    lost = _first_lost(torch.bfloat16)
    yield Claim(
        "prediction", Text(f"position {lost}", f"位置 {lost}"), {"choice": {257: 0, 4097: 1}.get(lost, 2)}, True
    )
    yield Claim(
        "bfloat16_positions_collide",
        Text(
            "Positions stored in bfloat16 are rounded to others from 257 on",
            "存成 bfloat16 的位置，从 257 起就会被舍入成别的位置",
        ),
        {"first": lost, "held": _held(torch.bfloat16), "of": LONGEST, "float16_first": _first_lost(torch.float16)},
        lost == 257,
    )
    long = 10_000
    yield Claim(
        "model_computes_angles_in_float32",
        Text(
            "The model's float32 angles are right to a thousandth of a radian at position 10,000, "
            "those of a bfloat16 position are not",
            "在位置 10,000，模型的 float32 角度误差不到千分之一弧度，位置存成 bfloat16 则不然",
        ),
        {"float32": errors[long][0], "bfloat16": errors[long][1], "position": long},
        errors[long][0] < 1e-3 < errors[long][1],
    )
    yield Claim(
        "float32_ends_too",
        Text(
            "At position 1,000,000 float32 angles are off by more than a hundredth of a radian",
            "到位置 1,000,000，float32 角度的误差也超过百分之一弧度",
        ),
        {"error": errors[1_000_000][0]},
        errors[1_000_000][0] > 0.01,
    )


def _claims_on_slow_pairs(pairs: Pairs, slow: dict[str, list[float]], cosines: int, positions: int) -> Iterator[Event]:
    codes = {name: pairs.codes[name][-1] for name in FORMATS}
    yield Claim(
        "float32_tells_slow_positions_apart",
        Text(
            "In float32 every position has a code of its own even in the slowest pair, thanks to the sine; "
            "16 bits have fewer",
            "即使是最慢的一对，float32 也给每个位置不同的编码，靠的是正弦；16 位格式不够用",
        ),
        {**codes, "cosine_alone": cosines, "of": positions},
        codes["float32"] == positions and max(codes["float16"], codes["bfloat16"], cosines) < positions,
    )
    yield Claim(
        "half_precision_misses_the_step",
        Text(
            "One step of the slowest pair leaves nearly every score of 16 bits exactly as it was, and few in float32",
            "最慢的一对挪一步，16 位算出的分数几乎都丝毫不变，float32 则很少如此",
        ),
        means(**slow),
        agree(
            [
                wide < 1 - BLIND and min(half, brain) > BLIND
                for wide, half, brain in zip(slow["float32"], slow["float16"], slow["bfloat16"], strict=True)
            ]
        ),
    )
