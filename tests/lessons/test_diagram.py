"""The picture of the block: every switch is in it once, rows fit together, and it changes with the switches."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, get_args

import pytest

from lessons.diagram import MINIMUM_WIDTH, Chip, draw, plain_rows
from lessons.page_text import plain_page
from lessons.pages import DiagramBlock, parse_pages
from minimind.commands.columns import cell_width
from minimind.errors import UserError
from minimind.events import Language
from minimind.lab.switches import Switches, names
from minimind.model.variants.arrangement import NormPlace, Order, Residual


def every_arrangement() -> list[dict[str, Any]]:
    """The combinations that a block can have."""
    found = []
    for place, residual, order in product(get_args(NormPlace), get_args(Residual), get_args(Order)):
        changes = {"norm_place": place, "residual": residual, "order": order}
        try:
            Switches(**changes)
        except UserError:
            continue
        found.append(changes)
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("more", [{}, {"attention": "no"}, {"feed_forward": "none"}, {"positions": "learned"}])
def test_every_switch_is_drawn_once_in_every_arrangement(language: Language, more: dict[str, Any]) -> None:
    for changes in every_arrangement():
        switches = Switches(**changes, **more)
        chips = [part for row in draw(switches, names(), language, 70) for part in row if isinstance(part, Chip)]
        assert sorted(chip.name for chip in chips) == sorted(names())
        changed = {chip.name for chip in chips if chip.changed}
        assert changed == {name for name in names() if getattr(switches, name) != getattr(Switches(), name)}
        assert all(chip.text.endswith("*") == chip.changed for chip in chips)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [20, 60, 76])
def test_frames_are_closed_and_fit(language: Language, width: int) -> None:
    for changes in every_arrangement():
        rows = plain_rows(Switches(**changes), names(), language, width)
        framed = [row for row in rows if row[0] in "┌│└"]
        widths = {cell_width(row) for row in framed}
        assert len(widths) == 1
        assert all(row[-1] in "┐│┘" for row in framed)
        assert max(map(cell_width, rows)) <= max(width, 74)
    usual = plain_rows(Switches(), names(), language, width)
    assert len(usual) <= 24
    assert max(map(cell_width, usual)) <= max(width, MINIMUM_WIDTH + 16)


def joined(**changes: Any) -> str:
    return "\n".join(plain_rows(Switches(**changes), (), "en", 60))


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, lambda art: art.count("⊕◀") == 2 and art.count("RMSNorm ──▶") == 2),
        ({"residual": "none"}, lambda art: "⊕" not in art and art.count("╭◀") == 2),
        ({"residual": "one"}, lambda art: art.count("⊕◀") == 1 and art.count("╭◀") == 1),
        ({"norm_place": "post"}, lambda art: art.count("▓ RMSNorm") == 2 and "RMSNorm ──▶" not in art),
        ({"norm_place": "sandwich"}, lambda art: "attention ──▶ RMSNorm" in art and "SwiGLU ──▶ RMSNorm" in art),
        ({"norm": "layer"}, lambda art: "RMSNorm" not in art and art.count("LayerNorm") == 3),
        ({"order": "parallel"}, lambda art: art.count("⊕◀") == 1 and art.count("┤") == 1),
        ({"order": "feed_forward_first"}, lambda art: art.index("feed-forward") < art.index("attention")),
        ({"order": "sandwich"}, lambda art: art.count("┌") == 3 and art.count("▶ attention") == 2),
        ({"attention": "no"}, lambda art: "(attention)" in art and art.count("⊕◀") == 1),
        ({"attention": "no", "residual": "one"}, lambda art: art.count("⊕◀") == 1 and "╭◀" not in art),
    ],
)
def test_the_picture_shows_what_is_computed(changes: dict[str, Any], holds: Callable[[str], bool]) -> None:
    assert holds(joined(**changes)), joined(**changes)


PAGES = """# T

## A {{#a .why}}

```diagram {names}
```

## B {{#b .what}}

x

## C {{#c .how}}

y
"""


def test_a_fence_names_the_switches() -> None:
    page = parse_pages(PAGES.format(names="norm,residual"), "en.md")[1][0]
    assert page.blocks == (DiagramBlock(("norm", "residual"), 5),)
    with pytest.raises(UserError, match="one thing"):
        parse_pages(PAGES.format(names="norm residual"), "en.md")


def test_without_the_app_the_picture_is_text(tmp_path: Any) -> None:
    page = parse_pages(PAGES.format(names="norm,residual"), "en.md")[1][0]
    text = plain_page(tmp_path, page, {}, "en")
    assert "residual [around each]" in text
    assert "python -m lessons run what_if --set norm=" in text
