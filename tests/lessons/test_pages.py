"""Lesson Markdown: pages, live fences, and mistakes said with file and line."""

from __future__ import annotations

import pytest

from lessons.pages import (
    CodeBlock,
    ExerciseBlock,
    FigureBlock,
    MarkdownBlock,
    PredictBlock,
    QuizBlock,
    RunBlock,
    parse_pages,
    term_links,
)
from minimind.errors import UserError

GOOD = """# Title

## Why it matters {#why_page .why}

Some *text*.

```predict depth
```

```run depth layers=30 bias=false
```

## What it is {#what_page .what}

### A detail {#detail}

```python
x[[0]] = "## not a heading"
```

```code minimind.events:Text.of
first note

second note
```

## How to do it {#how_page .how}

```quiz one two
```

```exercise write_it
```

```figure flow
```
"""


def test_pages_and_their_blocks() -> None:
    title, pages = parse_pages(GOOD, "en.md")
    assert title == "Title"
    assert [(page.id, page.part, page.title) for page in pages] == [
        ("why_page", "why", "Why it matters"),
        ("what_page", "what", "What it is"),
        ("how_page", "how", "How to do it"),
    ]
    assert pages[0].blocks == (
        MarkdownBlock("Some *text*.", 5),
        PredictBlock("depth", 7),
        RunBlock("depth", {"layers": "30", "bias": "false"}, 10),
    )
    prose, code = pages[1].blocks
    assert isinstance(prose, MarkdownBlock)
    assert "### A detail\n" in prose.text
    assert "## not a heading" in prose.text
    assert code == CodeBlock("minimind.events:Text.of", ("first note", "second note"), 21)
    assert pages[2].blocks == (QuizBlock(("one", "two"), 29), ExerciseBlock("write_it", 32), FigureBlock("flow", 35))


def test_skeleton_holds_headings_and_fences_but_no_words() -> None:
    pages = parse_pages(GOOD, "en.md")[1]
    assert pages[1].skeleton == (
        ("heading", "2", "what_page"),
        ("heading", "3", "detail"),
        ("fence", "python"),
        ("fence", "code minimind.events:Text.of"),
    )
    other = parse_pages(GOOD.replace("Some *text*.", "别的话。").replace("A detail", "细节"), "zh.md")[1]
    assert [page.skeleton for page in other] == [page.skeleton for page in pages]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("# Title", "Title", 1, "before the first page"),
        ("{#why_page .why}", "", 3, "needs an id and a part"),
        ("{#what_page .what}", "{#why_page .what}", 13, "used twice"),
        (".what}", ".how}", 27, "why, what, how"),
        ("```figure flow\n```", "```figure flow", 35, "not closed"),
        ("```figure flow", "```figure", 35, "one thing"),
        ("```predict depth", "```predict depth other", 7, "one thing"),
        ("layers=30", "layers", 10, "name=value"),
        ("```run depth layers", "```run other layers", 7, "`run depth` must follow"),
        ("```predict depth\n", "```predict depth\nwords\n", 7, "no text"),
        ("Some *text*.", "line\n" * 60, 3, "more than 60"),
        ("Some *text*.", "# Again", 5, "second title"),
    ],
)
def test_mistakes_name_the_line(old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    with pytest.raises(UserError) as raised:
        parse_pages(GOOD.replace(old, new), "course/en.md")
    assert str(raised.value).startswith(f"course/en.md:{line}: ")
    assert words in str(raised.value)
    assert raised.value.text.zh.startswith(f"course/en.md:{line}：")


def test_term_links_stay_out_of_code() -> None:
    text = "See [[rms|the size]] and [[he_initialisation]].\n\n```python\nx[[rms]]\n```\n\n[[rms]]"
    assert term_links(text, lambda term, label: f"<{term}:{label}>") == (
        "See <rms:the size> and <he_initialisation:he initialisation>.\n\n```python\nx[[rms]]\n```\n\n<rms:rms>"
    )
