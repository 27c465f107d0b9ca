"""The block with its switches, drawn with characters: a picture of what will be trained, each switch in its place.

No terminal and no torch: the app makes the switches live, the command line prints the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from minimind.commands.columns import cell_width
from minimind.events import Language, Text
from minimind.lab.switches import SWITCHES, Switches
from minimind.model.variants.arrangement import ends_of_sandwich

Sublayer = Literal["attention", "feed_forward"]
MINIMUM_WIDTH = 44
_IN_ATTENTION = ("heads", "kv_heads", "mask", "scale", "projections", "qk_norm")
_ADDED_POSITIONS = ("learned", "sinusoidal")
_LAYERS = 2
_WORDS = {
    "tokens": Text("tokens", "词元"),
    "embedding": Text("embedding", "嵌入"),
    "block": Text("block × {count}", "块 × {count}"),
    "last": Text("last norm: {norm}", "最后的归一化：{norm}"),
    "output": Text("output layer", "输出层"),
    "next": Text("scores for the next token", "下一个词元的得分"),
    "attention": Text("attention", "注意力"),
    "feed_forward": Text("feed-forward", "前馈"),
    "without": Text("without effect here:", "此时不起作用："),
}


@dataclass(frozen=True, slots=True)
class Chip:
    """A switch as it stands in the picture; `changed` where it is not as usual."""

    name: str
    text: str
    changed: bool


@dataclass(frozen=True, slots=True)
class Fill:
    """Repeats a character until the row is as wide as the others."""

    character: str


Segment: TypeAlias = str | Chip | Fill
Row: TypeAlias = tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Rails:
    """What stands at the left of a sublayer: where its branch begins, beside it, where it comes back; and the corners."""

    enter: str
    beside: str
    leave: str
    begin: str = "╮"
    end: str = "╯"


_AROUND = Rails("├──▶ ", "│    ", "⊕◀──")
_THROUGH = Rails("╰──▶ ", "     ", "╭◀──")


class Picture:
    """The rows for `switches`, of which those `shown` are chips, at least `width` cells wide."""

    def __init__(self, switches: Switches, shown: tuple[str, ...], language: Language, width: int) -> None:
        self._switches, self._shown, self._language = switches, shown, language
        self._width = max(width, MINIMUM_WIDTH)
        self._left = set(shown)

    def rows(self) -> tuple[Row, ...]:
        """From the tokens to the scores, every row equally wide."""
        rows = [*self._below(), *self._blocks(), *self._above(), *self._without_effect()]
        widest = max(self._width, max(map(_width, rows)))
        return tuple(_filled(row, widest) for row in rows)

    def _word(self, name: str) -> str:
        return _WORDS[name].of(self._language)

    def _value(self, name: str) -> str:
        return SWITCHES[name].choices[getattr(self._switches, name)].of(self._language)

    def _chips(self, *names: str) -> list[Chip]:
        """Those of `names` that are shown and have not been drawn yet."""
        made = []
        for name in names:
            if name in self._left:
                self._left.discard(name)
                changed = getattr(self._switches, name) != getattr(Switches(), name)
                text = f"{SWITCHES[name].label.of(self._language)} [{self._value(name)}]"
                made.append(Chip(name, text + ("*" if changed else ""), changed))
        return made

    def _in_rows(self, chips: list[Chip], room: int) -> Iterator[Row]:
        """Chips side by side, as many as there is room for."""
        row: list[Segment] = []
        for chip in chips:
            if row and _width(tuple(row)) + 2 + cell_width(chip.text) > room:
                yield tuple(row)
                row = []
            row += ["  ", chip] if row else [chip]
        if row:
            yield tuple(row)

    # --- below and above ----------------------------------------------------------------------------------------------

    def _below(self) -> Iterator[Row]:
        added = self._chips("positions") if self._switches.positions in _ADDED_POSITIONS else []
        yield (f"   {self._word('tokens')} ──▶ {self._word('embedding')}", *(("  ⊕◀ ", added[0]) if added else ()))

    def _above(self) -> Iterator[Row]:
        yield (f"   {self._word('last').format(norm=self._value('norm'))}",)
        tied = self._chips("tied")
        yield (f"   {self._word('output')}", *(("  ", tied[0]) if tied else ()))
        yield (f"   ──▶ {self._word('next')}",)

    def _without_effect(self) -> Iterator[Row]:
        """Switches of parts that are not there."""
        rest = self._chips(*self._shown)
        if rest:
            yield (f"   {self._word('without')}",)
            for row in self._in_rows(rest, self._width - 6):
                yield ("     ", *row)

    # --- blocks -------------------------------------------------------------------------------------------------------

    def _blocks(self) -> Iterator[Row]:
        """One frame for all blocks, or three where sublayers gather at the ends."""
        both: tuple[Sublayer, ...] = ("attention", "feed_forward")
        order = self._switches.order
        if order == "sandwich":
            ends = ends_of_sandwich(_LAYERS)
            stages: list[tuple[int, tuple[Sublayer, ...]]] = [
                (ends, both[:1]),
                (_LAYERS - ends, both),
                (ends, both[1:]),
            ]
        else:
            stages = [(_LAYERS, both[::-1] if order == "feed_forward_first" else both)]
        for count, sublayers in stages:
            title = self._word("block").format(count=count) if len(stages) == 1 else f"× {count}"
            chips = self._chips("order")
            between: list[Segment] = [" ", *chips, " "] if chips else []
            yield (f"┌────┼── {title} ──", *between, Fill("─"), "┐")
            for row in self._inside(sublayers):
                yield (
                    ("│    ", *row, " │") if any(isinstance(s, Fill) for s in row) else ("│    ", *row, Fill(" "), " │")
                )
            yield ("└────┼──", Fill("─"), "┘")

    def _inside(self, sublayers: tuple[Sublayer, ...]) -> Iterator[Row]:
        present = [sublayer for sublayer in sublayers if not self._is_absent(sublayer)]
        for sublayer in sublayers:
            yield ("│",)
            if sublayer not in present:
                yield ("│    ", *self._name(sublayer))
                continue
            yield from self._sublayer(sublayer, self._rails(sublayer, present))
        yield ("│",)

    def _is_absent(self, sublayer: Sublayer) -> bool:
        return self._switches.attention == "no" if sublayer == "attention" else self._switches.feed_forward == "none"

    def _rails(self, sublayer: Sublayer, present: list[Sublayer]) -> Rails:
        """How the branch of a sublayer leaves the stream and comes back."""
        residual, first, last = self._switches.residual, sublayer == present[0], sublayer == present[-1]
        if self._switches.order == "parallel":
            usual = _AROUND if residual == "both" else _THROUGH
            if not last:
                return Rails("├──▶ ", "│    ", "", "╮" if first else "┤")
            return Rails(usual.enter, usual.beside, usual.leave, "╮" if first else "┤")
        if residual == "one" and not (first and last):
            return Rails("├──▶ ", "│    ", "│╭◀─") if first else Rails("│╰─▶ ", "│    ", "⊕◀──")
        return _THROUGH if residual == "none" else _AROUND

    def _name(self, sublayer: Sublayer) -> list[Segment]:
        """What the sublayer is called, with the switch that changes it."""
        chips = self._chips("attention" if sublayer == "attention" else "feed_forward")
        if chips:
            return [chips[0]]
        if self._is_absent(sublayer):
            return [f"({self._word(sublayer)})"]
        return [
            self._word(sublayer) if sublayer == "attention" else f"{self._word(sublayer)} {self._value('feed_forward')}"
        ]

    def _sublayer(self, sublayer: Sublayer, rails: Rails) -> Iterator[Row]:
        """Norm and part, the switches below, and the way back to the stream."""
        place = self._switches.norm_place
        before: list[Segment] = []
        if place != "post":
            before = [self._chips("norm")[0] if "norm" in self._left else self._value("norm"), " ──▶ "]
        after: list[Segment] = [f" ──▶ {self._value('norm')}"] if place == "sandwich" else []
        yield (rails.enter, *before, *self._name(sublayer), *after, " ", Fill("─"), rails.begin)
        chips = self._chips("norm_place") if place != "post" else []
        if sublayer == "attention":
            positions = () if self._switches.positions in _ADDED_POSITIONS else ("positions",)
            chips += self._chips(*positions, *_IN_ATTENTION)
        else:
            chips += self._chips("ratio")
        for row in self._in_rows(chips, self._width - 20):
            yield (rails.beside, "  ", *row, " ", Fill(" "), "│")
        if rails.leave:
            back = self._chips("residual")
            if not back or self._switches.order == "parallel":
                back += self._chips("output_scale")
            chips_between: list[Segment] = [segment for chip in back for segment in (" ", chip)]
            yield (rails.leave, *chips_between, *([" "] if back else []), Fill("─"), rails.end)
        if place == "post":
            named: list[Segment] = [*self._chips("norm")] or [self._value("norm")]
            where: list[Segment] = [segment for chip in self._chips("norm_place") for segment in ("  ", chip)]
            yield ("▓ ", *named, *where)


def _width(row: Row) -> int:
    """The cells a row needs; a fill needs one."""
    widths = (cell_width(s) if isinstance(s, str) else 1 if isinstance(s, Fill) else cell_width(s.text) for s in row)
    return sum(widths)


def _filled(row: Row, width: int) -> Row:
    """The row with its fill drawn out to `width` cells."""
    missing = width - _width(row) + 1
    return tuple(s.character * missing if isinstance(s, Fill) else s for s in row)


def draw(switches: Switches, shown: tuple[str, ...], language: Language, width: int) -> tuple[Row, ...]:
    """The picture for `switches`, at least `width` cells wide (and MINIMUM_WIDTH); no `Fill` is left in the rows."""
    return Picture(switches, shown, language, width).rows()


def plain_rows(switches: Switches, shown: tuple[str, ...], language: Language, width: int) -> list[str]:
    """The picture as text."""
    rows = draw(switches, shown, language, width)
    return [
        "".join(s if isinstance(s, str) else s.text if isinstance(s, Chip) else "" for s in row).rstrip()
        for row in rows
    ]
