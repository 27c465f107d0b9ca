"""One model and the conversation with it: its child process, its name and speed, its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.message import Message
from textual.widget import Widget

from minimind.events import Text
from minimind.figures import quantity
from minimind.safe_text import clean_line
from minimind_tui import supervisor
from minimind_tui.chat_client import ChatClient, Done, Piece, Ready, Trouble
from minimind_tui.conversation import Role, Turn
from minimind_tui.speech import Speaker
from minimind_tui.widgets.chat_log import ChatLog
from minimind_tui.widgets.line import Line

ALTERNATIVES = 5
_FINISHES = ("stop", "length", "cancelled")


class ChatPane(Speaker, Widget):
    """A column of the chat; `side` is 0, or 1 for the second model of a comparison. Its owner calls `drain` often."""

    DEFAULT_CSS = """
    ChatPane { width: 1fr; height: 1fr; }
    ChatPane .pane-title { height: 1; padding: 0 1; color: $text-muted; background: $surface; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    class Answered(Message):
        """An answer is complete: the turn to be kept."""

        def __init__(self, turn: Turn) -> None:
            super().__init__()
            self.turn = turn

    class Changed(Message):
        """The pane became ready, began or ended an answer, or lost its child."""

    def __init__(self, side: int = 0) -> None:
        super().__init__(classes="-second" if side else None)
        self.side = side
        self.client = ChatClient()
        self._facts: Mapping[str, Any] = {}
        self._title = Line(classes="pane-title")
        self.log_view = ChatLog()

    def compose(self) -> ComposeResult:
        """A title row and the turns."""
        yield self._title
        yield self.log_view

    def on_mount(self) -> None:
        """Speak for the first time."""
        self.relabel()

    async def on_unmount(self) -> None:
        """End the child."""
        await self.client.close()

    # --- the model ----------------------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """What is open, or was last."""
        return self.client.path

    @property
    def completes(self) -> bool:
        """Whether the model only continues text: it was pretrained and not taught to answer."""
        return self._facts.get("objective") == "pretrain"

    @property
    def is_answering(self) -> bool:
        """Whether an answer is in progress."""
        return self.client.state == "answering"

    @property
    def is_closed(self) -> bool:
        """Whether there is no child."""
        return self.client.state == "closed"

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked."""
        return self.client.state == "ready"

    async def open(self, path: str, dtype: str = "auto") -> None:
        """Load another model in place of this one, with weights of `dtype`."""
        self._end_answer("cancelled")
        self._facts = {}
        await self.client.open(path, dtype)
        self.relabel()
        self.post_message(self.Changed())

    async def ask(
        self, text: str, history: Sequence[Mapping[str, str]], sample: Mapping[str, Any], *, lookup: bool = False
    ) -> None:
        """Send what the person wrote: as the next message after `history`, or as text to be continued."""
        self.log_view.ask(text, is_prompt=self.completes)
        self.log_view.begin_answer(supervisor.model_title(self.path))
        if self.completes:
            await self.client.complete(text, sample, top=ALTERNATIVES, lookup=lookup)
        else:
            messages = [*history, {"role": "user", "content": text}]
            await self.client.chat(messages, sample, top=ALTERNATIVES, lookup=lookup)
        self.relabel()
        self.post_message(self.Changed())

    async def stop(self) -> None:
        """End the answer in progress."""
        await self.client.stop()

    def drain(self) -> None:
        """Show what the child said since the last call."""
        pieces: list[Piece] = []
        for message in self.client.drain():
            if isinstance(message, Piece):
                pieces.append(message)
                continue
            self._feed(pieces)
            pieces = []
            self._take(message)
        self._feed(pieces)

    # --- what the child says ------------------------------------------------------------------------------------------

    def _feed(self, pieces: list[Piece]) -> None:
        if pieces:
            self.log_view.feed(pieces)

    def _take(self, message: Ready | Done | Trouble) -> None:
        if isinstance(message, Ready):
            self._facts = message.facts
            for note in message.notes:
                self.remark(note)
            if self.log_view.is_empty:
                self.remark("chat.hello_text" if self.completes else "chat.hello")
        elif isinstance(message, Done):
            for note in message.notes:
                self.log_view.remark(note)
            self._end_answer(message.finish, message)
        else:
            self._end_answer("cancelled")
            self.log_view.remark(message.text, bad=True)
        self.relabel()
        self.post_message(self.Changed())

    def _end_answer(self, finish: str, done: Done | None = None) -> None:
        """Close the answer in progress, if there is one, and hand it over to be kept."""
        answer = self.log_view.answer
        if answer is None or answer.is_ended:
            return
        known = finish if finish in _FINISHES else "stop"
        speed = done.tokens / done.seconds if done is not None and done.seconds > 0 else None
        if done is None:
            answer.end("chat.end.broken")
        elif speed is None:
            answer.end(f"chat.end.{known}", tokens=done.tokens, speed="–")
        else:
            answer.end(f"chat.end.{known}", tokens=done.tokens, speed=f"{speed:,.0f}")
        if answer.answer.text:
            role: Role = "completion" if self.completes else "assistant"
            self.post_message(self.Answered(Turn(role, answer.answer.text, self.path, self.side, known)))

    def remark(self, source: str | Text, *, bad: bool = False, **values: Any) -> None:
        """Say something of our own in the log."""
        self.log_view.remark(source, bad=bad, **values)

    def relabel(self) -> None:
        """Speak again."""
        self._title.show(clean_line(self._words(), 300))

    def _words(self) -> str:
        title = supervisor.model_title(self.path) if self.path else self.t("chat.no_model")
        state = self.client.state
        if state == "opening":
            return self.t("chat.opening", model=title)
        if state == "closed":
            return self.t("chat.closed", model=title) if self.path else title
        parts = [title, str(self._facts.get("objective") or "")]
        parameters, context = self._facts.get("parameters"), self._facts.get("context")
        if isinstance(parameters, int):
            parts.append(self.t("chat.parameters", count=quantity(parameters)))
        parts.append(str(self._facts.get("dtype") or ""))
        if isinstance(context, int):
            parts.append(self.t("chat.context", count=f"{context:,}"))
        if self.completes:
            parts.append(self.t("chat.completes"))
        return " · ".join(part for part in parts if part)
