"""A course of one lesson, made from the template, that a test may break."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import pytest

from lessons.author_commands import new_lesson
from lessons.doctor import accept
from lessons.lesson import lessons_directory
from minimind.commands.output import Output

PATHS = """
[[path]]
id = "mastery"
minutes = 20
title = { en = "All", zh = "全部" }
about = { en = "Everything.", zh = "全部内容。" }

[[planned]]
slug = "later"
order = 200
title = { en = "Later", zh = "以后" }
question = { en = "When?", zh = "何时？" }
paths = { other = 3 }
"""
GLOSSARY = """
[[term]]
id = "softmax"
name = { en = "softmax", zh = "softmax" }
meaning = { en = "Scores to probabilities.", zh = "把分数变成概率。" }
"""


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """The root of a course with one sound lesson, ``sample``."""
    root = tmp_path / "course"
    root.mkdir()
    (root / "paths.toml").write_text(PATHS, encoding="utf-8")
    silent = Output(as_json=True, language="en", stdout=io.StringIO(), stderr=io.StringIO())
    assert new_lesson(argparse.Namespace(slug="sample", into=root), silent) == 0
    (root / "sample" / "glossary.toml").write_text(GLOSSARY, encoding="utf-8")
    accept(root)
    return root


@pytest.fixture
def shipped() -> Path:
    """The folder of the lesson on normalization."""
    return lessons_directory() / "normalization"


def edit(path: Path, old: str, new: str) -> None:
    """Replace `old`, which must be there, by `new` in the file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
