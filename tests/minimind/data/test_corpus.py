"""The embedded corpus: the same everywhere, true to its own facts, varied, and without leaks between its splits."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from minimind.data import corpus
from minimind.data.corpus import arithmetic, lexicon
from minimind.data.corpus.stories import PLOTS, tell_story
from minimind.data.corpus.world import Choice, Story
from minimind.data.formats import Report, check

GOLDEN = {
    "pretrain": "60374c5575d6fb38d3640f8fe05466cbf9615a56cedec2968c81f748a70f8217",
    "sft": "d62b397d64277bfb6b8eaade731b9f2da66f2076efcbac2b96e31e4be2bb26ab",
    "tools": "c28cf23e5aa0514f79445e900ab6ada8536f4f1b5365ee9e10ce4196f4cc7ea8",
    "dpo": "20b861b557d5f5922282196df1d351c91072d7d1cef98d4742cb7fee89b832e8",
}
SPLITS: tuple[corpus.Split, ...] = ("train", "validation", "test")


@pytest.fixture(scope="module")
def documents() -> list[str]:
    return [corpus.pretrain_document(index) for index in range(20_000)]


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    return [tell_story(Choice("test", index, 0, "train")) for index in range(3_000)]


@pytest.mark.parametrize("kind", ["pretrain", "sft", "dpo", "tools"])
def test_documents_never_change_without_a_new_version(kind: corpus.Kind) -> None:
    """A change here must raise `corpus.VERSION`: caches, shipped tokenizers and recorded losses depend on it."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for _, record in zip(range(200), corpus.records(kind, seed=1, split=split), strict=False):
            digest.update(json.dumps(record, ensure_ascii=False).encode())
    assert (corpus.VERSION, digest.hexdigest()) == (1, GOLDEN[kind])


def test_a_document_depends_on_its_number_alone() -> None:
    backwards = {index: corpus.pretrain_document(index, seed=3) for index in reversed(range(50))}
    assert [backwards[index] for index in range(50)] == [corpus.pretrain_document(index, seed=3) for index in range(50)]
    assert corpus.pretrain_document(7, seed=3) != corpus.pretrain_document(7, seed=4)
    assert next(corpus.pretrain_documents(17, seed=3)) == backwards[17]


def test_no_document_occurs_twice_or_in_two_splits(documents: list[str]) -> None:
    assert len(set(documents)) == len(documents)
    held_out = {split: {corpus.pretrain_document(index, split=split) for index in range(2_000)} for split in SPLITS[1:]}
    assert not held_out["validation"] & set(documents)
    assert not held_out["test"] & (set(documents) | held_out["validation"])


def test_both_languages_have_half(documents: list[str]) -> None:
    size: Counter[str] = Counter()
    for text in documents:
        size[corpus.language_of(text)] += len(text.encode())
    assert 0.47 < size["zh"] / size.total() < 0.53, size
    dialogues = Counter(
        corpus.language_of(corpus.dialogue(index)["conversations"][0]["content"]) for index in range(2_000)
    )
    assert 0.4 < dialogues["zh"] / dialogues.total() < 0.55, dialogues


def test_text_is_clean(documents: list[str]) -> None:
    characters = set("".join(documents))
    odd = {character for character in characters if unicodedata.category(character).startswith("C")} - {"\n"}
    assert not odd
    assert not any("  " in text or "{" in text or "None" in text for text in documents)
    assert all(text == text.strip() and text for text in documents)


def test_text_is_varied_and_not_a_copy_of_the_training_text(documents: list[str]) -> None:
    text = "\n\n".join(documents[:5_000]).encode()
    ratio = len(text) / len(gzip.compress(text, 9))
    assert 2.5 < ratio < 6, f"gzip compresses the corpus {ratio:.2f} times"

    words = re.findall(r"[a-z']+|[\u4e00-\u9fff]", text.decode().lower())
    distinct = {n: len({tuple(words[i : i + n]) for i in range(len(words) - n)}) / len(words) for n in (2, 4, 8)}
    assert distinct[8] > 0.2, f"distinct n-grams as a share of all: {distinct}"

    windows = {hash(text[start : start + 60]) for start in range(len(text) - 60)}
    seen = total = 0
    for index in range(150):
        held_out = corpus.pretrain_document(index, split="test").encode()
        for start in range(0, len(held_out) - 60, 5):
            total += 1
            seen += hash(held_out[start : start + 60]) in windows
    assert 0.02 < seen / total < 0.45, (
        f"{seen / total:.1%} of the test text's 60-byte windows occur in {len(text):,} bytes of training text"
    )


