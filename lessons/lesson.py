"""Lessons and learning paths, read from their folders. No torch, no terminal.

A folder of this package that holds ``module.toml`` is a lesson:

    module.toml          title, question, minutes, order, and how long it takes on each path
    en.md zh.md          the same pages in both languages (see `lessons.pages`)
    quiz.toml            questions, both languages side by side
    glossary.toml        the terms it explains
    experiments/*.py     one experiment a file, named as its function
    exercises/*/         one exercise a folder
    figures/*.txt        diagrams, NAME.en.txt and NAME.zh.txt
    recorded.json        claims as measured when the lesson was written, for the numbers in the prose

Nothing is registered anywhere: a new folder is a new lesson.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from lessons.evidence import Evidence, read_evidence
from lessons.exercise import Exercise, read_exercise
from lessons.fields import Fields, unique
from lessons.figures import figure_path
from lessons.glossary import Term, read_glossary
from lessons.pages import (
    PARTS,
    TERM_LINK,
    Block,
    CodeBlock,
    DiagramBlock,
    ExerciseBlock,
    FigureBlock,
    MarkdownBlock,
    Page,
    Part,
    PredictBlock,
    QuizBlock,
    RunBlock,
    read_pages,
)
from lessons.quiz import Question
from lessons.quiz_file import read_quiz
from lessons.recorded import Recording, load_recordings, placeholders
from minimind.errors import UserError
from minimind.events import LANGUAGES, Language, Text
from minimind.lab.switches import SWITCHES

_SLUG = re.compile(r"[a-z][a-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class Lesson:
    """One lesson, parsed; every reference in it to a page, question, exercise, experiment or number exists."""

    slug: str
    directory: Path
    title: Text
    question: Text
    minutes: int
    order: int
    path_minutes: Mapping[str, int]
    pages: Mapping[Language, tuple[Page, ...]]
    questions: tuple[Question, ...]
    exercises: tuple[Exercise, ...]
    experiments: tuple[str, ...]
    recordings: Mapping[str, Recording]

    def page(self, language: Language, name: str) -> Page:
        """The page called `name`, or the first where there is none."""
        pages = self.pages[language]
        return next((page for page in pages if page.id == name), pages[0])

    def page_ids(self) -> tuple[str, ...]:
        """The ids of the pages in order, the same in both languages."""
        return tuple(page.id for page in self.pages["en"])

    def exercise(self, name: str) -> Exercise:
        """The exercise called `name`. Raises KeyError."""
        return next(item for item in self.exercises if item.name == name)

    def select_questions(self, names: tuple[str, ...]) -> tuple[Question, ...]:
        """The questions called `names` in that order; all of them for none."""
        if not names:
            return self.questions
        by_id = {question.id: question for question in self.questions}
        return tuple(by_id[name] for name in names)


@dataclass(frozen=True, slots=True)
class Step:
    """One stop on a path: a lesson, or one that is not written yet (`lesson` None)."""

    slug: str
    title: Text
    question: Text
    minutes: int
    lesson: Lesson | None


@dataclass(frozen=True, slots=True)
class LearningPath:
    """A way through the course that takes about `minutes`: whole lessons, or only some `parts` of them.

    `recap` are the questions at its end, as (lesson, question).
    """

    id: str
    title: Text
    about: Text
    minutes: int
    steps: tuple[Step, ...]
    evidence: tuple[Evidence, ...] = ()
    parts: tuple[Part, ...] = PARTS
    recap: tuple[tuple[str, str], ...] = ()

    @property
    def real_minutes(self) -> int:
        """What its lessons take together; `minutes` is what was promised."""
        return sum(step.minutes for step in self.steps)

    @property
    def is_whole(self) -> bool:
        """Whether it takes whole lessons."""
        return set(self.parts) == set(PARTS)

    def page_ids(self, lesson: Lesson) -> tuple[str, ...]:
        """The ids of those pages of `lesson` that stand on this path, in order."""
        return tuple(page.id for page in lesson.pages["en"] if page.part in self.parts)

    def recap_questions(self) -> tuple[tuple[Lesson, Question], ...]:
        """The questions at its end, each with its lesson; what cannot be read is left out."""
        lessons = {step.slug: step.lesson for step in self.steps if step.lesson is not None}
        found = []
        for slug, name in self.recap:
            lesson = lessons.get(slug)
            question = next((item for item in lesson.questions if item.id == name), None) if lesson else None
            if lesson is not None and question is not None:
                found.append((lesson, question))
        return tuple(found)


def lessons_directory() -> Path:
    """The folder of the lessons that come with the package."""
    return Path(str(files("lessons")))


def load_lessons(root: Path | None = None) -> tuple[Lesson, ...]:
    """Every lesson under `root` (the package by default), in the course's order. Raises UserError for a broken one."""
    folders = sorted(path.parent for path in (root or lessons_directory()).glob("[a-z]*/module.toml"))
    terms = load_glossary(root)
    return tuple(sorted((read_lesson(folder, terms) for folder in folders), key=lambda lesson: lesson.order))


