"""Neurons as keys and values: what wakes each neuron of a trained feed-forward, and what it writes when it wakes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from minimind.events import Claim, Event, Note, Progress, Scalars, Table, Text
from minimind.experiment import Number, Parameter, experiment
from minimind.lab.arms import Arm, Results, train_arms, trained_copy
from minimind.lab.feed_forward import facts_network, facts_plan, inner_activations, neuron_off, percents
from minimind.lab.stages import stage
from minimind.lab.tasks import Facts, accuracy
from minimind.lab.verdicts import agree, means
from minimind.model.transformer import MiniMind

TOP = 10
"""How many of the facts that wake a neuron most are looked at."""
SHOWN, SAID_RECALL = 8, 0.9
ARM = "network"


@dataclass(frozen=True)
class Examined:
    """What was found in one network. Everything but `lost` is a share; `lost` [neurons] counts facts.

    `alike` is how many of the facts that wake a neuron share one relation, `alike_before` the same before training and
    `alike_chance` for random facts; `subject` and `subject_chance` for subjects. `rank` is where a neuron's value puts the answers of its facts among
    all answers: 1 is first, 0 last, one half is chance.
    """

    recall: float
    alike: float
    alike_before: float
    alike_chance: float
    subject: float
    subject_chance: float
    rank: float
    awake: float
    lost: tuple[int, ...]


@experiment(
    title=Text("Keys and values", "键与值"),
    question=Text(
        "Which facts wake a neuron, what does it write when it wakes, and what is forgotten when it is taken out?",
        "哪些事实会唤醒一个神经元？它醒来时写下什么？去掉它会忘掉什么？",
    ),
    parameters={
        "facts_count": Parameter(Text("facts", "事实数"), low=64, high=2000),
        "steps": Parameter(Text("training steps", "训练步数"), low=5, high=4000),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1},
    deep={"seeds": 5, "steps": 2000},
    smoke={"seeds": 1, "steps": 10, "facts_count": 64},
    predict=Text(
        "A network with 128 neurons knows 600 facts by heart. Take out one neuron: how many facts does it forget, "
        "on average over the neurons?",
        "一个有 128 个神经元的网络背下了 600 条事实。去掉一个神经元，平均会忘掉多少条？",
    ),
    number=Number(0, 600, Text("facts", "条事实"), within=2.0, margin=1.0),
    names={
        "loss": Text("Training loss", "训练损失"),
        "loss_held_out": Text("Share of facts known", "记住的事实比例"),
        "step": Text("step", "步"),
        "lost": Text("Facts lost without a neuron, neurons in order", "去掉一个神经元丢失的事实（神经元按此排序）"),
        "neuron": Text("neuron", "神经元"),
        "facts": Text("facts lost", "丢失的事实"),
        ARM: Text("network", "网络"),
    },
)
def key_value(facts_count: int = 600, steps: int = 800, seeds: int = 3) -> Iterator[Event]:
    """A network of one layer learns the facts; then its feed-forward is read neuron by neuron."""
    found: list[Examined] = []
    for seed in range(seeds):
        task = Facts(count=facts_count, seed=seed)
        untrained = facts_network(task, 1)(seed)
        training = train_arms([Arm(ARM, _copies_of(untrained))], facts_plan(task, steps, 1))
        results: Results = yield from _quietly(stage(training, 2 * seed, 2 * seeds), shown=seed == 0)
        model = results.models[ARM].eval()
        examined = yield from stage(_examine(model, untrained, task), 2 * seed + 1, 2 * seeds)
        found.append(examined)
        if seed == 0:
            yield _table(model, task)
            for neuron, lost in enumerate(sorted(examined.lost, reverse=True), 1):
                yield Scalars(neuron, {"facts": lost}, axis="neuron", chart="lost")
    yield Note(
        Text(
            "S, R and A are subjects, relations and answers. A neuron's value is its column of down_proj, read by the "
            "output layer.",
            "S、R、A 分别是主语、关系和答案。神经元的值是它在 down_proj 里的那一列，由输出层来读。",
        )
    )
    yield from _claims(found, facts_count)


def _copies_of(model: MiniMind) -> Callable[[int], MiniMind]:
    """How an arm is built that begins as `model`, which itself stays untrained."""
    return lambda _seed: trained_copy(model).train()


def _quietly(run: Generator[Event, None, Results], *, shown: bool) -> Generator[Event, None, Results]:
    """`run`, with its curves only where they are to be `shown`: those of later seeds would be drawn over the first's."""
    while True:
        try:
            event = next(run)
        except StopIteration as end:
            results: Results = end.value
            return results
        if shown or isinstance(event, Progress):
            yield event