def test_sums_are_right_and_held_out_ones_stay_out_of_training(documents: list[str]) -> None:
    signs = {"plus": "+", "minus": "-", "times": "×", "加": "+", "减": "-", "乘": "×"}
    pattern = re.compile(r"(\d+) ?([-+×]|plus|minus|times|加|减|乘) ?(\d+) ?(?:=|is|\?|等于|等于几？) ?(\d+)")
    text = "\n".join(documents)
    text += "\n".join(turn["content"] for index in range(3_000) for turn in corpus.dialogue(index)["conversations"])
    problems = [
        (signs.get(sign, sign), int(first), int(second), int(answer))
        for first, sign, second, answer in pattern.findall(text)
    ]
    assert len(problems) > 5_000
    for sign, first, second, answer in problems:
        assert arithmetic.Problem(sign, first, second).answer == answer
        assert not arithmetic.held_out(sign, first, second), (
            f"{first} {sign} {second} is held out but in the training text"
        )


def test_a_tenth_of_the_problems_is_held_out_with_its_whole_family() -> None:
    for sign in arithmetic.OPERATIONS:
        out = list(arithmetic.problems(sign, 99, is_held_out=True))
        share = len(out) / (len(out) + len(list(arithmetic.problems(sign, 99, is_held_out=False))))
        assert 0.08 < share < 0.12
    for problem in arithmetic.problems("+", 20, is_held_out=True):
        assert arithmetic.held_out("+", problem.second, problem.first)
        assert arithmetic.held_out("-", problem.answer, problem.first)
    shown = " ".join(corpus.pretrain_document(index, split="test") for index in range(2_000))
    assert any(f"{problem.expression} = " in shown for problem in arithmetic.problems("+", 9, is_held_out=True))


def test_every_plot_is_told_in_both_languages(stories: list[Story]) -> None:
    told = Counter((story.language, event) for story in stories for event in story.events)
    assert all(told[language, plot.__name__] > 30 for language in ("en", "zh") for plot in PLOTS), told


def test_answers_follow_from_the_story(stories: list[Story]) -> None:
    derived = ("mended", "修好了吗", "float or sink", "浮在水面上还是")
    for story in stories:
        assert len({fact.question for fact in story.facts}) == len(story.facts)
        for fact in story.facts:
            assert fact.wrong, fact
            assert fact.answer not in fact.wrong
            if not any(part in fact.question for part in derived):
                assert fact.value.lower() in story.text.lower(), (fact, story.text)


def test_things_behave_as_they_are(stories: list[Story]) -> None:
    floating = {word.en for word in lexicon.THINGS if "f" in word.tags} | {
        word.zh for word in lexicon.THINGS if "f" in word.tags
    }
    checked = 0
    for story in stories:
        for fact in story.facts:
            sank = re.fullmatch(r"Did the (.+) float or sink\?|(.+)是浮在水面上还是沉下去了？", fact.question)
            if sank:
                floats = (sank[1] or sank[2]) in floating
                assert (("float" if story.language == "en" else "浮") in fact.answer) == floats
                assert (re.search(r"It did not sink|It floated|漂在水面上", story.text) is not None) == floats
                checked += 1
            if re.match(r"Was the .* mended\?|.*修好了吗？", fact.question):
                mended = re.search(r"mended the|粘好了", story.text) is not None
                assert (fact.answer.startswith(("Yes", "修好了"))) == mended
                checked += 1
    assert checked > 200