def readable_lessons(root: Path | None = None) -> tuple[tuple[Lesson, ...], tuple[Text, ...]]:
    """The lessons that can be read, in order, and what is wrong with the others. Raises UserError for the glossary."""
    terms = load_glossary(root)
    found, problems = [], []
    for path in sorted((root or lessons_directory()).glob("[a-z]*/module.toml")):
        try:
            found.append(read_lesson(path.parent, terms))
        except UserError as error:
            problems.append(error.text)
    return tuple(sorted(found, key=lambda lesson: lesson.order)), tuple(problems)


def load_lesson(slug: str, root: Path | None = None) -> Lesson:
    """The lesson called `slug`. Raises UserError that lists the known ones."""
    folder = (root or lessons_directory()) / slug
    if _SLUG.match(slug) and (folder / "module.toml").is_file():
        return read_lesson(folder, load_glossary(root))
    known = ", ".join(lesson.slug for lesson in load_lessons(root))
    raise UserError(f"no lesson {slug!r}: there are {known}", f"没有课程 {slug!r}：现有 {known}")


def lesson_title(slug: str, root: Path | None = None) -> Text:
    """The title of the lesson `slug`, without reading the rest of it. Raises UserError."""
    return Fields.read((root or lessons_directory()) / slug / "module.toml").text("title")


def find_exercise(name: str, root: Path | None = None) -> Exercise:
    """The exercise called `name` in any lesson. Raises UserError that lists the known ones."""
    exercises = [exercise for lesson in readable_lessons(root)[0] for exercise in lesson.exercises]
    for exercise in exercises:
        if exercise.name == name:
            return exercise
    known = ", ".join(exercise.name for exercise in exercises)
    raise UserError(f"no exercise {name!r}: there are {known}", f"没有练习 {name!r}：现有 {known}")


def load_glossary(root: Path | None = None) -> Mapping[str, Term]:
    """The terms of every lesson's ``glossary.toml``, by id. Raises UserError."""
    directory = root or lessons_directory()
    return read_glossary(sorted(directory.glob("[a-z]*/glossary.toml")))


def read_lesson(folder: Path, terms: Mapping[str, Term]) -> Lesson:
    """The lesson in `folder`, its references checked. Raises UserError with file and line, or file and field."""
    fields = Fields.read(folder / "module.toml")
    pages = {language: read_pages(folder / f"{language}.md")[1] for language in LANGUAGES}
    exercises = [read_exercise(path.parent, folder.name) for path in sorted(folder.glob("exercises/*/exercise.toml"))]
    lesson = Lesson(
        slug=folder.name,
        directory=folder,
        title=fields.text("title"),
        question=fields.text("question"),
        minutes=fields.integer("minutes", 1, 6000),
        order=fields.integer("order", 0, 1000),
        path_minutes={name: int(minutes) for name, minutes in fields.numbers("paths").items()},
        pages=pages,
        questions=read_quiz(folder / "quiz.toml"),
        exercises=tuple(exercises),
        experiments=tuple(sorted(path.stem for path in folder.glob("experiments/[a-z]*.py"))),
        recordings=load_recordings(folder / "recorded.json"),
    )
    fields.close()
    for problem in _broken_references(lesson, terms):
        raise problem
    return lesson


def _broken_references(lesson: Lesson, terms: Mapping[str, Term]) -> Iterator[UserError]:
    for language in LANGUAGES:
        for page in lesson.pages[language]:
            for block in page.blocks:
                for line, missing in _missing(lesson, block, terms, language):
                    where = f"{lesson.directory / f'{language}.md'}:{line}"
                    yield UserError(f"{where}: {missing.en}", f"{where}：{missing.zh}")
    page_ids = set(lesson.page_ids())
    for question in lesson.questions:
        if question.after and question.after not in page_ids:
            where = f"{lesson.directory / 'quiz.toml'}: question[{question.id}]"
            yield UserError(f"{where}: no page {question.after!r}", f"{where}：没有页 {question.after!r}")


