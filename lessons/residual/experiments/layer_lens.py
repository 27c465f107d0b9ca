"""What would a trained model say if it stopped early? The logit lens on the model that comes with the package."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise

import torch
from torch import Tensor

from minimind.data.corpus import pretrain_documents
from minimind.data.tokenizer import Tokenizer
from minimind.events import Claim, Event, Progress, Scalars, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.inference.engine import Engine
from minimind.model.probe import logit_lens

LENGTH = 96
SHOWN = 8
PROMPTS = {
    "rabbit": "Once there was a rabbit named Pip. He lived near the barn.",
    "兔子": "从前有一只小兔子，名叫跳跳。它家离车站不远。",
}


@experiment(
    title=Text("Reading the stream early", "提前读残差流"),
    question=Text(
        "Stop after each layer and ask for the next token. When does the model know what it will say?",
        "每过一层就停下来问下一个词元。模型什么时候知道自己要说什么？",
    ),
    parameters={
        "prompt": Parameter(Text("text shown", "显示哪段文本"), choices=tuple(PROMPTS)),
        "documents": Parameter(Text("documents counted", "统计多少篇文档"), low=1, high=500),
    },
    quick={"documents": 30},
    deep={"documents": 400},
    smoke={"documents": 3},
    predict=Text(
        "The model has several layers. After the first, at what share of positions is the likeliest token already "
        "the one it will say in the end?",
        "模型有好几层。只过第一层时，有多大比例的位置，最可能的词元已经是最后要说的那个？",
    ),
    choices=(
        Text("under a third", "不到三分之一"),
        Text("between one and two thirds", "三分之一到三分之二"),
        Text("over two thirds", "超过三分之二"),
    ),
    names={
        "settled": Text("Share of positions that already agree with the end", "已与最终答案一致的位置所占比例"),
        "layer": Text("layer", "层"),
        "agree": Text("agree", "一致"),
    },
)
def layer_lens(prompt: str = "rabbit", documents: int = 100) -> Iterator[Event]:
    """The last norm and the output layer, applied to the stream after every block of ``nano-chat``."""
    engine = Engine.open("nano-chat", device="cpu", dtype="float32")
    model, tokenizer = engine.model, engine.tokenizer
    tokens = torch.tensor([tokenizer.encode(PROMPTS[prompt])])  # [1, time]
    yield _table(tokenizer, tokens, logit_lens(model, tokens))
    agreed = torch.zeros(model.config.num_hidden_layers)  # [layers]
    positions = 0
    for done, document in enumerate(islice(pretrain_documents(split="validation"), documents), 1):
        ids = tokenizer.encode(document)[:LENGTH]
        if len(ids) > 1:
            answers = logit_lens(model, torch.tensor([ids])).argmax(-1)[:, 0]  # [layers, time]
            agreed += (answers == answers[-1]).float().sum(-1)  # [layers]
            positions += len(ids)
        yield Progress(done, documents)
    shares = (agreed / positions).tolist()
    for layer, share in enumerate(shares, 1):
        yield Scalars(layer, {"agree": share}, axis="layer", chart="settled")
    yield from _claims(shares, documents)


def _table(tokenizer: Tokenizer, tokens: Tensor, lens: Tensor) -> Event:
    """The likeliest next token after each layer, for the last positions of the text."""
    shown = range(max(0, tokens.shape[1] - SHOWN), tokens.shape[1])
    best = lens[:, 0].argmax(-1)  # [layers, time]
    columns = (Text("after", "之后"), *(Text(*[tokenizer.decode([int(tokens[0, place])])] * 2) for place in shown))
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (f"{layer + 1}", *(tokenizer.decode([int(best[layer, place])]) for place in shown))
        for layer in range(len(best))
    )
    return Table(
        "lens",
        columns,
        rows,
        Text("Likeliest next token after each layer (top line: the text)", "每层之后最可能的下一个词元（首行是原文）"),
    )


def _claims(shares: list[float], documents: int) -> Iterator[Event]:
    first, before_last = shares[0], shares[-2]
    choice = 0 if first < 1 / 3 else 1 if first < 2 / 3 else 2
    yield Claim("prediction", Text(f"{first:.0%}", f"{first:.0%}"), {"choice": choice}, True)
    yield Claim(
        "settles_step_by_step",
        Text(
            "The answer settles layer by layer: each agrees with the end more often",
            "答案逐层定下来：越往后与最终一致的越多",
        ),
        {"first": 100 * first, "before_last": 100 * before_last, "layers": len(shares), "documents": documents},
        all(earlier < later for earlier, later in pairwise(shares)),
    )
    yield Claim(
        "the_last_layer_still_matters",
        Text("Before the last layer some answers still change", "到最后一层之前，仍有答案会变"),
        {"change": 100 * (1 - before_last)},
        before_last < 0.95,
    )
