"""Chinese breaks between ideographs, and punctuation stays where it belongs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.content import Content

from minimind_tui.typography import install, words

PROSE = (
    "用 softmax 把分数归一化，最后得到加权和。这是粗体文字（bold text），见论文“Attention Is All You Need”，很重要！"
)
NOT_FIRST = "，。、；：？！）》」』】〕〉”’"
NOT_LAST = "（《「『【〔〈“‘"


@pytest.fixture(autouse=True)
def patched() -> None:
    install()


@pytest.mark.parametrize("width", range(16, 61))
def test_lines_are_full_and_punctuation_is_right(width: int) -> None:
    lines = [line.plain.rstrip() for line in Content(PROSE).wrap(width)]
    assert "".join(lines).replace(" ", "") == PROSE.replace(" ", "")
    for line in lines:
        assert cell_len(line) <= width
        assert line[0] not in NOT_FIRST
        assert line[-1] not in NOT_LAST
    # Only a word of Latin letters, or a mark that may not be parted, can leave a line short.
    assert all(cell_len(line) >= width - 12 for line in lines[:-1])


def test_latin_words_stay_whole() -> None:
    lines = [line.plain.rstrip() for line in Content("a measurement of normalisation").wrap(14)]
    assert lines == ["a measurement", "of", "normalisation"]


@given(st.text(alphabet="用分数，。（）“”ab c1 \n", max_size=40))
def test_words_cover_the_text_in_order(text: str) -> None:
    pieces = list(words(text))
    assert "".join(piece for _, _, piece in pieces) == text
    position = 0
    for start, end, piece in pieces:
        assert (start, text[start:end]) == (position, piece)
        position = end


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("归一化", ["归", "一", "化"]),
        ("化，再", ["化，", "再"]),
        ("（见下）", ["（见", "下）"]),
        ("用 soft 的", ["用 ", "soft ", "的"]),
        ("", []),
    ],
)
def test_where_a_text_may_break(text: str, expected: list[str]) -> None:
    assert [piece for _, _, piece in words(text)] == expected
