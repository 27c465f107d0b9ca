"""The content doctor: what is wrong with the lessons, found by reading them. `doctor_runs` finds what running shows."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lessons.code import resolve
from lessons.doctor_prose import examine_prose
from lessons.exercise import Exercise
from lessons.figures import examine_figures
from lessons.glossary import Term
from lessons.lesson import (
    LearningPath,
    Lesson,
    code_references,
    load_glossary,
    load_lesson,
    load_lessons,
    load_paths,
)
from lessons.pages import FigureBlock, MarkdownBlock
from lessons.quiz import ChoiceQuestion, Question, SingleQuestion
from lessons.recorded import sentences
from minimind.commands.columns import cell_width
from minimind.errors import UserError
from minimind.events import Text

MAXIMUM_LENGTH_BIAS = 1.5
MAXIMUM_POSITION_SHARE = 0.6
MAXIMUM_MINUTES_OFF = 0.25
FINGERPRINTS = "code.json"

_HAN = "[\u4e00-\u9fff]"
_HALF_WIDTH = re.compile(rf"{_HAN}\s*[,;:?!]|[,;:?!]\s*{_HAN}|{_HAN}\(|\){_HAN}|{_HAN}\.(?![A-Za-z0-9])")
_CODE = re.compile(r"```.*?```|`[^`]*`|\{\{.*?\}\}|\[\[[a-z0-9_]+|\$[^$]*\$", re.DOTALL)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with the content: where, and what."""

    where: str
    text: Text


def examine(root: Path | None = None, slug: str | None = None) -> Iterator[Problem]:
    """Everything that reading the lessons under `root` (the package by default) shows to be wrong; with `slug` one only."""
    try:
        lessons = load_lessons(root) if slug is None else (load_lesson(slug, root),)
        glossary = load_glossary(root)
        paths = load_paths(root, lessons)
    except UserError as error:
        yield Problem("", error.text)
        return
    for lesson in lessons:
        yield from _structure(lesson)
        yield from _figures(lesson)
        yield from (Problem(where, text) for where, text in examine_prose(lesson))
        yield from _code(lesson)
        yield from _quiz(lesson, set(glossary))
        yield from _chinese(lesson)
    terms = [term for term in glossary.values() if slug in (None, term.lesson)]
    yield from _paths(terms, paths if slug is None else ())


def _paths(terms: list[Term], paths: tuple[LearningPath, ...]) -> Iterator[Problem]:
    """Terms belong to lessons that there are or will be, and paths take the time they say."""
    slugs = {step.slug for path in paths for step in path.steps}
    for term in terms:
        if slugs and term.lesson not in slugs:
            yield Problem(
                "glossary.toml", Text(f"{term.id}: no lesson {term.lesson}", f"{term.id}：没有课程 {term.lesson}")
            )
        yield from _punctuation(f"glossary.toml: {term.id}", term.name.zh, term.meaning.zh)
    for path in paths:
        total = sum(step.minutes for step in path.steps)
        if abs(total - path.minutes) > MAXIMUM_MINUTES_OFF * path.minutes:
            text = Text(
                f"its steps take {total} min, not {path.minutes}", f"各课合计 {total} 分钟，而非 {path.minutes}"
            )
            yield Problem(f"paths.toml: {path.id}", text)
        for place, name in enumerate(path.recap):
            names = [question for _, question in path.recap[:place]]
            if name not in {(lesson.slug, q.id) for lesson, q in path.recap_questions()} or name[1] in names:
                text = Text(
                    f"recap: no question {'/'.join(name)}, or twice", f"recap：没有题目 {'/'.join(name)}，或重复"
                )
                yield Problem(f"paths.toml: {path.id}", text)


def _structure(lesson: Lesson) -> Iterator[Problem]:
    """Both languages have the same pages with the same headings and fences."""
    english, chinese = lesson.pages["en"], lesson.pages["zh"]
    if [page.id for page in english] != [page.id for page in chinese]:
        ids = ", ".join(page.id for page in english)
        yield Problem(str(lesson.directory / "zh.md"), Text(f"its pages must be {ids}", f"各页应为 {ids}"))
        return
    for first, second in zip(english, chinese, strict=True):
        if first.part != second.part or first.skeleton != second.skeleton:
            where = f"{lesson.directory / 'zh.md'}:{second.line}"
            missing = next((a for a, b in zip(first.skeleton, second.skeleton, strict=False) if a != b), ("?",))
            said = " ".join(missing)
            text = Text(f"page {second.id} differs from en.md at {said}", f"页 {second.id} 与 en.md 不一致：{said}")
            yield Problem(where, text)


def _figures(lesson: Lesson) -> Iterator[Problem]:
    """Every figure exists in both languages, fits, and is shown."""
    blocks = [block for pages in lesson.pages.values() for page in pages for block in page.blocks]
    shown = {block.name for block in blocks if isinstance(block, FigureBlock)}
    for path, text in examine_figures(lesson.directory, shown):
        yield Problem(str(path), text)


