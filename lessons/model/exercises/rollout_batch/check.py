"""Cases, reference and mutants of the exercise on a batch of prompts of different lengths."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.config import ModelConfig
from minimind.events import Text
from minimind.model.transformer import MiniMind

Prompts = list[list[int]]
Batch = tuple[Tensor, Tensor, Tensor]
Make = Callable[[Prompts, int], Batch]
SIZE, PAD = 20, 0
CONFIG = ModelConfig(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    intermediate_size=32,
    vocab_size=SIZE,
)


@dataclass(frozen=True)
class Packing:
    """The right batch. Each setting, where it is not as here, is a mistake."""

    side: str = "left"
    as_if_right: bool = False
    hides: str = "keys"
    looks_at_itself: bool = True
    causal: bool = True
    inverted: bool = False
    by_value: bool = False
    keeps_order: bool = True
    shortest: bool = False

    def __call__(self, prompts: Prompts, pad: int) -> Batch:
        if not self.keeps_order:
            prompts = sorted(prompts, key=len, reverse=True)
        if self.shortest:
            prompts = [prompt[-min(map(len, prompts)) :] for prompt in prompts]
        time = max(map(len, prompts))
        padding = torch.tensor([time - len(prompt) for prompt in prompts])[:, None]  # [batch, 1]
        columns = torch.arange(time)  # [time]
        if self.side == "left":
            rows = [[pad] * (time - len(prompt)) + prompt for prompt in prompts]
            real, own = columns >= padding, (columns - padding).clamp(min=0)  # [batch, time]
        else:
            rows = [prompt + [pad] * (time - len(prompt)) for prompt in prompts]
            real, own = columns < time - padding, columns.expand(len(prompts), -1)  # [batch, time]
        tokens = torch.tensor(rows)  # [batch, time]
        return tokens, self.placed(own, padding), self.mask(tokens != pad if self.by_value else real)

    def placed(self, own: Tensor, padding: Tensor) -> Tensor:
        """Where each token stands, from its `own` place [batch, time] and how much `padding` [batch, 1] there is."""
        if not self.as_if_right:
            return own  # [batch, time]
        columns = torch.arange(own.shape[1])  # [time]
        return columns * (columns < own.shape[1] - padding)  # [batch, time]

    def mask(self, real: Tensor) -> Tensor:
        """Who may look where, from which tokens are `real` [batch, time]."""
        time = real.shape[1]
        mask = torch.ones(len(real), time, time, dtype=torch.bool)  # [batch, time, time]
        if self.causal:
            mask = mask.tril()  # [batch, time, time]
        if self.hides == "keys":
            mask = mask & real[:, None]  # [batch, time, time]
        if self.hides == "queries":
            mask = mask & real[:, :, None]  # [batch, time, time]
        if self.looks_at_itself:
            mask = mask | torch.eye(time, dtype=torch.bool)  # [batch, time, time]
        return (~mask if self.inverted else mask)[:, None]  # [batch, 1, time, time]


def last_token_only(prompts: Prompts, _pad: int) -> Batch:
    tokens = torch.tensor([prompt[-1:] for prompt in prompts])  # [batch, 1]
    return tokens, torch.zeros_like(tokens), torch.ones(1, 1, 1, 1, dtype=torch.bool)


MUTANTS: dict[str, Make] = {
    "last_token_only": last_token_only,
    "right_padding": Packing(side="right"),
    "padding_visible": Packing(hides="nothing"),
    "hides_queries": Packing(hides="queries", looks_at_itself=False),
    "sees_the_future": Packing(causal=False),
    "inverted_mask": Packing(inverted=True),
    "positions_as_if_right": Packing(as_if_right=True),
    "padding_by_value": Packing(by_value=True),
    "sorted": Packing(keeps_order=False),
    "cut_to_shortest": Packing(shortest=True),
}


@cache
def toy_model(seed: int) -> MiniMind:
    """A small network far from its small initial values, so that every token and place counts."""
    model = MiniMind(CONFIG)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4 + float(parameter.dim() == 1))
    return model


def next_scores(part: Make, prompts: Prompts, pad: int, seed: int) -> Tensor:
    """What the model says after each prompt [batch, vocabulary], all of them read as the part's batch."""
    tokens, positions, mask = part([list(prompt) for prompt in prompts], pad)
    scores: Tensor = toy_model(seed)(tokens, positions=positions, mask=mask)[:, -1]  # [batch, vocabulary]
    return scores


def run(part: Make, case: Case) -> Tensor:
    """Let the model read the part's batch."""
    return next_scores(part, case.settings["prompts"], PAD, case.settings["seed"])


def cases(generator: torch.Generator) -> list[Case]:
    """Two prompts, several, one alone, and prompts in which the padding's id is a word like any other."""

    def draw(name: Text, lengths: tuple[int, ...], real_pad: bool = False) -> Case:
        prompts = [torch.randint(1, SIZE, (length,), generator=generator).tolist() for length in lengths]
        if real_pad:
            prompts = [[PAD, *prompt, PAD, prompt[0]] for prompt in prompts]
        seed = int(torch.randint(0, 2**31, (), generator=generator))
        return Case(name, {}, {"prompts": prompts, "seed": seed}, relative=1e-3, absolute=1e-3)

    return [
        draw(Text("a small example", "小例子"), (2, 4)),
        draw(Text("four prompts", "四条提示"), (3, 7, 1, 5)),
        draw(Text("one prompt alone", "只有一条提示"), (5,)),
        draw(Text("prompts that contain the padding's id", "提示里含有填充用的编号"), (2, 4), real_pad=True),
    ]


def is_as_each_alone(part: Make, generator: torch.Generator) -> bool:
    """Every prompt gets the answer it gets without the others."""
    prompts = [torch.randint(0, SIZE, (length,), generator=generator).tolist() for length in (6, 2, 4)]
    alone = [toy_model(1)(torch.tensor([prompt]))[0, -1] for prompt in prompts]
    return torch.allclose(next_scores(part, prompts, PAD, 1), torch.stack(alone), rtol=1e-3, atol=1e-3)


def padding_is_nothing(part: Make, generator: torch.Generator) -> bool:
    """Which id pads makes no difference."""
    prompts = [torch.randint(1, SIZE, (length,), generator=generator).tolist() for length in (1, 5)]
    first, second = next_scores(part, prompts, PAD, 2), next_scores(part, prompts, SIZE - 1, 2)
    return torch.allclose(first, second, rtol=1e-3, atol=1e-3)


CHECK = Check(
    part="rollout_batch",
    parameters=("prompts", "pad"),
    axes=("batch", "vocabulary"),
    cases=cases,
    run=run,
    reference=Packing(),
    mutants=MUTANTS,
    invariants=(
        Invariant(
            Text("a prompt gets another answer in the batch than alone", "一条提示在批里和单独时，答案不同"),
            is_as_each_alone,
        ),
        Invariant(Text("the padding's id changes the answer", "换个填充编号，答案就变了"), padding_is_nothing),
    ),
)
