"""Prompts for reinforcement learning: tasks made here whose answers can be checked, and the prompts of rlaif files.

Task `index` is a pure function of (seed, split, index), as a document of the corpus is. A task that is held out never
stands in the training split, however it is drawn: that follows from its hash, and for sums from the problem's.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minimind import paths
from minimind.data.catalogue import GENERATED, resolve
from minimind.data.chat import Message, encode_prompt, prompt_style, tools_of
from minimind.data.chunks import is_held_out, token_dtype
from minimind.data.corpus import lexicon
from minimind.data.corpus.arithmetic import held_out
from minimind.data.corpus.descriptions import draw_problem
from minimind.data.corpus.dialogues import ask_to_calculate, ask_to_list
from minimind.data.corpus.world import Choice, Split
from minimind.data.formats import Report, read_conversations
from minimind.data.preflight import too_few
from minimind.data.shards import Prepared, TokenDataset, notes_of, token_sizes
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError
from minimind.events import Text

CONVERSATION = "conversation"
"""The kind of a prompt to which no answer is known."""
_HELD_OUT_SHARE = 0.125
_TRAIN, _VALIDATION = 2048, 512
"""How many embedded tasks are drawn."""


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt and what is known about a good answer.

    kind       by which rules an answer is rewarded (`minimind.training.rewards`)
    messages   the conversation up to the question; the first may declare ``tools``
    expected   arithmetic: the expression and its value; counting: the numbers; listing: the words that may be named;
               length: what the story is to be about
    amount     listing: how many are wanted; length: how many sentences
    """

    kind: str
    messages: tuple[Message, ...]
    expected: tuple[str, ...] = ()
    amount: int = 0

    @property
    def question(self) -> str:
        """What the last message asks."""
        return str(self.messages[-1]["content"])


@dataclass(frozen=True, slots=True, eq=False)
class TaskDataset(TokenDataset):
    """Tasks, and the ids of their prompts as documents: document i is all that stands before an answer to `tasks[i]`."""

    tasks: tuple[Task, ...] = ()


def _asked(kind: str, question: str, expected: Sequence[str] = (), amount: int = 0) -> Task:
    return Task(kind, ({"role": "user", "content": question},), tuple(expected), amount)


def arithmetic(choice: Choice) -> Task:
    """A sum, a difference or a product; the answer repeats it, as in fine-tuning ("3 + 4 = 7.")."""
    problem = draw_problem(choice)
    while held_out(*problem) == (choice.split == "train"):
        problem = draw_problem(choice)
    return _asked("arithmetic", ask_to_calculate(choice, problem), (problem.expression, str(problem.answer)))


def counting(choice: Choice) -> Task:
    """Numbers in order, upwards or downwards."""
    first, last = choice.integer(0, 12), choice.integer(3, 8)
    ends = (first, first + last) if choice.chance(0.5) else (first + last, first)
    step = 1 if ends[0] < ends[1] else -1
    question = f"Count from {ends[0]} to {ends[1]}." if choice.language == "en" else f"从{ends[0]}数到{ends[1]}。"
    return _asked("counting", question, [str(number) for number in range(ends[0], ends[1] + step, step)])


def listing(choice: Choice) -> Task:
    """One, two or three of a kind, as in fine-tuning.

    Of larger numbers a small model only learns that a list pays: it stops minding the number (measured on nano).
    """
    amount = choice.integer(1, 3)
    question, words = ask_to_list(choice, amount)
    return _asked("listing", question, [word.en if choice.language == "en" else word.zh for word in words], amount)


def length(choice: Choice) -> Task:
    """A story of a given number of sentences about an animal.

    The number stands first: after a request in which nothing follows the animal, nano tells a story about it; with
    words behind it, none (measured).
    """
    amount, hero = choice.integer(3, 6), choice.pick(lexicon.SPECIES)
    if choice.language == "en":
        question = f"Use {lexicon.number_en(amount)} sentences.\nTell me a story about {lexicon.article(hero.en)}."
        return _asked("length", question, [hero.en], amount)
    question = f"用{lexicon.counted_zh(amount, '句')}话。\n讲一个关于{hero.zh}的故事。"
    return _asked("length", question, [hero.zh.removeprefix("小")], amount)


TASKS: dict[str, Callable[[Choice], Task]] = {
    "arithmetic": arithmetic,
    "counting": counting,
    "listing": listing,
    "length": length,
}
"""The kinds of tasks that are made here, by name."""