def _numbers(text: str) -> list[int]:
    """The number words of a line, in order; 两 is two."""
    if re.search(r"[a-z]", text):
        return [
            lexicon.NUMBERS_EN.index(word) for word in re.findall(r"[a-z]+", text.lower()) if word in lexicon.NUMBERS_EN
        ]
    values = {lexicon.number_zh(value): value for value in range(100)} | {"两": 2}
    return [
        values[word]
        for word in re.findall(r"[零一二三四五六七八九两十]+(?=[个块根颗枚只头朵])", text)
        if word in values
    ]


def test_numbers_in_stories_add_up(stories: list[Story]) -> None:
    checked = 0
    for story in stories:
        if story.events == ["shared"]:
            have, give, keep = _numbers(
                " ".join(line for line in story.lines if re.search("gave|分给|still had|left|还有|还剩", line))
            )
            assert have - give == keep, story.text
            checked += 1
        elif story.events == ["counted"]:
            lines = [
                line
                for line in story.lines
                if re.search("saw|There were|more came|there were|there are|看见|数了数|又来了|一共", line)
            ]
            first, more, total = _numbers(" ".join(lines))
            assert first + more == total, story.text
            checked += 1
    assert checked > 100


def test_the_hero_keeps_the_same_pronoun(stories: list[Story]) -> None:
    for story in stories:
        if story.language == "en":
            other = r"\b(he|him|his)\b" if story.hero.pronoun == "she" else r"\b(she|her)\b"
        else:
            other = {"他": "她(?!们)", "她": "他(?!们)", "它": "[他她]"}[story.hero.pronoun]
        text = story.text if story.language == "zh" else story.text.lower()
        text = re.sub("nobody played with (her|him|it)|没有人和[她他它]玩", "", text)  # of the newcomer
        assert not re.search(other, text), story.text


def test_dialogues_answer_from_their_own_story() -> None:
    found = 0
    for index in range(400):
        choice = Choice("sft", index, 0, "train")
        turns = corpus.dialogue(index)["conversations"]
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
        assert all(turn["content"].strip() for turn in turns)
        text, _, question = turns[0]["content"].rpartition("\n")
        if text and re.search(r"Who was hungry\?|谁饿了？", question):
            answer = turns[1]["content"]
            name = answer.removesuffix(" was hungry.").removesuffix("饿了。")
            assert re.search(f'{name} was hungry|so hungry," said {name}|{name}饿了|好饿啊。”{name}说', text), turns
            found += 1
        assert choice.split == "train"
    assert found > 2


def test_identity_is_answered_in_both_languages() -> None:
    answers = {
        turns[0]["content"]: turns[1]["content"]
        for turns in (corpus.dialogue(index)["conversations"] for index in range(3_000))
    }
    assert "MiniMind" in answers["Who are you?"]
    assert "MiniMind" in answers["你是谁？"]


def test_preferences_differ_only_in_the_answer() -> None:
    for index in range(500):
        pair = corpus.preference(index)
        assert pair["chosen"][0] == pair["rejected"][0]
        assert pair["chosen"][1]["role"] == pair["rejected"][1]["role"] == "assistant"
        assert pair["chosen"][1]["content"] != pair["rejected"][1]["content"]


@pytest.mark.parametrize("kind", ["pretrain", "sft", "dpo"])
def test_written_files_are_valid(kind: corpus.Kind, tmp_path: Path) -> None:
    path = tmp_path / f"{kind}.jsonl"
    written = corpus.write_jsonl(kind, path, size=50_000)
    assert path.stat().st_size == written.size >= 50_000
    report = Report(path)
    check(path, kind, report)
    assert (report.usable, report.bad) == (written.rows, 0)
    assert corpus.write_jsonl(kind, path, rows=3).rows == 3
    with pytest.raises(ValueError, match="size"):
        corpus.write_jsonl(kind, path)


def test_fixed_prompts_are_in_both_languages() -> None:
    for texts in (corpus.FIXED_PROMPTS, corpus.FIXED_QUESTIONS):
        assert {corpus.language_of(text) for text in texts} == {"en", "zh"}
