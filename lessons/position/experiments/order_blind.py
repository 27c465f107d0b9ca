"""Does a Transformer notice when the words are shuffled? With and without positions, with and without a causal mask.

The same untrained network reads a sentence and its shufflings. A network that is blind to order gives each word the
same vector wherever it stands: its outputs are shuffled as the words were (it is *equivariant*), not unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from minimind.events import Claim, Event, Heatmap, Progress, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import agree
from minimind.model.probe import attention_weights
from minimind.model.transformer import MiniMind
from minimind.model.variants.attention import Mask, set_mask
from minimind.model.variants.positions import Positions, set_positions

SENTENCES = {"dog": "the dog bites the old man today", "猫狗": "狗 追 猫 猫 追 鼠 了", "alphabet": "a b c d e f g h"}
POSITIONS: tuple[Positions, ...] = ("none", "rotary", "learned", "sinusoidal", "alibi")
MASKS: tuple[Mask, ...] = ("none", "causal")
BLIND = 1e-4
"""Outputs have size 1; a smaller difference is rounding."""
MASK_NAMES = {"none": Text("sees everything", "全部可见"), "causal": Text("causal", "因果")}


@experiment(
    title=Text("Shuffled words", "打乱词序"),
    question=Text(
        "“The dog bites the man” and “the man bites the dog”: does the network notice?",
        "“狗咬人”和“人咬狗”，网络分得清吗？",
    ),
    parameters={
        "sentence": Parameter(Text("sentence", "句子"), choices=tuple(SENTENCES)),
        "shown": Parameter(Text("drawn: positions", "画出的网络：位置编码"), choices=POSITIONS),
        "causal": Parameter(Text("drawn: causal mask", "画出的网络：因果掩码")),
        "layers": Parameter(Text("layers", "层数"), low=1, high=4),
        "shufflings": Parameter(Text("shufflings tried", "打乱次数"), low=1, high=20),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=10),
    },
    quick={"seeds": 1},
    deep={"seeds": 10},
    smoke={"seeds": 1, "shufflings": 2},
    predict=Text(
        "No positions at all. Which of these networks gives a word another vector when the words around it are shuffled?",
        "完全没有位置编码。打乱一个词周围的词，下面哪种网络会给它不同的向量？",
    ),
    choices=(
        Text("neither: without positions order is invisible", "都不会：没有位置编码就看不见顺序"),
        Text("only the one with a causal mask, like GPT", "只有带因果掩码的，比如 GPT"),
        Text("only the one that sees everything, like BERT", "只有全部可见的，比如 BERT"),
        Text("both", "都会"),
    ),
)
def order_blind(
    sentence: str = "dog",
    shown: str = "none",
    causal: bool = False,
    layers: int = 2,
    shufflings: int = 5,
    seeds: int = 3,
) -> Iterator[Event]:
    """Measure every combination; draw the attention of one, before and after reversing the sentence."""
    words = SENTENCES[sentence].split()
    tokens = _tokens(words)
    arms = list(product(POSITIONS, MASKS))
    errors: dict[tuple[str, str], list[float]] = {arm: [] for arm in arms}
    moved: list[float] = []
    for seed, (positions, mask) in product(range(seeds), arms):
        model = _model(seed, layers, positions, mask)
        if seed == 0 and (positions, mask) == (shown, "causal" if causal else "none"):
            yield from _maps(model, tokens, words, causal)
        errors[positions, mask].append(max(_follows(model, tokens, order) for order in _orders(tokens, shufflings)))
        if (positions, mask) == ("none", "none"):
            moved.append(_stays(model, tokens))
        yield Progress(seed * len(arms) + arms.index((positions, mask)) + 1, seeds * len(arms))
    yield _table(errors)
    last = {depth: [_last_word(seed, depth, tokens, shufflings) for seed in range(seeds)] for depth in (1, 2)}
    yield from _claims(errors, moved, last)


def _tokens(words: list[str]) -> Tensor:
    """A number for each different word, [1, time]."""
    numbers = {word: index for index, word in enumerate(dict.fromkeys(words))}
    return torch.tensor([[numbers[word] for word in words]])  # [1, time]


def _model(seed: int, layers: int, positions: Positions, mask: Mask) -> MiniMind:
    """Untrained, with matrices drawn so large that attention is far from even, as after training."""
    model = tiny_model("T0", seed=seed, num_hidden_layers=layers)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(1.5 / math.sqrt(parameter.shape[1]) / 0.02)
    set_positions(model, positions)
    set_mask(model, mask)
    return model.eval()


def _orders(tokens: Tensor, count: int) -> list[Tensor]:
    """The sentence backwards, then random orders: where each word of the new sentence comes from, [time]."""
    time = tokens.shape[1]
    generator = torch.Generator().manual_seed(0)
    return [torch.arange(time).flip(0), *(torch.randperm(time, generator=generator) for _ in range(count))]


@torch.no_grad()
def _follows(model: MiniMind, tokens: Tensor, order: Tensor) -> float:
    """How far the outputs of the shuffled sentence are from the shuffled outputs of the sentence."""
    return float((model.hidden(tokens[:, order]) - model.hidden(tokens)[:, order]).abs().max())


@torch.no_grad()
def _stays(model: MiniMind, tokens: Tensor) -> float:
    """How far the output at each place changes when the sentence is read backwards."""
    return float((model.hidden(tokens.flip(1)) - model.hidden(tokens)).abs().max())


@torch.no_grad()
def _last_word(seed: int, layers: int, tokens: Tensor, shufflings: int) -> float:
    """Causal, no positions: how far the last word's vector changes when those before it are shuffled."""
    model = _model(seed, layers, "none", "causal")
    earlier = _orders(tokens[:, :-1], shufflings)
    last = model.hidden(tokens)[:, -1]  # [1, hidden]
    final = tokens[:, -1:]  # [1, 1]
    return max(
        float((model.hidden(torch.cat((tokens[:, order], final), 1))[:, -1] - last).abs().max()) for order in earlier
    )