def task(index: int, kinds: Sequence[str], *, seed: int = 0, split: Split = "train") -> Task:
    """Task number `index` (≥ 0) of a mix of `kinds`, keys of TASKS, each equally likely."""
    choice = Choice("task", index, seed, split)
    make = TASKS[choice.pick(kinds)]
    while True:
        made = make(choice)
        if _is_held_out(made.question) == (split != "train") or made.kind == "arithmetic":
            return made


def _is_held_out(question: str) -> bool:
    digest = hashlib.blake2b(question.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") < _HELD_OUT_SHARE * 2**32


def read_prompts(path: Path, report: Report) -> Iterator[Task]:
    """The prompts of an rlaif file. Raises UserError as every reader does."""
    for messages in read_conversations(path, report, kind="rlaif"):
        yield Task(CONVERSATION, tuple(messages))


def prepare_tasks(
    sources: Sequence[str],
    tokenizer: Tokenizer,
    *,
    kinds: Sequence[str],
    seed: int,
    longest: int,
    allow_bad: bool = False,
    embedded: Callable[..., Task] = task,
    read: Callable[[Path, Report], Iterator[Task]] = read_prompts,
) -> Prepared:
    """The tasks of `sources` ("embedded", names of the catalogue, or files), as two `TaskDataset`s.

    `embedded(index, kinds, seed=…, split=…)` makes those of the corpus, `read` reads those of a file.

    Of a file, two conversations in a hundred (the first one always) are held out. Prompts of more than `longest` tokens
    are left out, with a note. Raises UserError for sources that cannot be used.
    """
    train: list[Task] = []
    validation: list[Task] = []
    notes: list[Text] = []
    for source in sources:
        place = resolve(source, paths.data())
        if place in GENERATED:
            train += [embedded(index, kinds, seed=seed) for index in range(_TRAIN)]
            validation += [embedded(index, kinds, seed=seed, split="validation") for index in range(_VALIDATION)]
            continue
        report = Report(Path(place), allow_bad)
        for index, found in enumerate(read(Path(place), report)):
            held = index == 0 or is_held_out("sft", found.messages)
            (validation if held else train).append(found)
        notes += notes_of(report)
    parts = [_dataset(tasks, tokenizer, longest) for tasks in (train, validation)]
    if not all(map(len, parts)):
        if train and validation:
            raise UserError(
                f"no prompt has at most {longest} tokens: raise sequence_length or lower max_new_tokens",
                f"没有不超过 {longest} 个词元的提示：请增大 sequence_length 或减小 max_new_tokens",
            )
        raise too_few(sources)
    dropped = len(train) + len(validation) - sum(map(len, parts))
    if dropped:
        notes.append(
            Text(
                f"{dropped} prompts of more than {longest} tokens are left out",
                f"有 {dropped} 条提示超过 {longest} 个词元，已略去",
            )
        )
    return Prepared(parts[0], parts[1], tuple(notes))


def _dataset(tasks: Sequence[Task], tokenizer: Tokenizer, longest: int) -> TaskDataset:
    """Those of `tasks` whose prompt is short enough."""
    known: dict[str, list[int]] = {}
    kept, ids = [], []
    for item in tasks:
        key = json.dumps(item.messages, ensure_ascii=False)
        if key not in known:
            known[key] = encode_task(tokenizer, item)
        if len(known[key]) <= longest:
            kept.append(item)
            ids.append(known[key])
    described = json.dumps([tokenizer.sha256, *map(_described, kept)], ensure_ascii=False)
    offsets = np.cumsum([0, *map(len, ids)], dtype=np.int64)  # [tasks + 1]
    return TaskDataset(
        tokens=np.array([token for one in ids for token in one], dtype=token_dtype(tokenizer.vocab_size)),
        offsets=offsets,
        mask=None,
        token_bytes=token_sizes(tokenizer),
        fingerprint=f"tasks-{hashlib.sha256(described.encode()).hexdigest()[:24]}",
        pad_id=tokenizer.pad_id,
        tasks=tuple(kept),
    )


def _described(item: Task) -> Mapping[str, Any]:
    return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}


def encode_task(tokenizer: Tokenizer, item: Task, *, open_thinking: bool = False) -> list[int]:
    """The ids of all that stands before the answer; with `open_thinking` the answer is to begin with a thought."""
    messages = item.messages
    return encode_prompt(
        tokenizer, messages, open_thinking=open_thinking, tools=tools_of(messages), style=prompt_style(tokenizer)
    )


def shuffled(count: int, seed: int, epoch: int, first: int = 0) -> Iterator[int]:
    """The numbers 0 … count - 1 in the order of an epoch, from its place `first` on: a function of (seed, epoch)."""
    yield from np.random.RandomState([seed % 2**32, epoch % 2**32, 7]).permutation(count)[first:].tolist()
