"""Talk to a model: any checkpoint, or two side by side; the conversation is kept."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from minimind.config import EngineConfig, SampleConfig
from minimind.errors import UserError
from minimind_tui import clipboard, supervisor
from minimind_tui.conversation import Conversation, Turn
from minimind_tui.inbox import DRAIN_SECONDS
from minimind_tui.model_list import Model, first_model, list_models
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.screens.model_picker import ModelPicker
from minimind_tui.screens.sample_dialog import SampleDialog
from minimind_tui.widgets.answer import Answer
from minimind_tui.widgets.chat_pane import ChatPane
from minimind_tui.widgets.line import Line
from minimind_tui.widgets.prompt_box import LONGEST_PASTE, PromptBox


class ChatScreen(MiniMindScreen):
    """The chat, with the model at `path` (a checkpoint, a run id, a shipped model's name), or with the first there is."""

    TITLE_KEY = "chat.title"
    DEFAULT_CSS = """
    ChatScreen #columns { height: 1fr; }
    ChatScreen ChatPane.-second { border-left: solid $rule; }
    ChatScreen #readout { display: none; height: auto; max-height: 2; padding: 0 1; background: $surface; color: $foreground; }
    ChatScreen.-tokens #readout { display: block; }
    ChatScreen PromptBox { margin: 1 0 0 0; border-left: outer $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "chat.key.stop"),
        Binding("ctrl+o", "model", "chat.key.model"),
        Binding("ctrl+g", "sample", "chat.key.sample"),
        Binding("ctrl+t", "tokens", "chat.key.tokens"),
        Binding("ctrl+r", "compare", "chat.key.compare"),
        Binding("ctrl+n", "new", "chat.key.new"),
        Binding("ctrl+y", "copy", "chat.key.copy"),
        Binding("up", "walk(-1)", "chat.key.up", show=False),
        Binding("down", "walk(1)", "chat.key.down", show=False),
        Binding("pageup", "scroll(-1)", "chat.key.page_up", show=False),
        Binding("pagedown", "scroll(1)", "chat.key.page_down", show=False),
    ]

    def __init__(self, path: str | None = None) -> None:
        super().__init__()
        self._first_path = path
        self._sample = SampleConfig()
        self._engine = EngineConfig()
        self._conversation = Conversation.new()
        self._picked = ""
        self._has_begun = False
        self._sends_when_ready = False

    def compose_body(self) -> ComposeResult:
        """The columns, the read-out of a token, and the box to write in."""
        with Horizontal(id="columns"):
            yield ChatPane()
        yield Line(id="readout")
        yield PromptBox(id="prompt")

    def on_mount(self) -> None:
        """Bring back the last conversation, open a model, begin to listen."""
        self.query_one(PromptBox).focus()
        self.set_interval(DRAIN_SECONDS, self._drain)
        self.relabel()
        self._begin()

    @property
    def _panes(self) -> list[ChatPane]:
        return list(self.query(ChatPane))

    # --- models -------------------------------------------------------------------------------------------------------

    @work(group="open")
    async def _begin(self) -> None:
        self._conversation, models = await asyncio.to_thread(lambda: (Conversation.newest(), list_models()))
        if not self._panes:  # the screen was taken down meanwhile
            return
        pane = self._panes[0]
        if self._conversation.turns:
            pane.log_view.show_turns([turn for turn in self._conversation.turns if turn.side == 0])
        self._has_begun = True
        path = self._first_path or self._last_path(models)
        if path is None:
            self._sends_when_ready = False
            pane.remark("chat.nothing_to_open", bad=True)
        else:
            await pane.open(path, self._engine.dtype)

    def _last_path(self, models: list[Model]) -> str | None:
        """The model of the kept conversation if it is still there, else the first there is."""
        known = {model.path for model in models}
        for turn in reversed(self._conversation.turns):
            if turn.side == 0 and turn.model in known:
                return turn.model
        first = first_model(models)
        return first.path if first is not None else None

    def open_model(self, path: str) -> None:
        """Talk to another model; the conversation goes on with it."""
        pane = self._panes[0]
        if not self._has_begun:
            self._first_path = path
        elif path != pane.path or pane.is_closed:
            self._open(pane, path)

    @work(group="open")
    async def _open(self, pane: ChatPane, path: str) -> None:
        pane.remark("chat.now_with", model=supervisor.model_title(path))
        await pane.open(path, self._engine.dtype)

    @work(group="pick", exclusive=True)
    async def action_model(self) -> None:
        """Choose the model to talk to."""
        model = await self.app.push_screen_wait(ModelPicker(self._panes[0].path))
        if model is not None:
            self.open_model(model.path)

    @work(group="pick", exclusive=True)
    async def action_compare(self) -> None:
        """Let a second model answer beside the first, or send it away."""
        panes = self._panes
        if len(panes) > 1:
            await panes[1].remove()
            return
        model = await self.app.push_screen_wait(ModelPicker(panes[0].path))
        if model is None:
            return
        pane = ChatPane(side=1)
        await self.query_one("#columns").mount(pane)
        pane.log_view.show_probabilities(self.has_class("-tokens"))
        await pane.open(model.path, self._engine.dtype)

    # --- talking ------------------------------------------------------------------------------------------------------

    @on(PromptBox.Sent)
    async def _sent(self, event: PromptBox.Sent) -> None:
        panes = self._panes
        self._sends_when_ready = False
        if any(pane.is_answering for pane in panes):
            self.app.tell(self.t("chat.busy"))
        elif all(pane.is_ready for pane in panes):
            await self._ask(event.text)
        elif self._has_begun and not all(pane.path for pane in panes):
            self.app.tell(self.t("chat.no_model_hint"))
        else:
            self.app.tell(self.t("chat.not_ready"))
            self._sends_when_ready = True
            for pane in panes:
                if self._has_begun and pane.is_closed:
                    await pane.open(pane.path, self._engine.dtype)

    async def _ask(self, text: str) -> None:
        """Put `text` to the model, or to both."""
        panes = self._panes
        self.query_one(PromptBox).clear()
        histories = [self._conversation.messages(pane.side) for pane in panes]
        self._keep(Turn("prompt" if panes[0].completes else "user", text))
        for pane, history in zip(panes, histories, strict=True):
            await pane.ask(text, history, self._sample.to_dict(), lookup=self._engine.lookup)

    @on(PromptBox.TooLong)
    def _too_long(self) -> None:
        self.app.tell(self.t("chat.paste_too_long", limit=f"{LONGEST_PASTE:,}"))

    @on(ChatPane.Answered)
    def _answered(self, event: ChatPane.Answered) -> None:
        self._keep(event.turn)

    def _keep(self, turn: Turn) -> None:
        try:
            self._conversation.append(turn)
        except UserError as error:
            self.app.tell(error.text, severity="warning")

    @on(ChatPane.Changed)
    def _pane_changed(self) -> None:
        self.refresh_bindings()
        self.relabel()
        if not self._sends_when_ready:
            return
        if all(pane.is_ready for pane in self._panes):
            self._sends_when_ready = False
            self.query_one(PromptBox).action_send()
        elif any(pane.is_closed for pane in self._panes):  # it cannot be opened, and says why
            self._sends_when_ready = False

    def _drain(self) -> None:
        for pane in self._panes:
            pane.drain()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 (Textual's signature)
        """Escape stops an answer; without one it goes back."""
        return any(pane.is_answering for pane in self._panes) if action == "stop" else True

    async def action_stop(self) -> None:
        """End the answers in progress."""
        for pane in self._panes:
            await pane.stop()

    def action_new(self) -> None:
        """Begin a new conversation; the old one stays on disk."""
        if any(pane.is_answering for pane in self._panes):
            self.app.tell(self.t("chat.busy"))
            return
        self._conversation = Conversation.new()
        for pane in self._panes:
            pane.log_view.show_turns([])
            pane.remark("chat.new_begun")

    @work(group="pick", exclusive=True)
    async def action_sample(self) -> None:
        """Change how text is drawn, and with which weights; other weights mean opening the models again."""
        chosen = await self.app.push_screen_wait(SampleDialog(self._sample, self._engine))
        if chosen is None:
            return
        before, (self._sample, self._engine) = self._engine, chosen
        if self._engine.dtype != before.dtype:
            for pane in self._panes:
                if pane.path:
                    await pane.open(pane.path, self._engine.dtype)

    # --- looking at answers -------------------------------------------------------------------------------------------

    def action_tokens(self) -> None:
        """Colour tokens by their probability, or not."""
        self.toggle_class("-tokens")
        for pane in self._panes:
            pane.log_view.show_probabilities(self.has_class("-tokens"))
        self._picked = ""
        self.relabel()

    @on(Answer.Picked)
    def _token_picked(self, event: Answer.Picked) -> None:
        self._picked = event.words
        self.relabel()

    @on(PromptBox.LeftUpwards)
    def _left_upwards(self) -> None:
        self.action_walk(-1)

    def action_walk(self, step: int) -> None:
        """From the box up through the answers, and down again."""
        answers = list(self.query(Answer))
        focused = self.focused
        place = answers.index(focused) if isinstance(focused, Answer) else len(answers)
        place = max(0, place + step)
        if place < len(answers):
            answers[place].focus()
        else:
            self.query_one(PromptBox).focus()

    def action_scroll(self, pages: int) -> None:
        """Turn the pages of the conversation."""
        for pane in self._panes:
            if pages < 0:
                pane.log_view.scroll_page_up()
            else:
                pane.log_view.scroll_page_down()

    def action_copy(self) -> None:
        """Copy the answer that has the focus, or the newest."""
        answers = list(self.query(Answer))
        focused = self.focused
        answer = focused if isinstance(focused, Answer) else answers[-1] if answers else None
        if answer is None or not answer.text:
            self.app.tell(self.t("chat.nothing_to_copy"))
            return
        in_tmux = clipboard.copy(self.app, answer.text)
        self.app.tell(self.t("chat.copied_tmux" if in_tmux else "chat.copied"))

    def relabel(self) -> None:
        """Speak again."""
        completes = bool(self._panes) and self._panes[0].completes
        self.query_one(PromptBox).placeholder = self.t("chat.write_text" if completes else "chat.write")
        self.query_one("#readout", Line).show(self._picked or self.t("chat.tokens_hint"))
