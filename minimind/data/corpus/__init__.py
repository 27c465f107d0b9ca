"""The embedded corpus: bilingual stories, descriptions, sums, conversations and preference pairs, made on the fly.

Document `index` is a pure function of (seed, split, index): any part can be made anywhere, in any order, without
a file and without state. No sentence is copied from anywhere, and no document is in two splits.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from minimind.data.corpus import descriptions, dialogues, preferences, stories, tool_tasks
from minimind.data.corpus.world import Choice, Split
from minimind.events import Language

__all__ = [
    "FIXED_PROMPTS",
    "FIXED_QUESTIONS",
    "TOOL_QUESTIONS",
    "VERSION",
    "Kind",
    "Split",
    "Turn",
    "dialogue",
    "language_of",
    "preference",
    "pretrain_document",
    "pretrain_documents",
    "records",
    "texts",
    "tool_dialogue",
    "write_jsonl",
]

# Raised whenever a change makes any document differ: caches and recorded results name it.
VERSION = 1

Kind = Literal["pretrain", "sft", "dpo", "tools"]
Turn = dict[str, str]
_TOOL_SHARE = 0.65
"""Share of the `tool_dialogue`s in which a tool is called; the others keep what the model can do by itself."""

FIXED_PROMPTS: tuple[str, ...] = (
    "Once there was a rabbit named Pip.",
    "Once there was a girl named Anna. Her best friend was a boy named Tom.",
    "从前有一只小兔子，名叫跳跳。",
    "从前有一个小男孩，名叫小明。他的好朋友是一个小女孩，名叫小红。",
    "3 + 4 =",
)
FIXED_QUESTIONS: tuple[str, ...] = (
    "Who are you?",
    "你是谁？",
    "One cool day, Emma and Carl were in the forest. Emma had a green kite, but that day she could not find it. "
    "Emma looked under the old tree and found the kite.\nWhere was the kite?",
    "一个温暖的下午，小刚和小云在湖边。小云饿了，可是没有东西吃。小刚有五个苹果，分给小云两个。小刚自己还剩三个苹果。\n谁饿了？",
    "3 + 4 = ?",
    "Hello!",
)
TOOL_QUESTIONS: tuple[str, ...] = (
    "What is 347 + 1589?",
    "412乘37等于多少？",
    'How many letters are in "elephant"?',
    "“小松鼠”倒过来怎么写？",
    "3 + 4 = ?",
    "你是谁？",
)


def pretrain_document(index: int, *, seed: int = 0, split: Split = "train") -> str:
    """Document number `index` (≥ 0) of the pretraining text: a story, a description, facts or calculations."""
    choice = Choice("pretrain", index, seed, split)
    kind = choice.random()
    if kind < 0.70:
        story = stories.tell_story(choice)
        if choice.chance(0.6):
            return story.text
        fact = choice.pick(story.facts)
        return story.text + descriptions.question_and_answer(choice, fact.question, fact.answer)
    if kind < 0.88:
        return descriptions.description_document(choice)
    if kind < 0.92:
        return descriptions.facts_document(choice)
    return descriptions.arithmetic_document(choice)


def pretrain_documents(start: int = 0, *, seed: int = 0, split: Split = "train") -> Iterator[str]:
    """Documents `start`, `start + 1`, … without end."""
    while True:
        yield pretrain_document(start, seed=seed, split=split)
        start += 1


def _turns(talk: dialogues.Talk) -> list[Turn]:
    return [
        {"role": role, "content": content}
        for exchange in talk
        for role, content in (("user", exchange.request), ("assistant", exchange.answer))
    ]


def dialogue(index: int, *, seed: int = 0, split: Split = "train") -> dict[str, list[Turn]]:
    """Conversation number `index` in MiniMind's format: {"conversations": [{"role", "content"}, …]}."""
    return {"conversations": _turns(dialogues.converse(Choice("sft", index, seed, split)))}


def preference(index: int, *, seed: int = 0, split: Split = "train") -> dict[str, list[Turn]]:
    """Preference pair number `index`: {"chosen": [user, assistant], "rejected": [user, assistant]}."""
    exchange, bad = preferences.prefer(Choice("dpo", index, seed, split))
    return {"chosen": _turns([exchange]), "rejected": _turns([exchange._replace(answer=bad)])}


def tool_dialogue(index: int, *, seed: int = 0, split: Split = "train") -> dict[str, Any]:
    """Conversation number `index` of those that teach to call tools, in MiniMind's format (see `tool_tasks`).

    About a third of them are ordinary ones without a call. With ``gt``, what each right answer holds.
    """
    choice = Choice("tools", index, seed, split)
    if not choice.chance(_TOOL_SHARE):
        return {**dialogue(index, seed=seed, split=split), "gt": []}
    task = tool_tasks.tool_task(choice)
    return {"conversations": tool_tasks.solved(tool_tasks.messages(choice, task), task), "gt": list(task.truths)}


def _text_record(index: int, *, seed: int = 0, split: Split = "train") -> dict[str, str]:
    return {"text": pretrain_document(index, seed=seed, split=split)}


_RECORDS: dict[Kind, Callable[..., Mapping[str, Any]]] = {
    "pretrain": _text_record,
    "sft": dialogue,
    "dpo": preference,
    "tools": tool_dialogue,
}


def records(kind: Kind, *, seed: int = 0, split: Split = "train") -> Iterator[Mapping[str, Any]]:
    """The JSON objects of one kind, without end."""
    index = 0
    while True:
        yield _RECORDS[kind](index, seed=seed, split=split)
        index += 1


class Written(NamedTuple):
    """What `write_jsonl` wrote."""

    rows: int
    size: int


def texts(size: int, *, seed: int = 0, split: Split = "train") -> Iterator[str]:
    """At least `size` bytes of everything a tokenizer should know: documents, and every fourth time a conversation."""
    made = index = 0
    while made < size:
        parts = [pretrain_document(index, seed=seed, split=split)]
        if index % 4 == 0:
            conversation = dialogue(index, seed=seed, split=split)["conversations"]
            parts += [f"{turn['role']}\n{turn['content']}" for turn in conversation]
        yield from parts
        made += sum(len(part.encode()) for part in parts)
        index += 1


def language_of(document: str) -> Language:
    """The language of a document of this corpus; one without words counts as English."""
    return "zh" if any("\u4e00" <= character <= "\u9fff" for character in document) else "en"


def write_jsonl(
    kind: Kind, path: Path, *, size: int | None = None, rows: int | None = None, seed: int = 0, split: Split = "train"
) -> Written:
    """Write records until the file has `size` bytes or `rows` lines, whichever comes first (at least one row).

    Raises ValueError when neither limit is given.
    """
    if size is None and rows is None:
        raise ValueError("write_jsonl needs a size in bytes or a number of rows")
    written = count = 0
    with path.open("wb") as file:
        for record in records(kind, seed=seed, split=split):
            line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
            file.write(line)
            written, count = written + len(line), count + 1
            if (size is not None and written >= size) or (rows is not None and count >= rows):
                break
    return Written(count, written)
