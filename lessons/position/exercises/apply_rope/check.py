"""Cases, reference and mutants of the exercise on turning queries and keys."""

from collections.abc import Callable

import torch
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.events import Text
from minimind.model.transformer import MiniMind
from minimind.model.variants.rotation import set_rotation

Part = Callable[[Tensor, Tensor, float], Tensor]


def textbook(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """Each pair as a complex number times e^(i·angle), in double precision."""
    half = x.shape[-1] // 2
    frequencies = torch.tensor([base ** (-2 * pair / x.shape[-1]) for pair in range(half)], dtype=torch.float64)
    angles = positions.double()[:, None] * frequencies  # [time, head/2]
    pairs = torch.complex(x[..., :half].double(), x[..., half:].double())  # [batch, heads, time, head/2]
    turned = pairs * torch.polar(torch.ones_like(angles), angles)  # [batch, heads, time, head/2]
    return torch.cat((turned.real, turned.imag), dim=-1).to(x.dtype)  # [batch, heads, time, head]


def frequencies_of(x: Tensor, base: float) -> Tensor:
    """The frequencies of the pairs of a head."""
    half = x.shape[-1] // 2
    return base ** (-torch.arange(half).float() / half)  # [head/2]


def table(x: Tensor, positions: Tensor, base: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every angle, [time, head/2]."""
    angles = positions.float()[:, None] * frequencies_of(x, base)  # [time, head/2]
    return angles.cos(), angles.sin()


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """The two halves of each head, in float32."""
    first, second = x.float().chunk(2, dim=-1)  # 2 × [batch, heads, time, head/2]
    return first, second


def turn(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """The right rotation, for a table that may be wrong."""
    first, second = halves(x)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1).to(x.dtype)


def unchanged(x: Tensor, _positions: Tensor, _base: float) -> Tensor:
    return x


def turns_backwards(x: Tensor, positions: Tensor, base: float) -> Tensor:
    cosine, sine = table(x, positions, base)
    return turn(x, cosine, -sine)


def no_minus(x: Tensor, positions: Tensor, base: float) -> Tensor:
    (first, second), (cosine, sine) = halves(x), table(x, positions, base)
    return torch.cat((first * cosine + second * sine, second * cosine + first * sine), -1).to(x.dtype)


def neighbours_paired(x: Tensor, positions: Tensor, base: float) -> Tensor:
    (cosine, sine), (first, second) = table(x, positions, base), (x.float()[..., 0::2], x.float()[..., 1::2])
    pairs = torch.stack((first * cosine - second * sine, second * cosine + first * sine), -1)
    return pairs.flatten(-2).to(x.dtype)  # [batch, heads, time, head]


def positions_from_one(x: Tensor, positions: Tensor, base: float) -> Tensor:
    return turn(x, *table(x, positions + 1, base))


def ignores_positions(x: Tensor, positions: Tensor, base: float) -> Tensor:
    return turn(x, *table(x, torch.arange(len(positions)), base))


def one_frequency(x: Tensor, positions: Tensor, _base: float) -> Tensor:
    return turn(x, *table(x, positions, 1.0))


def half_the_exponent(x: Tensor, positions: Tensor, base: float) -> Tensor:
    return turn(x, *table(x, positions, base**0.5))


def swapped(x: Tensor, positions: Tensor, base: float) -> Tensor:
    cosine, sine = table(x, positions, base)
    return turn(x, sine, cosine)


def added(x: Tensor, positions: Tensor, base: float) -> Tensor:
    return (x.float() + torch.cat(table(x, positions, base), -1)).to(x.dtype)


def angles_in_half_precision(x: Tensor, positions: Tensor, base: float) -> Tensor:
    angles = positions.to(x.dtype)[:, None] * frequencies_of(x, base).to(x.dtype)  # [time, head/2]
    return turn(x, angles.float().cos(), angles.float().sin())


def turns_by_head(x: Tensor, positions: Tensor, base: float) -> Tensor:
    cosine, sine = table(x, positions, base)
    return turn(x, cosine[:, None], sine[:, None])


def stays_float32(x: Tensor, positions: Tensor, base: float) -> Tensor:
    return turn(x.float(), *table(x, positions, base))


def run(part: Part, case: Case) -> Tensor:
    """Call the learner's function."""
    return part(case.inputs["x"], case.inputs["positions"], case.settings["base"])


def cases(generator: torch.Generator) -> list[Case]:
    """A small one, one that begins later, one whose positions start again, and a long one in bfloat16."""

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def case(en: str, zh: str, x: Tensor, positions: Tensor, base: float, error: float = 1e-4) -> Case:
        inputs = {"x": x, "positions": positions}
        return Case(Text(en, zh), inputs, {"base": base}, error, error, gradients=x.dtype == torch.float32)

    offset = int(torch.randint(20, 90, (), generator=generator))
    restarts = torch.tensor([0, 1, 2, 3, 0, 1, 2])  # [7]
    return [
        case("a small example", "小例子", draw(2, 3, 5, 8), torch.arange(5), 10_000.0),
        case(
            f"positions from {offset} on", f"从 {offset} 开始的位置", draw(2, 3, 6, 16), torch.arange(6) + offset, 1e6
        ),
        case("positions that start again", "中途重新计数的位置", draw(2, 3, 7, 12), restarts, 100.0),
        case(
            "400 positions in bfloat16",
            "400 个位置，bfloat16",
            draw(1, 2, 400, 8).bfloat16(),
            torch.arange(400),
            10_000.0,
            3e-2,
        ),
    ]


def keeps_length(part: Part, generator: torch.Generator) -> bool:
    """A rotation changes no length."""
    x = torch.randn(1, 2, 9, 16, generator=generator)  # [1, 2, 9, 16]
    return bool(torch.allclose(part(x, torch.arange(9), 1e4).norm(dim=-1), x.norm(dim=-1), rtol=1e-4))


def knows_distance_only(part: Part, generator: torch.Generator) -> bool:
    """The product of a turned query and a turned key is the same for all pairs of positions equally far apart."""
    query, key = torch.randn(2, 1, 1, 1, 16, generator=generator)  # 2 × [1, 1, 1, 16]
    positions = torch.arange(12) + 40  # [12]
    queries, keys = (part(x.expand(1, 1, 12, 16), positions, 1e4)[0, 0] for x in (query, key))  # 2 × [12, 16]
    scores = queries @ keys.T  # [12, 12]
    diagonals = [scores.diagonal(distance) for distance in range(-8, 9)]
    return all(float(line.max() - line.min()) < 1e-3 for line in diagonals)


def install(model: MiniMind, part: Part) -> None:
    """Let the learner's function turn the model's queries and keys."""
    set_rotation(model, lambda x, positions: part(x, positions, model.config.rope_theta))


CHECK = Check(
    part="apply_rope",
    parameters=("x", "positions", "base"),
    axes=("batch", "heads", "time", "head"),
    cases=cases,
    run=run,
    reference=textbook,
    mutants={
        part.__name__: part
        for part in (
            unchanged,
            turns_backwards,
            no_minus,
            neighbours_paired,
            positions_from_one,
            ignores_positions,
            one_frequency,
            half_the_exponent,
            swapped,
            added,
            angles_in_half_precision,
            turns_by_head,
            stays_float32,
        )
    },
    invariants=(
        Invariant(Text("turning changes the length of a vector", "转过之后，向量的长度变了"), keeps_length),
        Invariant(
            Text(
                "the product of query and key changes when both move by the same amount",
                "查询和键一起平移之后，两者的内积变了",
            ),
            knows_distance_only,
        ),
    ),
    install=install,
)
