"""Cases, reference and mutants of the exercise on writing token by token."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count as numbers

import torch
from torch import Tensor, nn

from lessons.checking import Case, Check, Invariant
from minimind.events import Text

Write = Callable[[nn.Module, Tensor, int, int, int], Tensor]
SIZE, END = 12, 0


class ToyModel(nn.Module):
    """Scores from a table, by a number that every token it was shown and its place take part in; notes how it is used."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(97, SIZE, generator=torch.Generator().manual_seed(seed)))  # [97, SIZE]
        self.calls = self.widest = self.with_graph = 0

    def forward(self, tokens: Tensor) -> Tensor:
        self.calls += 1
        self.widest = max(self.widest, tokens.shape[1])
        self.with_graph += torch.is_grad_enabled()
        places = torch.arange(1, tokens.shape[1] + 1)  # [time]
        rows = ((tokens + 3) * places).cumsum(1) % len(self.table)  # [batch, time]
        return self.table[rows]  # [batch, time, SIZE]


@dataclass(frozen=True)
class Loop:
    """The right loop. Each setting, where it is not as here, is a mistake."""

    keep_flags: bool = True
    stop_at: str = "all"
    forces_end: bool = True
    window: str = "latest"
    graph: bool = False
    fewer: int = 0
    prompt_ends: bool = False

    def __call__(self, model: nn.Module, tokens: Tensor, count: int, context: int, end: int) -> Tensor:
        ended = (tokens == end).any(1) if self.prompt_ends else torch.zeros(len(tokens), dtype=torch.bool)  # [batch]
        with torch.set_grad_enabled(self.graph):
            for _ in range(count - self.fewer):
                chosen = model(self.shown(tokens, context))[:, -1].argmax(-1)  # [batch]
                chosen = torch.where(ended, end, chosen) if self.forces_end else chosen  # [batch]
                tokens = torch.cat((tokens, chosen[:, None]), dim=1)  # [batch, time + 1]
                ended = ended | (chosen == end) if self.keep_flags else chosen == end  # [batch]
                if self.stop_at != "never" and bool(ended.all() if self.stop_at == "all" else ended.any()):
                    break
        return tokens  # [batch, time + written]

    def shown(self, tokens: Tensor, context: int) -> Tensor:
        """The part of `tokens` [batch, time] that the model reads."""
        ways = {"latest": tokens[:, -context:], "first": tokens[:, :context], "newest": tokens[:, -1:], "all": tokens}
        return ways[self.window]


def unchanged(_model: nn.Module, tokens: Tensor, _count: int, _context: int, _end: int) -> Tensor:
    return tokens


def whole_logits(model: nn.Module, tokens: Tensor, count: int, context: int, _end: int) -> Tensor:
    with torch.no_grad():
        for _ in range(count):
            tokens = torch.cat((tokens, model(tokens[:, -context:]).argmax(-1)), dim=1)  # [batch, longer]
    return tokens


MUTANTS: dict[str, Write] = {
    "unchanged": unchanged,
    "whole_logits": whole_logits,
    "never_stops": Loop(keep_flags=False, forces_end=False, stop_at="never"),
    "no_flags": Loop(keep_flags=False, forces_end=False),
    "not_forced": Loop(forces_end=False),
    "stops_at_first": Loop(stop_at="any"),
    "prompt_ends": Loop(prompt_ends=True),
    "not_cropped": Loop(window="all"),
    "keeps_beginning": Loop(window="first"),
    "newest_only": Loop(window="newest"),
    "one_too_few": Loop(fewer=1),
    "builds_graph": Loop(graph=True),
}


def run(part: Write, case: Case) -> Tensor:
    """Let the part write with a toy model; what was written, or how the model was used, where the case asks for that."""
    model = ToyModel(case.settings["seed"])
    with torch.enable_grad():
        written = part(model, case.inputs["tokens"], case.settings["count"], case.settings["context"], END)
    if case.settings.get("usage"):
        return torch.tensor([model.calls, model.widest, model.with_graph])  # [3]
    return written


def written_lengths(case: Case) -> list[int]:
    """How many tokens each row of a case gets before its end, by the right loop."""
    rows = run(Loop(), case)[:, case.inputs["tokens"].shape[1] :]  # [batch, written]
    return [int((row != END).sum()) for row in rows]


def found(make: Callable[[int], Case], wanted: Callable[[list[int]], bool]) -> Case:
    """The first case, over the toy models, whose rows end as `wanted`."""
    return next(case for case in map(make, numbers()) if wanted(written_lengths(case)))


def cases(generator: torch.Generator) -> list[Case]:
    """A short one; rows that all end, apart; one row alone; rows that do not all end; a long prompt; the use."""

    def draw(name: Text, batch: int, time: int, count: int, context: int, usage: bool = False) -> Callable[[int], Case]:
        tokens = torch.randint(1, SIZE, (batch, time), generator=generator)  # [batch, time]
        if time > 4:
            tokens[0, 2] = END
        first = int(torch.randint(0, 2**30, (), generator=generator))
        settings = {"count": count, "context": context, "usage": usage}
        return lambda number: Case(name, {"tokens": tokens}, settings | {"seed": first + number})

    def all_end_apart(lengths: list[int]) -> bool:
        return max(lengths) < 7 and min(lengths) + 1 < max(lengths)

    def ends_early(lengths: list[int]) -> bool:
        return 1 < lengths[0] < 5

    def some_do_not(lengths: list[int]) -> bool:
        return max(lengths) == 8 and min(lengths) < 5

    def none_ends(lengths: list[int]) -> bool:
        return min(lengths) >= 3

    return [
        found(draw(Text("a small example", "小例子"), 2, 3, 3, 16), none_ends),
        found(draw(Text("rows that end at different places", "各行在不同地方结束"), 3, 3, 8, 16), all_end_apart),
        found(draw(Text("one row, which ends", "只有一行，会结束"), 1, 3, 8, 16), ends_early),
        found(draw(Text("a row that does not end", "有一行没有结束"), 3, 5, 8, 32), some_do_not),
        found(draw(Text("a prompt longer than the context", "提示比上下文长"), 2, 9, 5, 4), none_ends),
        draw(Text("calls, tokens at once, calls with a graph", "调用次数、一次读几个、建图的次数"), 2, 6, 8, 5, True)(
            0
        ),
    ]


def is_a_continuation(part: Write, generator: torch.Generator) -> bool:
    """More steps only add to what fewer have written, and the prompt is left as it was."""
    tokens = torch.randint(1, SIZE, (2, 4), generator=generator)  # [2, 4]
    before = tokens.clone()  # [2, 4]
    short, long = part(ToyModel(1), tokens, 2, 8, END), part(ToyModel(1), tokens, 6, 8, END)
    return torch.equal(long[:, : short.shape[1]], short) and torch.equal(tokens, before)


def no_step_no_token(part: Write, generator: torch.Generator) -> bool:
    """With count 0 the prompt comes back."""
    tokens = torch.randint(1, SIZE, (3, 2), generator=generator)  # [3, 2]
    return torch.equal(part(ToyModel(2), tokens, 0, 8, END), tokens)


CHECK = Check(
    part="generate",
    parameters=("model", "tokens", "count", "context", "end"),
    axes=("batch", "time"),
    cases=cases,
    run=run,
    reference=Loop(),
    mutants=MUTANTS,
    invariants=(
        Invariant(
            Text("writing longer changes what was written before", "多写几步，前面写的却变了"), is_a_continuation
        ),
        Invariant(
            Text("with count 0 the prompt does not come back", "count 为 0 时没有原样返回提示"), no_step_no_token
        ),
    ),
)
