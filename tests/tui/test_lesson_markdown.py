"""Markdown: Chinese emphasis and line breaks, formulas, tables, code."""

from __future__ import annotations

import pytest
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from lessons.formula import block_formula, inline_formula
from minimind_tui.markdown_text import make_parser
from minimind_tui.rows import cut, fit, fit_right, share_widths
from minimind_tui.widgets.lesson_markdown import LessonMarkdown
from tests.tui.driving import BareApp, lines_of, text_of, until_shown

LESSON = r"""# 归一化 Normalization

**这就是关键。**然后我们看 $\frac{a}{b}$，其中 $x_i$ 是输入，
换行不应有空格。An English line
goes on.

$$
\mathrm{RMSNorm}(x) = \frac{x}{\sqrt{\mathrm{mean}(x^2) + \epsilon}}
$$

| 层 | Norm | 说明 |
|---|---|---|
| 1 | `RMSNorm` | 只除以均方根，不减均值，所以每次少一次归约，而且参数更少，中文表格也要能够换行 |
| 2 | LayerNorm | [/] [@click=app.bell]x[/] |

- item [link](lesson:attention) <b>no html</b>

```python
def forward(self, x): return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight
```
"""


class PageApp(BareApp):
    """One page of a lesson."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.links: list[str] = []

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield LessonMarkdown(self.source)

    def on_markdown_link_clicked(self, event: LessonMarkdown.LinkClicked) -> None:
        self.links.append(event.href)


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("**这就是关键。**然后我们", "<strong>这就是关键。</strong>然后我们"),
        ("这是**粗体**文字", "这是<strong>粗体</strong>文字"),
        ("**“重点”**是", "<strong>“重点”</strong>是"),
        ("他说**（注意）**之后", "他说<strong>（注意）</strong>之后"),
        ("结果是**`softmax`**函数", "结果是<strong><code>softmax</code></strong>函数"),
        ("**注意：**这里", "<strong>注意：</strong>这里"),
        ("**重点**：说明，**另一个**。", "<strong>重点</strong>：说明，<strong>另一个</strong>。"),
        ("~~删。~~再", "<s>删。</s>再"),
        ("a**b.**c", "a**b.**c"),
        ("**Note.** next", "<strong>Note.</strong> next"),
        ("2 ** 3 ** 4", "2 ** 3 ** 4"),
        ("snake_case_name", "snake_case_name"),
    ],
)
def test_emphasis(source: str, html: str) -> None:
    assert make_parser().renderInline(source) == html


@pytest.mark.parametrize(
    ("source", "joined"),
    [("归一\n化", "归一化"), ("one\ntwo", "one\ntwo"), ("用\nsoftmax", "用\nsoftmax"), ("好。\n“再”", "好。“再”")],
)
def test_a_line_break_between_ideographs_is_no_space(source: str, joined: str) -> None:
    assert make_parser().render(source).strip() == f"<p>{joined}</p>"


def test_html_is_text_and_dollars_may_be_prices() -> None:
    assert make_parser().renderInline("<b>x</b>") == "&lt;b&gt;x&lt;/b&gt;"
    assert make_parser().renderInline("costs $5 and $6") == "costs $5 and $6"


@pytest.mark.parametrize("size", [(80, 60), (160, 50), (60, 60)])
async def test_a_page_is_drawn(size: tuple[int, int]) -> None:
    app = PageApp(LESSON)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "RMSNorm(x) = ", "no html", "def forward")
        text = text_of(app)
        sentence = "这就是关键。然后我们看 a/b，其中 xᵢ 是输入，换行不应有空格。An English line goes on."
        assert "".join(sentence.split()) in "".join(text.split())
        assert "─────" in text
        assert "[/] [@click=app.bell]x[/]" in text
        assert "<b>no html</b>" in text
        assert not any("\\frac" in line for line in lines_of(app))


async def test_links_are_posted_not_opened() -> None:
    app = PageApp("[next lesson](lesson:attention)")
    async with app.run_test(size=(60, 10)) as pilot:
        await until_shown(pilot, "next lesson")
        line = next(y for y, text in enumerate(lines_of(app)) if "next lesson" in text)
        await pilot.click(offset=(lines_of(app)[line].index("next"), line))
        await pilot.pause()
        assert app.links == ["lesson:attention"]


async def test_text_cannot_drive_the_terminal() -> None:
    app = PageApp("hello \x1b]52;c;x\x07 `code \x1b[2J` \u202eabc")
    async with app.run_test(size=(60, 10)) as pilot:
        text = await until_shown(pilot, "hello ␛]52;c;x␇")
        assert "\x1b" not in text
        assert "⟨U+202E⟩" in text


FORMULAS = [
    r"\mathrm{RMSNorm}(x) = \frac{x}{\sqrt{\frac{1}{d}\sum_{i=1}^{d} x_i^2 + \epsilon}} \odot g",
    r"\mathrm{softmax}(z)_i = \frac{e^{z_i/T}}{\sum_j e^{z_j/T}}",
    r"\mathrm{Attention}(Q,K,V)=\mathrm{softmax}\left(\frac{QK^\top}{\sqrt{d}}\right)V",
    r"L = -\sum_t \log p(x_t \mid x_{<t})",
    r"\lVert x \rVert_2 = \sqrt{\sum_i x_i^2}",
    r"\theta \leftarrow \theta - \eta \frac{\hat m}{\sqrt{\hat v} + \epsilon}",
    r"\ln V \approx 7.62",
]


@pytest.mark.parametrize("tex", FORMULAS)
def test_formulas_are_drawn_in_rows_of_one_width(tex: str) -> None:
    rows = block_formula(tex)
    assert len({len(row) for row in rows}) == 1
    assert not any("?" in row or "TeXicode" in row or "\\" in row for row in rows)
    assert "\n" not in inline_formula(tex)


@pytest.mark.parametrize(
    ("tex", "line"),
    [
        ("x_i", "xᵢ"),
        (r"\frac{a}{b}", "a/b"),
        (r"\frac{1}{2} + \frac{x+1}{y}", "1/2+(x+1)/y"),
        (r"\frac{\frac{a}{b}}{c}", "(a/b)/c"),
        (r"\nosuchmacro{x}", r"\nosuchmacro{x}"),
        (r"\frac{a", r"\frac{a"),
    ],
)
def test_formulas_in_a_sentence_take_one_line(tex: str, line: str) -> None:
    assert inline_formula(tex).replace(" ", "") == line


def test_what_cannot_be_drawn_is_shown_as_written() -> None:
    assert block_formula("\\unknown{x}\n+ 1") == ("\\unknown{x}", "+ 1")


def test_text_in_cells() -> None:
    assert cut("归一化很好", 7) == "归一化…"
    assert cut("abc", 3) == "abc"
    assert cut("abc", 0) == ""
    assert fit("归", 3) == "归 "
    assert fit("归一化", 4) == "归… "
    assert fit_right("7", 3) == "  7"
    assert share_widths([3, 50, 50], 43) == [3, 20, 20]
    assert share_widths([3, 4], 80) == [3, 4]
    assert share_widths([30, 30], 2) == [4, 4]
