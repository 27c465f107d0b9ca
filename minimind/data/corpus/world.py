"""The small world that stories happen in: a source of choices, people, things, and the story being told.

A plot acts on a `Story`: it says sentences in the story's language and notes `Fact`s, questions whose
answers follow from what happened. Wrong answers are recorded too, for preference pairs and for tests.
"""

import hashlib
import random
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeVar

from minimind.data.corpus import lexicon
from minimind.data.corpus.arithmetic import held_out
from minimind.data.corpus.lexicon import FoodWord, PlaceWord, Species, ThingWord, Word
from minimind.events import Language

Split = Literal["train", "validation", "test"]
Item = TypeVar("Item")


class Choice:
    """The choices of one document: its language, its split, and everything drawn for it.

    Draws use only `random()`, whose sequence Python promises to keep between versions.
    """

    def __init__(self, kind: str, index: int, seed: int, split: Split) -> None:
        digest = hashlib.blake2b(f"{kind}/{seed}/{split}/{index}".encode(), digest_size=8).digest()
        self.random = random.Random(int.from_bytes(digest, "big")).random
        self.split = split
        self.language: Language = "en" if self.chance(0.5) else "zh"

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items, each equally likely."""
        return items[int(self.random() * len(items))]

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.random() < probability

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self.random() * (high - low + 1))

    def sample(self, items: Sequence[Item], count: int) -> list[Item]:
        """`count` different items in random order (partial Fisher–Yates)."""
        pool = list(items)
        for index in range(count):
            other = index + int(self.random() * (len(pool) - index))
            pool[index], pool[other] = pool[other], pool[index]
        return pool[:count]


class Fact(NamedTuple):
    """A question about a story, its true answer, false answers, and the value on which the true one turns."""

    question: str
    answer: str
    wrong: tuple[str, ...]
    value: str


class Noun:
    """A thing in one language, ready to stand in a sentence: `{thing}`, `{thing.a}`, `{thing.name}`."""

    __slots__ = ("a", "color", "name", "short", "tags", "word")

    def __init__(self, word: ThingWord, color: Word | None, language: Language) -> None:
        self.word, self.tags = word, word.tags
        if language == "en":
            self.short = word.en
            self.color = color.en if color else ""
            self.name = f"{self.color} {word.en}" if color else word.en
            self.a = lexicon.article(self.name)
        else:
            self.short = word.zh
            self.color = color.zh if color else ""
            self.name = f"{self.color}的{word.zh}" if color else word.zh
            self.a = f"一{word.measure}{self.name}"

    def __str__(self) -> str:
        return self.short


class Character:
    """A child or an animal with a name, the pronouns that belong to it, and what it is ("a girl", 一只小兔子)."""

    __slots__ = ("a", "him", "his", "name", "pronoun", "species")

    def __init__(self, name: lexicon.Name, species: Species | None, language: Language) -> None:
        self.name, self.pronoun, self.species = name.text, name.pronoun, species
        if language == "en":
            self.him, self.his = ("her", "her") if name.pronoun == "she" else ("him", "his")
            self.a = lexicon.article(species.en if species else "girl" if name.pronoun == "she" else "boy")
        else:
            self.him, self.his = name.pronoun, name.pronoun + "的"
            child = "小女孩" if name.pronoun == "她" else "小男孩"
            self.a = f"一{species.measure}{species.zh}" if species else f"一个{child}"

    def __str__(self) -> str:
        return self.name


class Story:
    """A story being told in one language: who is in it, what the hero holds and feels, what was said."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.language = language = choice.language
        animals = choice.chance(0.5)
        names = (lexicon.PET_NAMES if animals else lexicon.CHILD_NAMES)[language]
        hero, friend, newcomer = choice.sample(names, 3)
        kinds = choice.sample(lexicon.SPECIES, 3) if animals else [None, None, None]
        self.hero = Character(hero, kinds[0], language)
        self.friend = Character(friend, kinds[1], language)
        self.newcomer = Character(newcomer, kinds[2], language)
        self.place = choice.pick(lexicon.PLACES)
        self.held: Noun | None = None
        self.mood = "happy"
        self.lines: list[str] = []
        self.facts: list[Fact] = []
        self.events: list[str] = []
        self._used: set[str] = set()
        they = "他" if hero.pronoun != friend.pronoun else hero.pronoun
        self.fields: dict[str, object] = {
            "they": "they" if language == "en" else they + "们",
            "who": self.hero.name,
            "he": self.hero.pronoun,
            "He": self.hero.pronoun.capitalize(),
            "him": self.hero.him,
            "his": self.hero.his,
            "friend": self.friend.name,
        }

    def word(self, word: Word | PlaceWord) -> str:
        """The word in the story's language."""
        return word.en if self.language == "en" else word.zh

    def at(self, place: PlaceWord) -> str:
        """Where the place is, as a phrase of location."""
        return place.at_en if self.language == "en" else place.at_zh

    def say(self, en: Sequence[str], zh: Sequence[str], **fields: object) -> None:
        """Add one of the wordings (English or Chinese) with the fields filled; fields stay known to later lines."""
        self.fields.update(fields)
        line = self.choice.pick(en if self.language == "en" else zh).format_map(self.fields)
        self.lines.append(line[0].upper() + line[1:])

    def ask(self, en: tuple[str, str], zh: tuple[str, str], right: str, wrong: Sequence[str], **fields: object) -> None:
        """Note a fact. `en` and `zh` are (question, answer) with `{x}` where the right or a wrong value goes."""
        self.fields.update(fields)
        question, answer = en if self.language == "en" else zh

        def fill(value: str) -> str:
            line = answer.format_map(self.fields | {"x": value})
            return line[0].upper() + line[1:]

        filled = question.format_map(self.fields)
        others = tuple(fill(value) for value in wrong if value != right)
        self.facts.append(Fact(filled[0].upper() + filled[1:], fill(right), others, right))

    def thing(self, tag: str = "", *, keep: bool = True) -> Noun:
        """What the hero already holds if it has the tag, else a new thing that has it (with `keep`, now held)."""
        if self.held is not None and tag in self.held.tags:
            return self.held
        words = _things_with(tag)
        found = self.new_thing(words)
        if keep:
            self.held = found
        return found

    def new_thing(self, words: Sequence[ThingWord]) -> Noun:
        """One of the things that this story has not named yet, in a colour if it can have one."""
        word = self.choice.pick(words)
        while word.en in self._used:
            word = self.choice.pick(words)
        self._used.add(word.en)
        color = self.choice.pick(lexicon.COLORS) if "c" in word.tags else None
        return Noun(word, color, self.language)

    def number(self, value: int) -> str:
        """A number word for 0–20."""
        return lexicon.number_en(value) if self.language == "en" else lexicon.number_zh(value)

    def amount(self, value: int, food: FoodWord) -> str:
        """A number of pieces of food ("two apples", 两个苹果)."""
        if self.language == "en":
            return f"{lexicon.number_en(value)} {food.en if value == 1 else food.plural}"
        return lexicon.counted_zh(value, food.measure) + food.zh

    def operands(self, operation: str, low: int, high: int) -> tuple[int, int]:
        """Two numbers for a sum (+) or difference (−, first > second) that the training split may show."""
        while True:
            first, second = self.choice.integer(low, high), self.choice.integer(1, high)
            if operation == "-" and first <= second:
                continue
            if self.choice.split != "train" or not held_out(operation, first, second):
                return first, second

    @property
    def text(self) -> str:
        """The whole story as one paragraph."""
        return (" " if self.language == "en" else "").join(self.lines)


_BY_TAG: dict[str, tuple[ThingWord, ...]] = {}


def _things_with(tag: str) -> tuple[ThingWord, ...]:
    if tag not in _BY_TAG:
        _BY_TAG[tag] = tuple(thing for thing in lexicon.THINGS if tag in thing.tags)
    return _BY_TAG[tag]