def _maps(model: MiniMind, tokens: Tensor, words: list[str], causal: bool) -> Iterator[Event]:
    """The last layer's attention: of the sentence, and of the sentence read backwards with its rows sorted back."""
    backwards = torch.arange(len(words)).flip(0)  # [time]
    mask = None if causal else torch.ones(len(words), len(words), dtype=torch.bool)  # [time, time]
    for name, order in (("sentence", torch.arange(len(words))), ("backwards", backwards)):
        weights = attention_weights(model, tokens[:, order], mask=mask)[-1][0].mean(0)  # [time, time]
        sorted_back = weights[order.argsort()][:, order.argsort()]  # [time, time]
        title = (
            Text("Who looks at whom, as written", "谁看谁：原句")
            if name == "sentence"
            else Text("Read backwards, sorted back by word", "倒着读，再按词排回来")
        )
        rows = tuple(tuple(row) for row in sorted_back.tolist())
        yield Heatmap(name, rows, tuple(words), tuple(words), 0.0, 1.0, title)


def _table(errors: dict[tuple[str, str], list[float]]) -> Event:
    columns = (Text("positions", "位置编码"), *(MASK_NAMES[mask] for mask in MASKS))
    rows = tuple((kind, *(f"{max(errors[kind, mask]):.1e}" for mask in MASKS)) for kind in POSITIONS)
    title = Text("How far outputs are from merely being shuffled along", "输出与“只是跟着换位”相差多少")
    return Table("errors", columns, rows, title)


def _claims(
    errors: dict[tuple[str, str], list[float]], moved: Sequence[float], last: dict[int, list[float]]
) -> Iterator[Event]:
    blind, causal = errors["none", "none"], errors["none", "causal"]
    seeds = len(blind)
    notices = (max(causal) > BLIND, max(blind) > BLIND)
    choice = {(False, False): 0, (True, False): 1, (False, True): 2, (True, True): 3}[notices]
    said = Text("only the one with a causal mask", "只有带因果掩码的") if choice == 1 else Text("see below", "见下")
    yield Claim("prediction", said, {"choice": choice}, True)
    yield Claim(
        "blind_without_both",
        Text(
            "Without positions and mask every word keeps its vector in any order, up to rounding",
            "既没有位置编码也没有掩码时，无论怎么排，每个词的向量除舍入外不变",
        ),
        {"error": max(blind), "seeds": seeds},
        agree([error < BLIND for error in blind]),
    )
    yield Claim(
        "outputs_move_along",
        Text(
            "Even then the outputs are not the same: they change places with the words",
            "即便如此，输出也不是原样不动：它们跟着词换了位置",
        ),
        {"change": min(moved), "seeds": seeds},
        agree([change > 0.1 for change in moved]),
    )
    yield Claim(
        "mask_shows_order",
        Text("A causal mask alone, without positions, makes order visible", "只加因果掩码、不加位置编码，就看得见顺序"),
        {"error": min(causal), "seeds": seeds},
        agree([error > 0.1 for error in causal]),
    )
    kinds: dict[str, float] = {kind: min(errors[kind, "none"]) for kind in POSITIONS if kind != "none"}
    yield Claim(
        "positions_show_order",
        Text("Every kind of positions makes order visible without a mask", "不用掩码，任何一种位置编码都能看见顺序"),
        {**kinds, "seeds": seeds},
        agree([error > 0.1 for kind in kinds for error in errors[kind, "none"]]),
    )
    yield Claim(
        "mask_needs_two_layers",
        Text(
            "With the mask alone one layer still cannot tell in which order earlier words came; two layers can",
            "只有掩码时，一层仍分不清前面的词谁先谁后，两层就能",
        ),
        {"one": max(last[1]), "two": min(last[2]), "seeds": seeds},
        agree([one < BLIND and two > 0.1 for one, two in zip(last[1], last[2], strict=True)]),
    )