def _examine(model: MiniMind, untrained: MiniMind, task: Facts) -> Generator[Event, None, Examined]:
    tokens, labels = task.facts()
    inner = awake_at_the_end(model, tokens)  # [facts, neurons]
    recall = accuracy(model, tokens, labels)
    generator = torch.Generator().manual_seed(task.seed)
    by_chance = torch.stack([torch.randperm(len(tokens), generator=generator)[:TOP] for _ in range(inner.shape[1])])
    top = inner.topk(TOP, dim=0).indices.T  # [neurons, top]
    right = _right(model, tokens, labels)  # [facts]
    lost = []
    for neuron in range(inner.shape[1]):
        with neuron_off(model, 0, neuron):
            lost.append(int((right & ~_right(model, tokens, labels)).sum()))
        yield Progress(neuron + 1, inner.shape[1])
    return Examined(
        recall=recall,
        alike=commonest(tokens[top][..., 1]),
        alike_before=commonest(tokens[awake_at_the_end(untrained, tokens).topk(TOP, dim=0).indices.T][..., 1]),
        alike_chance=commonest(tokens[by_chance][..., 1]),
        subject=commonest(tokens[top][..., 0]),
        subject_chance=commonest(tokens[by_chance][..., 0]),
        rank=float(_ranks(model, task).gather(1, labels[top][..., 1] - task.subjects - task.relations).mean()),
        awake=float((inner > 0).float().mean()),
        lost=tuple(lost),
    )


def awake_at_the_end(model: MiniMind, tokens: Tensor) -> Tensor:
    """The inner activations of the first layer at the last place of each fact: [facts, neurons]."""
    return inner_activations(model, tokens)[0][:, -1]  # [facts, neurons]


@torch.no_grad()
def _right(model: MiniMind, tokens: Tensor, labels: Tensor) -> Tensor:
    """Which of the facts the network knows: [facts]."""
    guesses: Tensor = model(tokens)[:, -1].argmax(-1)  # [facts]
    return guesses == labels[:, -1]  # [facts]


def commonest(groups: Tensor) -> float:
    """The mean over the rows of `groups` [rows, members] of the share that its most frequent member has."""
    same = (groups[:, :, None] == groups[:, None, :]).sum(-1)  # [rows, members], how often each occurs in its row
    return float(same.max(-1).values.float().mean()) / groups.shape[1]


@torch.no_grad()
def _values(model: MiniMind, task: Facts) -> Tensor:
    """The score that each neuron of the first layer adds to each answer, up to a factor: [neurons, answers]."""
    columns = model.model.layers[0].get_submodule("mlp.down_proj").get_parameter("weight").T  # [neurons, hidden]
    scores: Tensor = model.lm_head(columns * model.model.norm.weight)  # [neurons, vocabulary]
    return scores[:, task.subjects + task.relations :]  # [neurons, answers]


def _ranks(model: MiniMind, task: Facts) -> Tensor:
    """Where each neuron's value puts each answer: 1 first, 0 last. [neurons, answers]."""
    places = _values(model, task).argsort(-1).argsort(-1)  # [neurons, answers]
    return places / (task.answers - 1)  # [neurons, answers]


