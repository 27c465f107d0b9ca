"""A few sentences to choose from, each under a letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from minimind.events import Text
from minimind.safe_text import clean
from minimind_tui.speech import Speaker

LETTERS = "abcdefghijklmnopqrstuvwxyz"
Mark = Literal["right", "wrong"]
_MARKS: dict[Mark, tuple[str, str, str]] = {"right": ("✓", "+", "$success"), "wrong": ("✗", "x", "$error")}


class _Item(Horizontal):
    """One choice: cursor, box, letter, and the sentence with a hanging indent."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.head = Static(markup=False, classes="choice-head")
        self.words = Static(markup=False, classes="choice-words")

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.words


class ChoiceList(Speaker, Vertical, can_focus=True):
    """Up and down move, Enter or a letter chooses; with `multiple`, a letter or space ticks and Enter is the answer.

    After `reveal` the marks stay and nothing can be chosen any more.
    """

    DEFAULT_CSS = """
    ChoiceList { width: 1fr; height: auto; }
    ChoiceList _Item { height: auto; }
    ChoiceList .choice-head { width: 5; height: auto; color: $text-muted; }
    ChoiceList.-multiple .choice-head { width: 9; }
    ChoiceList .choice-words { width: 1fr; height: auto; }
    ChoiceList:focus _Item.-current .choice-words { color: $primary; text-style: bold; }
    ChoiceList:focus _Item.-current .choice-head { color: $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "lesson.key.up", show=False),
        Binding("down,j", "move(1)", "lesson.key.down", show=False),
        Binding("space", "tick", "lesson.key.tick"),
        Binding("enter", "choose", "lesson.key.choose"),
    ]

    class Chosen(Message):
        """These were chosen, by their place in the list."""

        def __init__(self, choices: ChoiceList, picked: tuple[int, ...]) -> None:
            super().__init__()
            self.choices, self.picked = choices, picked

        @property
        def control(self) -> ChoiceList:
            """The list, for `on` selectors."""
            return self.choices

    def __init__(
        self, sentences: Sequence[Text], *, multiple: bool = False, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._sentences = tuple(sentences)
        self._multiple = multiple
        self._ticked: set[int] = set()
        self._marks: Mapping[int, Mark] | None = None
        self._current = 0
        self.set_class(multiple, "-multiple")
        self._items = [_Item(number) for number in range(len(self._sentences))]

    def compose(self) -> ComposeResult:
        """The choices."""
        yield from self._items

    def on_mount(self) -> None:
        """Speak for the first time."""
        self.relabel()

    def relabel(self) -> None:
        """Speak again."""
        for number, item in enumerate(self._items):
            item.set_class(number == self._current and self._marks is None, "-current")
            item.head.update(self._head(number))
            item.words.update(Content(clean(self.say(self._sentences[number]))))

    def reveal(self, marks: Mapping[int, Mark]) -> None:
        """Show what was right and what was chosen wrongly; the list no longer takes an answer."""
        self._marks = dict(marks)
        self.can_focus = False
        self.relabel()

    def _head(self, number: int) -> Content:
        box = ""
        if self._multiple:
            box = "[x] " if number in self._ticked else "[ ] "
        if self._marks is not None:
            mark = self._marks.get(number)
            if mark is None:
                return Content(f"  {box}{LETTERS[number]}")
            sign, plain, color = _MARKS[mark]
            return Content.styled(f"{plain if self.ascii_only else sign} {box}{LETTERS[number]}", f"bold {color}")
        cursor = (">" if self.ascii_only else "▸") if number == self._current else " "
        return Content(f"{cursor} {box}{LETTERS[number]}")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Ticking is for lists with several answers; after the answer nothing is."""
        if self._marks is not None and action in {"move", "tick", "choose"}:
            return False
        return self._multiple if action == "tick" else True

    def action_move(self, rows: int) -> None:
        """Move the cursor; at the ends it stays."""
        self._current = max(0, min(len(self._items) - 1, self._current + rows))
        self.relabel()
        self._items[self._current].scroll_visible(animate=False)

    def action_tick(self) -> None:
        """Tick the choice under the cursor, or take the tick away."""
        self._ticked ^= {self._current}
        self.relabel()

    def action_choose(self) -> None:
        """Give the answer."""
        picked = tuple(sorted(self._ticked)) if self._multiple else (self._current,)
        if picked:
            self.post_message(self.Chosen(self, picked))

    def on_key(self, event: events.Key) -> None:
        """A letter goes to its choice and takes it."""
        letter = event.character or ""
        if self._marks is None and len(letter) == 1 and letter in LETTERS[: len(self._items)]:
            event.stop()
            self._take(LETTERS.index(letter))

    def on_click(self, event: events.Click) -> None:
        """A click does what the letter does."""
        item = (
            next((node for node in event.widget.ancestors_with_self if isinstance(node, _Item)), None)
            if event.widget
            else None
        )
        if self._marks is None and item is not None:
            self.focus()
            self._take(item.number)

    def _take(self, number: int) -> None:
        self._current = number
        if self._multiple:
            self.action_tick()
        else:
            self.relabel()
            self.action_choose()
