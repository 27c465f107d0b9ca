"""How far a recipe is: a directory with its TOML, what each step came to, and the report. No torch.

recipe.toml   as it was when it was begun; state.json   what is done, replaced atomically
log.txt       of a detached start; tokenizer/ export/   what was made
report.en.md report.zh.md *.svg                         at the end
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minimind import paths
from minimind.errors import UserError
from minimind.recipe.plan import Recipe, parse_recipe
from minimind.safe_text import clean_line
from minimind.training.run_files import read_json, write_atomic

RECIPE, STATE, LOCK, LOG = "recipe.toml", "state.json", "lock", "log.txt"
TOKENIZER, EXPORT = "tokenizer", "export"


@dataclass(slots=True)
class Book:
    """One cooking of a recipe. `done` maps a step to what it came to (JSON data), `runs` a stage to its run's id."""

    directory: Path
    recipe: Recipe
    runs: dict[str, str] = field(default_factory=dict)
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    began: float = 0.0

    @property
    def id(self) -> str:
        """Its name."""
        return self.directory.name

    def steps(self) -> tuple[str, ...]:
        """The names of all that is to be done, in order."""
        recipe = self.recipe
        return (
            *(("tokenizer",) if recipe.tokenizer is not None else ()),
            *(f"stage:{stage.name}" for stage in recipe.stages),
            "evaluate",
            *(f"export:{name}" for name in recipe.exports),
            "report",
        )

    def note_run(self, stage: str, run: str) -> None:
        """Remember which run a stage is."""
        self.runs[stage] = run
        self._save()

    def finish(self, step: str, result: dict[str, Any]) -> None:
        """Remember that `step` is done and what it came to."""
        self.done[step] = result
        self._save()

    def _save(self) -> None:
        write_atomic(self.directory / STATE, {"began": self.began, "runs": self.runs, "done": self.done}, durable=True)

    @property
    def is_cooking(self) -> bool:
        """Whether a process works on it now."""
        try:
            with (self.directory / LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False

    @contextmanager
    def cooking(self) -> Iterator[None]:
        """Nobody else works on it meanwhile. Raises UserError where somebody does."""
        with (self.directory / LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(
                    f"{self.id}: another process works on it: wait, or stop that one",
                    f"{self.id}：另一个进程正在执行它：请等待，或先停止那个进程",
                ) from None
            yield


def begin(recipe: Recipe, name: str) -> Book:
    """A new book for `recipe`, in a directory named after `name`. Raises UserError where it cannot be made."""
    stem = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in Path(name).stem).strip("-")
    directory = paths.recipes() / f"{time.strftime('%Y-%m-%d')}-{stem or 'recipe'}-{secrets.token_hex(2)}"
    try:
        directory.mkdir(parents=True, mode=0o700)
        (directory / RECIPE).write_text(recipe.source, encoding="utf-8")
        book = Book(directory, recipe, began=time.time())
        book._save()
    except OSError as error:
        raise UserError(
            f"{directory}: cannot be made: {error.strerror}", f"{directory}：无法创建：{error.strerror}"
        ) from None
    return book


def open_book(directory: Path) -> Book:
    """The book in `directory`. Raises UserError where it is none."""
    state = read_json(directory / STATE)
    try:
        source = (directory / RECIPE).read_text(encoding="utf-8")
        if state is None:
            raise ValueError
        runs = {str(name): str(run) for name, run in state["runs"].items()}
        done = {str(name): dict(result) for name, result in state["done"].items()}
        began = float(state["began"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{directory}: not a recipe that was begun", f"{directory}：不是已开始的配方") from None
    return Book(directory, parse_recipe(source, str(directory / RECIPE)), runs, done, began)


def list_books() -> tuple[Book, ...]:
    """Those that were begun, newest first; what cannot be read is left out."""
    found = []
    folder = paths.recipes()
    for directory in sorted(folder.iterdir(), reverse=True) if folder.is_dir() else ():
        try:
            found.append(open_book(directory))
        except UserError:
            continue
    return tuple(sorted(found, key=lambda book: book.began, reverse=True))


def find_book(name: str) -> Book:
    """The one called `name`, or whose name holds it, or ``last``. Raises UserError that lists what there is."""
    books = list_books()
    exact = [book for book in books if book.id == name] or (list(books[:1]) if name == "last" else [])
    found = exact or [book for book in books if name in book.id]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(book.id for book in (found or books)[:8]) or "–"
    shown = clean_line(name, 60)
    raise UserError(
        f"{shown}: {'more than one recipe' if found else 'no recipe'} of that name was begun: {listed}",
        f"{shown}：{'有多个' if found else '没有'}以此命名、已开始的配方：{listed}",
    )


def is_begun(name: str) -> bool:
    """Whether `name` is the name of a book rather than of a recipe."""
    return name == "last" or (os.sep not in name and (paths.recipes() / name / STATE).is_file())