def _table(model: MiniMind, task: Facts) -> Event:
    """The neurons whose facts have most in common: what wakes them, and which answers they write."""
    tokens, _ = task.facts()
    inner, values = awake_at_the_end(model, tokens), _values(model, task)  # [facts, neurons], [neurons, answers]
    rows: list[tuple[float, tuple[str | float, ...]]] = []
    for neuron in range(inner.shape[1]):
        top = inner[:, neuron].topk(TOP).indices  # [top]
        share = commonest(tokens[top][None, :, 1])
        said = " ".join(f"S{tokens[fact, 0]}·R{tokens[fact, 1] - task.subjects}" for fact in top[:4].tolist())
        written = " ".join(f"A{answer}" for answer in values[neuron].topk(3).indices.tolist())
        rows.append((share, (f"{neuron}", said, f"{share:.0%}", written)))
    rows.sort(key=lambda row: -row[0])
    columns = (
        Text("neuron", "神经元"),
        Text("wakes for", "被什么唤醒"),
        Text("same relation", "关系相同"),
        Text("writes", "写下"),
    )
    return Table("neurons", columns, tuple(row for _, row in rows[:SHOWN]), Text("Some neurons", "一些神经元"))


def _claims(found: list[Examined], facts_count: int) -> Iterator[Event]:
    said = all(one.recall > SAID_RECALL for one in found)
    lost = [statistics.fmean(one.lost) for one in found]
    mean = statistics.fmean(lost)
    yield Claim(
        "prediction",
        Text(f"{mean:.1f} of {facts_count} facts", f"{facts_count} 条中的 {mean:.1f} 条"),
        {"number": mean},
        True if said else None,
    )
    yield Claim(
        "keys_have_a_theme",
        Text(
            "The facts that wake a neuron have more in common than random facts",
            "唤醒同一个神经元的事实，比随机抽的更有共同点",
        ),
        percents(
            relation=[one.alike for one in found],
            relation_before=[one.alike_before for one in found],
            relation_chance=[one.alike_chance for one in found],
            subject=[one.subject for one in found],
            subject_chance=[one.subject_chance for one in found],
        ),
        agree([one.alike > 1.2 * one.alike_chance for one in found]) if said else None,
    )
    yield Claim(
        "values_favour_their_answers",
        Text(
            "What a neuron writes favours the answers of the facts that wake it",
            "神经元写下的内容，偏向唤醒它的那些事实的答案",
        ),
        percents(rank=[one.rank for one in found], recall=[one.recall for one in found]),
        agree([one.rank > 0.6 for one in found]) if said else None,
    )
    yield Claim(
        "training_blurs_themes",
        Text(
            "Before training the themes are purer: training mixes them",
            "训练之前主题更纯：训练反而把它们混在一起",
        ),
        percents(before=[one.alike_before for one in found], after=[one.alike for one in found]),
        agree([one.alike < one.alike_before for one in found]) if said else None,
    )
    yield from _share_claims(found, facts_count, lost, said=said)


def _share_claims(found: list[Examined], facts_count: int, lost: list[float], *, said: bool) -> Iterator[Event]:
    """How a fact and a neuron share the work: many neurons for a fact, little of it in each."""
    yield Claim(
        "many_neurons_a_fact",
        Text(
            "A fact is not one neuron: many are awake for each fact",
            "一条事实不对应一个神经元：每条事实都会唤醒许多神经元",
        ),
        percents(awake=[one.awake for one in found]) | {"neurons": len(found[0].lost)},
        agree([one.awake > 0.1 for one in found]) if said else None,
    )
    yield Claim(
        "one_neuron_holds_little",
        Text(
            "Without any one neuron, fewer than one fact in twenty is forgotten",
            "无论去掉哪一个神经元，忘掉的都不到二十分之一",
        ),
        means(lost=lost, most=[max(one.lost) for one in found], harmless=[one.lost.count(0) for one in found])
        | {"facts": facts_count},
        agree([max(one.lost) < facts_count / 20 for one in found]) if said else None,
    )