def _missing(lesson: Lesson, block: Block, terms: Mapping[str, Term], language: Language) -> Iterator[tuple[int, Text]]:
    """What `block` refers to that does not exist, with its line.

    Code references are resolved when they are shown, and by the content doctor.
    """
    exercises = tuple(exercise.name for exercise in lesson.exercises)
    questions = tuple(question.id for question in lesson.questions)
    match block:
        case PredictBlock(experiment=name) | RunBlock(experiment=name) if name not in lesson.experiments:
            yield block.line, _no("experiment", "实验", name, lesson.experiments)
        case ExerciseBlock(name=name) if name not in exercises:
            yield block.line, _no("exercise", "练习", name, exercises)
        case FigureBlock(name=name) if not figure_path(lesson.directory, name, language).is_file():
            yield block.line, _no("figure", "图", f"{name}.{language}.txt", ())
        case DiagramBlock(switches=names):
            for name in names:
                if name not in SWITCHES:
                    yield block.line, _no("switch", "开关", name, tuple(SWITCHES))
        case QuizBlock(questions=names):
            for name in names:
                if name not in questions:
                    yield block.line, _no("question", "题目", name, questions)
        case MarkdownBlock(text=text):
            for number, line in enumerate(text.splitlines(), block.line):
                for found in _missing_in_prose(lesson, line, terms):
                    yield number, found
        case _:
            pass


def _missing_in_prose(lesson: Lesson, line: str, terms: Mapping[str, Term]) -> Iterator[Text]:
    """Numbers that were not recorded and glossary terms that do not exist."""
    for experiment, claim_id, measure in placeholders(line):
        recording = lesson.recordings.get(experiment)
        claim = recording.claim(claim_id) if recording else None
        if claim is None or (measure is not None and measure not in claim.measured):
            name = f"{experiment}.{claim_id}" + (f".{measure}" if measure else "")
            yield Text(
                f"{{{{{name}}}}} was not recorded: python -m lessons record {lesson.slug}",
                f"{{{{{name}}}}} 没有记录：请运行 python -m lessons record {lesson.slug}",
            )
    for match in TERM_LINK.finditer(line):
        if match["term"] not in terms:
            yield _no("glossary term", "术语", match["term"], ())


def _no(kind_en: str, kind_zh: str, name: str, known: tuple[str, ...]) -> Text:
    listed = ", ".join(known)
    return Text(
        f"no {kind_en} {name!r}" + (f": there are {listed}" if known else ""),
        f"没有{kind_zh} {name!r}" + (f"：现有 {listed}" if known else ""),
    )


def code_references(lesson: Lesson) -> Iterator[CodeBlock]:
    """Every piece of source code the lesson shows, once for each language."""
    for language in LANGUAGES:
        for page in lesson.pages[language]:
            yield from (block for block in page.blocks if isinstance(block, CodeBlock))


def load_paths(root: Path | None = None, lessons: tuple[Lesson, ...] | None = None) -> tuple[LearningPath, ...]:
    """The learning paths with their steps; lessons not written yet have none. Raises UserError.

    `lessons` saves reading them again.
    """
    file = Fields.read((root or lessons_directory()) / "paths.toml")
    written = {lesson.slug: lesson for lesson in (load_lessons(root) if lessons is None else lessons)}
    planned = []
    for item in file.tables("planned", label="slug"):
        slug = item.string("slug")
        planned.append(
            (item.integer("order", 0, 1000), slug, item.text("title"), item.text("question"), item.numbers("paths"))
        )
        item.close()
    stops = [entry for entry in planned if entry[1] not in written]
    stops += [(item.order, item.slug, item.title, item.question, dict(item.path_minutes)) for item in written.values()]
    stops.sort(key=lambda stop: stop[0])
    paths = []
    for item in file.tables("path"):
        name = item.string("id")
        steps = tuple(
            Step(slug, title, question, int(minutes[name]), written.get(slug))
            for _, slug, title, question, minutes in stops
            if name in minutes
        )
        promised = item.integer("minutes", 1, 100_000)
        evidence = read_evidence(item.tables("evidence", label=""))
        named = item.strings("parts", default=PARTS)
        parts = tuple(part for part in PARTS if part in named)
        recap = tuple(
            (slug, question) for slug, _, question in (n.partition("/") for n in item.strings("recap", default=()))
        )
        path = LearningPath(name, item.text("title"), item.text("about"), promised, steps, evidence, parts, recap)
        paths.append(path)
        item.close()
    file.close()
    return unique(paths, lambda path: path.id, file.where)
