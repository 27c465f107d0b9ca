"""The best loss you will ever see: a language model that may look at the answer, and what it is worth without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from minimind.events import Claim, Event, Level, Note, Sample, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results, differences, on_text, results_table, train_arms, trained_copy
from minimind.lab.attention import byte_labels, weights_picture
from minimind.lab.floors import ngram_loss, uniform_loss
from minimind.lab.text import ByteText, byte_text, evaluate
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import agree, is_lower, means
from minimind.model.probe import attention_weights
from minimind.model.transformer import MiniMind
from minimind.model.variants.attention import set_mask

SAID_STEPS = 80
"""With fewer steps the leak is hardly found yet: comparisons stay undecided."""
PROMPT = "The "
WRITTEN = 60
TIME = 32


@experiment(
    title=Text("A mask with a hole", "漏了的掩码"),
    question=Text(
        "Without the causal mask the loss is wonderful. What is such a model worth?",
        "去掉因果掩码，损失好得出奇。这样的模型值什么？",
    ),
    parameters={
        "steps": Parameter(Text("training steps", "训练步数"), low=10, high=2000),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 250},
    deep={"seeds": 5, "steps": 1500},
    smoke={"seeds": 1, "steps": 20},
    predict=Text(
        "A model trained without the mask is then used as a language model must be: it sees only the past. Its loss is …",
        "一个训练时没有掩码的模型，用的时候只能看过去，就像语言模型本来那样。它的损失会……",
    ),
    choices=(
        Text("lower than the honest model's", "比老实的模型低"),
        Text("about the same", "差不多"),
        Text("higher, but better than byte frequencies", "更高，但好过只知道字节频率"),
        Text("worse than knowing only byte frequencies", "比只知道字节频率还差"),
    ),
    names={
        "loss": Text("Training loss (nats a byte)", "训练损失（nats/字节）"),
        "loss_held_out": Text("Held out, seeing only the past", "留出文本，只看过去"),
        "masked": Text("with mask", "有掩码"),
        "leaky": Text("without mask", "无掩码"),
        "byte frequencies": Text("byte frequencies", "字节频率"),
        "guessing": Text("guessing", "瞎猜"),
    },
)
def mask_leak(steps: int = 500, seeds: int = 3) -> Iterator[Event]:
    """Train with and without the mask; evaluate both as trained and as used; let both write."""
    text = byte_text()
    arms = [
        Arm("masked", lambda seed: tiny_model(seed=seed, max_position_embeddings=TIME), {"mask": "causal"}),
        Arm("leaky", _without_mask, {"mask": "none"}),
    ]
    yield differences(arms)
    frequencies = ngram_loss(text.train, text.held_out, 1)
    for chart in ("loss", "loss_held_out"):
        yield Level(chart, "byte frequencies", frequencies)
    batches = text.evaluation(16, TIME)
    plan = replace(
        on_text(text, steps, seeds=seeds, time=TIME),
        measures={
            "as_used": lambda model: evaluate(_seeing_the_past(model), batches),
            "as_trained": lambda model: evaluate(model, batches),
            "leak": lambda model: leak(model, batches[0][0]),
        },
        evaluate_every=max(5, steps // 10),
    )
    results = yield from train_arms(arms, plan)
    labels = {
        "as_used": Text("seeing the past", "只看过去"),
        "as_trained": Text("as trained", "按训练时"),
        "leak": Text("leak", "泄漏"),
    }
    yield results_table(arms, results, Text("Held-out loss (nats a byte)", "留出损失（nats/字节）"), labels)
    yield from _pictures(results, text)
    for arm in arms:
        yield _writes(results.models[arm.name], arm.name, steps)
    yield from _claims(results, frequencies, steps >= SAID_STEPS)


def _without_mask(seed: int) -> MiniMind:
    return tiny_model(seed=seed, change=lambda model: set_mask(model, "none"), max_position_embeddings=TIME)


def _seeing_the_past(model: MiniMind) -> MiniMind:
    """A copy with the causal mask, whatever the model was trained with."""
    copied = trained_copy(model)
    set_mask(copied, "causal")
    return copied


@torch.no_grad()
def leak(model: MiniMind, tokens: Tensor) -> float:
    """The largest change of any earlier logit when the last of `tokens` [batch, time] is another: 0 without a leak."""
    other = tokens.clone()  # [batch, time]
    other[:, -1] = (other[:, -1] + 1) % model.config.vocab_size
    change = model(other)[:, :-1] - model(tokens)[:, :-1]  # [batch, time - 1, vocabulary]
    return float(change.abs().max())


def _pictures(results: Results, text: ByteText) -> Iterator[Event]:
    """Where the two trained models look in one line: the leaky one one step ahead."""
    tokens = text.held_out[None, :20]  # [1, time]
    labels = byte_labels(tokens[0])
    titles = {
        "masked": Text("With the mask: layer 1, mean of the heads", "有掩码：第 1 层，各头平均"),
        "leaky": Text("Without: one step right of the diagonal is the answer", "无掩码：对角线右边一格就是答案"),
    }
    for arm, title in titles.items():
        weights = attention_weights(results.models[arm], tokens)[0].mean(1)[0]  # [time, time]
        yield weights_picture(f"weights_{arm}", weights, labels, title)


@torch.no_grad()
def _writes(model: MiniMind, name: str, step: int) -> Event:
    """What the model writes, each time the byte it thinks likeliest."""
    tokens = torch.tensor([list(PROMPT.encode())])  # [1, time]
    for _ in range(WRITTEN):
        following = model.eval()(tokens[:, -TIME:])[:, -1:].argmax(-1)  # [1, 1]
        tokens = torch.cat((tokens, following), 1)  # [1, time + 1]
    model.train()
    written = bytes(tokens[0].tolist()[len(PROMPT) :]).decode("utf-8", "replace")
    return Sample(step, PROMPT, written, name)


def _claims(results: Results, frequencies: float, said: bool) -> Iterator[Event]:
    honest, used = results.of("masked", "as_used"), results.of("leaky", "as_used")
    trained = results.of("leaky", "as_trained")
    mean, base = results.mean("leaky", "as_used"), results.mean("masked", "as_used")
    choice = 0 if mean < base - 0.1 else 1 if mean < base + 0.1 else 2 if mean < frequencies else 3
    yield Note(
        Text(f"Guessing costs {uniform_loss():.2f} nats a byte.", f"瞎猜的损失是 {uniform_loss():.2f} nats/字节。")
    )
    yield Claim(
        "prediction", Text(f"{mean:.2f}, honest {base:.2f}", f"{mean:.2f}，老实的 {base:.2f}"), {"choice": choice}, True
    )
    yield Claim(
        "it_looks_better_than_it_could_be",
        Text("As it was trained, the leaky model has by far the lower loss", "按训练时的方式评测，无掩码的损失低得多"),
        means(leaky=trained, honest=honest),
        is_lower(trained, honest, noise=0.5) if said else None,
    )
    yield Claim(
        "it_is_worth_nothing",
        Text(
            "Seeing only the past, it is worse than knowing how often each byte occurs",
            "只看过去时，它还不如只知道各字节出现的频率",
        ),
        means(leaky=used, honest=honest) | {"frequencies": frequencies, "guessing": uniform_loss()},
        agree([loss > frequencies for loss in used]) if said else None,
    )
    leaks, tight = results.of("leaky", "leak"), results.of("masked", "leak")
    yield Claim(
        "one_test_finds_the_leak",
        Text(
            "Change the last token: with the mask no earlier logit moves, not in the last bit; without it they do",
            "改掉最后一个词元：有掩码时，前面的 logit 一个都不变，一位都不差；没有时就会变",
        ),
        means(leaky=leaks, masked=tight),
        agree([a > 1e-3 and b == 0.0 for a, b in zip(leaks, tight, strict=True)]),
    )
