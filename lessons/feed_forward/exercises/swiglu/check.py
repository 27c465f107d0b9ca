"""Cases, reference and mutants of the exercise SwiGLU."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons.checking import Case, Check, Invariant
from minimind.events import Text
from minimind.model.transformer import MiniMind
from minimind.model.variants.parts import install_part

Formula = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
SHAPES = {"gate_proj": (5, 3), "up_proj": (5, 3), "down_proj": (3, 5)}
"""The weights of a layer from 3 to 5 and back."""


def textbook(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """z · sigmoid(z) of the gate, times up, through down; all in float64."""
    z = x.double() @ gate.double().T  # [..., size]
    passed = z / (1 + (-z).exp()) * (x.double() @ up.double().T)  # [..., size]
    return (passed @ down.double().T).to(x.dtype)  # [..., hidden]


def unchanged(x: Tensor, _gate: Tensor, _up: Tensor, _down: Tensor) -> Tensor:
    return x


def silu_on_up(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return ((x @ gate.T) * F.silu(x @ up.T)) @ down.T  # [..., hidden]


def silu_on_product(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return F.silu((x @ gate.T) * (x @ up.T)) @ down.T  # [..., hidden]


def silu_on_both(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (F.silu(x @ gate.T) * F.silu(x @ up.T)) @ down.T  # [..., hidden]


def sigmoid_gate(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return ((x @ gate.T).sigmoid() * (x @ up.T)) @ down.T  # [..., hidden]


def relu_gate(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return ((x @ gate.T).relu() * (x @ up.T)) @ down.T  # [..., hidden]


def gelu_gate(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (F.gelu(x @ gate.T) * (x @ up.T)) @ down.T  # [..., hidden]


def adds(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (F.silu(x @ gate.T) + x @ up.T) @ down.T  # [..., hidden]


def no_activation(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return ((x @ gate.T) * (x @ up.T)) @ down.T  # [..., hidden]


def no_up(x: Tensor, gate: Tensor, _up: Tensor, down: Tensor) -> Tensor:
    return F.silu(x @ gate.T) @ down.T  # [..., hidden]


def no_down(x: Tensor, gate: Tensor, up: Tensor, _down: Tensor) -> Tensor:
    return F.silu(x @ gate.T) * (x @ up.T)  # [..., size]


def adds_the_input(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return x + (F.silu(x @ gate.T) * (x @ up.T)) @ down.T  # [..., hidden]


def part_of(formula: Formula) -> type[nn.Module]:
    """A class with the learner's interface that computes `formula`."""

    class SwiGLU(nn.Module):
        def __init__(self, hidden: int, size: int) -> None:
            super().__init__()
            self.gate_proj = nn.Linear(hidden, size, bias=False)
            self.up_proj = nn.Linear(hidden, size, bias=False)
            self.down_proj = nn.Linear(size, hidden, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return formula(x, self.gate_proj.weight, self.up_proj.weight, self.down_proj.weight)

    return SwiGLU


def run(part: type[nn.Module], case: Case) -> Tensor:
    """Build the part for the case, give it the case's weights, and call it."""
    weights = {f"{name}.weight": case.inputs[name] for name in SHAPES}
    size, hidden = case.inputs["gate_proj"].shape
    result: Tensor = torch.func.functional_call(part(hidden, size), weights, (case.inputs["x"],))
    return result


def cases(generator: torch.Generator) -> list[Case]:
    """A small one, weights of unequal size, a closed gate, one position alone, a middle narrower than the outside."""

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def inputs(shape: tuple[int, ...], size: int, gate: float = 1.0, up: float = 1.0) -> dict[str, Tensor]:
        hidden = shape[-1]
        return {
            "x": draw(*shape),
            "gate_proj": gate * draw(size, hidden),
            "up_proj": up * draw(size, hidden),
            "down_proj": draw(hidden, size),
        }

    closed = inputs((2, 3, 4), 8)
    closed["gate_proj"] = -closed["x"][0, 0].expand(8, -1) * 2  # [8, 4], strongly negative at the first position
    return [
        Case(Text("a small example", "小例子"), inputs((2, 3, 4), 8), gradients=True),
        Case(
            Text("a gate much larger than up", "gate 的权重远大于 up"),
            inputs((3, 5, 6), 16, gate=3.0, up=0.3),
            gradients=True,
            absolute=1e-4,
        ),
        Case(Text("a closed gate", "关上的门"), closed, absolute=1e-4),
        Case(Text("one position alone", "单独一个位置"), inputs((6,), 16)),
        Case(Text("a middle narrower than the outside", "中间比两头还窄"), inputs((4, 8), 3)),
    ]


def inspect_part(part: type[nn.Module]) -> Text | None:
    """The three matrices must be there, in their shapes, and nothing else."""
    found = {name: tuple(parameter.shape) for name, parameter in part(3, 5).named_parameters()}
    biases = ", ".join(name for name in found if name.endswith(".bias"))
    if biases:
        return Text(f"no bias is wanted: pass bias=False ({biases})", f"不要偏置：请加 bias=False（{biases}）")
    wanted = {f"{name}.weight": shape for name, shape in SHAPES.items()}
    if found != wanted:
        said = ", ".join(f"{name} {list(shape)}" for name, shape in wanted.items())
        given = ", ".join(f"{name} {list(shape)}" for name, shape in found.items()) or "—"
        return Text(
            f"for hidden 3 and size 5 the parameters should be {said}; they are {given}",
            f"hidden 为 3、size 为 5 时，参数应为 {said}；实际为 {given}",
        )
    return None


def works_position_by_position(part: type[nn.Module], generator: torch.Generator) -> bool:
    """Another vector at one position leaves the others' results as they were."""
    module, x = part(6, 10), torch.randn(2, 5, 6, generator=generator)
    before = module(x)  # [2, 5, 6]
    changed = x.clone()  # [2, 5, 6]
    changed[:, 2] = 0
    after = module(changed)  # [2, 5, 6]
    others = [0, 1, 3, 4]
    return bool(torch.allclose(before[:, others], after[:, others], atol=1e-6))


def nothing_comes_from_nothing(part: type[nn.Module], _generator: torch.Generator) -> bool:
    """A vector of zeros gives zeros: there is no bias anywhere."""
    return not bool(part(4, 8)(torch.zeros(3, 4)).any())


def install(model: MiniMind, part: type[nn.Module]) -> None:
    """Put the part in place of every block's feed-forward, with the same matrices."""

    def replace(old: nn.Module) -> nn.Module:
        size, hidden = old.get_parameter("gate_proj.weight").shape
        return part(hidden, size)

    install_part(model, "model.layers.*.mlp", replace)


CHECK = Check(
    part="SwiGLU",
    parameters=("hidden", "size"),
    axes=("batch", "time", "hidden"),
    cases=cases,
    run=run,
    reference=part_of(textbook),
    mutants={
        formula.__name__: part_of(formula)
        for formula in (
            unchanged,
            silu_on_up,
            silu_on_product,
            silu_on_both,
            sigmoid_gate,
            relu_gate,
            gelu_gate,
            adds,
            no_activation,
            no_up,
            no_down,
            adds_the_input,
        )
    },
    invariants=(
        Invariant(
            Text("changing one position changes the result at another", "改动一个位置，别处的结果也变了"),
            works_position_by_position,
        ),
        Invariant(Text("a vector of zeros does not give zeros", "输入全零，结果却不是零"), nothing_comes_from_nothing),
    ),
    inspect_part=inspect_part,
    install=install,
)