def fingerprints(lesson: Lesson) -> dict[str, str]:
    """The hash of each piece of source code the lesson shows. Raises UserError for one that does not exist."""
    exercise_references = [exercise.reference for exercise in lesson.exercises]
    references = {block.reference for block in code_references(lesson)} | set(exercise_references)
    return {reference: resolve(reference).fingerprint for reference in sorted(references)}


def _code(lesson: Lesson) -> Iterator[Problem]:
    """Code references resolve, and the code is still what the author wrote about."""
    path = lesson.directory / FINGERPRINTS
    try:
        current = fingerprints(lesson)
        accepted: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except UserError as error:
        yield Problem(str(lesson.directory), error.text)
        return
    for reference, fingerprint in current.items():
        if accepted.get(reference) != fingerprint:
            text = Text(
                f"{reference} has changed: read what the lesson says about it, then python -m lessons check --accept",
                f"{reference} 已改动：请重读课文中的相关说明，然后运行 python -m lessons check --accept",
            )
            yield Problem(str(path), text)


def _quiz(lesson: Lesson, terms: set[str]) -> Iterator[Problem]:
    for question in lesson.questions:
        where = f"{lesson.slug}/quiz.toml: {question.id}"
        if isinstance(question, SingleQuestion):
            yield from _length_bias(where, question)
        for text in [question.prompt, question.explain, *(choice.text for choice in question.choices_of())]:
            if Counter(_NUMBER.findall(text.en)) != Counter(_NUMBER.findall(text.zh)):
                yield Problem(where, Text(f"numbers differ: {text.en[:60]!r}", f"两种语言的数字不同：{text.zh[:60]!r}"))
        for tag in question.tags:
            if tag not in terms:
                yield Problem(where, Text(f"tag {tag} is not in the glossary", f"术语表中没有标签 {tag}"))
    singles = [question for question in lesson.questions if isinstance(question, SingleQuestion)]
    places = Counter(next(i for i, c in enumerate(q.choices) if c.id in q.answer) for q in singles)
    if len(singles) > 3 and max(places.values()) > MAXIMUM_POSITION_SHARE * len(singles):
        text = Text("the right choice stands in the same place too often", "正确选项总在同一位置")
        yield Problem(f"{lesson.slug}/quiz.toml", text)


def _length_bias(where: str, question: ChoiceQuestion) -> Iterator[Problem]:
    for language in ("en", "zh"):
        right = max(cell_width(getattr(c.text, language)) for c in question.choices if c.id in question.answer)
        wrong = max(cell_width(getattr(c.text, language)) for c in question.choices if c.id not in question.answer)
        if right > MAXIMUM_LENGTH_BIAS * wrong:
            text = Text(f"the right choice is the longest by far ({language})", f"正确选项明显最长（{language}）")
            yield Problem(where, text)


def _chinese(lesson: Lesson) -> Iterator[Problem]:
    """Full-width punctuation between Chinese characters, everywhere."""
    for page in lesson.pages["zh"]:
        for block in page.blocks:
            if isinstance(block, MarkdownBlock):
                yield from _punctuation(f"{lesson.slug}/zh.md:{block.line}", block.text)
        yield from _punctuation(f"{lesson.slug}/zh.md:{page.line}", page.title)
    for question in lesson.questions:
        yield from _punctuation(f"{lesson.slug}/quiz.toml: {question.id}", *_question_texts(question))
    for exercise in lesson.exercises:
        yield from _punctuation(f"{lesson.slug}/{exercise.name}/exercise.toml", *_exercise_texts(exercise))
    yield from _punctuation(f"{lesson.slug}/module.toml", lesson.title.zh, lesson.question.zh)


def _question_texts(question: Question) -> Iterator[str]:
    yield from (question.prompt.zh, question.explain.zh)
    for choice in question.choices_of():
        yield from (choice.text.zh, choice.why.zh if choice.why else "")


def _exercise_texts(exercise: Exercise) -> Iterator[str]:
    yield from (exercise.title.zh, exercise.task.zh, *(hint.zh for hint in exercise.hints))
    for mutant in exercise.mutants:
        yield from (mutant.what.zh, *(hint.zh for hint in mutant.hints))


def _punctuation(where: str, *texts: str) -> Iterator[Problem]:
    for text in texts:
        found = _HALF_WIDTH.search(_CODE.sub("x", sentences(text)))
        if found:
            said = found.group()
            yield Problem(where, Text(f"half-width punctuation in Chinese: {said!r}", f"中文里用了半角标点：{said!r}"))


def accept(root: Path | None = None, slug: str | None = None) -> list[Path]:
    """Record the current hashes of the code each lesson (or `slug`) shows; returns the files written. Raises UserError."""
    written = []
    for lesson in load_lessons(root) if slug is None else (load_lesson(slug, root),):
        path = lesson.directory / FINGERPRINTS
        path.write_text(json.dumps(fingerprints(lesson), indent=1) + "\n", encoding="utf-8")
        written.append(path)
    return written
