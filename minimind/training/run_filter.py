"""Choose among runs with a line of text: ``state:running tag:baseline -objective:sft fox``. No torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from minimind.declaration import nearest
from minimind.errors import UserError
from minimind.safe_text import clean_line
from minimind.training.run_status import LIVE_STATES, STATE_NAMES
from minimind.training.run_view import RunView

_TERM = re.compile(r'(-?)(?:([a-z]+):)?(?:"([^"]*)"|(\S+))')
LIVE = "live"
"""``state:live`` means running, paused or stopping."""


def _texts_of(view: RunView) -> Iterable[str]:
    """Where a word without a key is looked for."""
    about = view.about
    return (view.id, view.name, about.note, *about.tags)


def _setting_of(view: RunView, name: str) -> str:
    return "" if view.problem else str(getattr(view.config, name))


_KEYS: dict[str, Callable[[RunView, str], bool]] = {
    "state": lambda view, wanted: wanted in _states_of(view),
    "tag": lambda view, wanted: wanted in (tag.casefold() for tag in view.about.tags),
    "objective": lambda view, wanted: wanted == _setting_of(view, "objective"),
    "model": lambda view, wanted: wanted in _setting_of(view, "model").casefold(),
    "device": lambda view, wanted: wanted == _setting_of(view, "device"),
    "name": lambda view, wanted: wanted in view.name.casefold(),
    "note": lambda view, wanted: wanted in view.about.note.casefold(),
}
"""What can stand before a colon, and whether a run has what stands after it (in lower case)."""


def _states_of(view: RunView) -> tuple[str, ...]:
    state = view.status().state
    return (state, LIVE) if state in LIVE_STATES else (state,)


@dataclass(frozen=True, slots=True)
class _Term:
    key: str
    wanted: tuple[str, ...]
    negated: bool

    def fits(self, view: RunView) -> bool:
        if self.key:
            found = any(_KEYS[self.key](view, wanted) for wanted in self.wanted)
        else:
            found = any(self.wanted[0] in text.casefold() for text in _texts_of(view))
        return found != self.negated


@dataclass(frozen=True, slots=True)
class RunFilter:
    """A condition on runs; without terms every run fits."""

    terms: tuple[_Term, ...] = ()

    def fits(self, view: RunView) -> bool:
        """Whether `view` fulfils every term. Asks for its status only where a term is about it."""
        return all(term.fits(view) for term in self.terms)


def parse_filter(text: str) -> RunFilter:
    """The condition that `text` stands for.

    Terms are separated by spaces and must all hold. ``key:value`` compares (keys: state, tag, objective, model, device,
    name, note), ``key:a,b`` is either, ``-`` before a term negates it, a word alone is looked for in id, name, note
    and tags; quotes keep words together. Case does not matter. Raises UserError for an unknown key or state.
    """
    terms = []
    for sign, key, quoted, plain in _TERM.findall(text):
        value = (quoted or plain).casefold()
        if key and key not in _KEYS:
            known = ", ".join(_KEYS)
            guess, shown = nearest(key, dict.fromkeys(_KEYS)), clean_line(key, 40)
            raise UserError(
                f"filter {shown}: there is no such key{guess}: use one of {known}",
                f"筛选条件 {shown}：没有这个字段{guess}：可用 {known}",
            )
        wanted = tuple(filter(None, value.split(","))) if key and plain else (value,)
        if key == "state":
            _check_states(wanted)
        terms.append(_Term(key, wanted, bool(sign)))
    return RunFilter(tuple(terms))


def _check_states(wanted: Iterable[str]) -> None:
    known = {*STATE_NAMES, LIVE}
    for state in wanted:
        if state not in known:
            shown, guess = clean_line(state, 40), nearest(state, dict.fromkeys(sorted(known)))
            raise UserError(
                f"filter state:{shown}: there is no such state{guess}: use one of {', '.join(sorted(known))}",
                f"筛选条件 state:{shown}：没有这个状态{guess}：可用 {'、'.join(sorted(known))}",
            )
