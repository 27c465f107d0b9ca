"""``minimind chat MODEL``: a conversation over stdin and stdout; a line is a message. Works piped."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from minimind.commands.inference_flags import add_engine_flags, open_engine, standard_input
from minimind.commands.output import Output
from minimind.config import SampleConfig
from minimind.errors import UserError
from minimind.safe_text import clean_line

if TYPE_CHECKING:
    from minimind.inference.engine import Engine, Token


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``chat``."""
    parser = subparsers.add_parser("chat", help="talk to a model / 与模型对话")
    add_engine_flags(parser)
    parser.add_argument("--system", metavar="TEXT", help="instruction before the conversation / 对话之前的系统指令")
    parser.add_argument(
        "--tools", action="store_true", help="let it call a calculator and text tools / 允许调用计算器和文本工具"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    engine, config = open_engine(arguments, output)
    conversation = Conversation(engine, config, output, arguments.system, with_tools=arguments.tools)
    conversation.introduce()
    for line in _lines(output):
        if line.startswith("/"):
            if not conversation.obey(line):
                break
        elif line:
            conversation.answer(line)
    return 0


def _lines(output: Output) -> Iterator[str]:
    """What the person types, with a prompt and line editing at a terminal; the lines of a pipe otherwise."""
    source = standard_input()
    if not source.isatty():
        for line in source:
            yield line.strip()
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 (gives input() history and arrow keys)
    while True:
        try:
            yield input("> ").strip()
        except EOFError:
            output.say("")
            return


class Conversation:
    """The messages so far, the settings, and what a line does to them."""

    def __init__(
        self, engine: Engine, config: SampleConfig, output: Output, system: str | None, *, with_tools: bool = False
    ) -> None:
        self._engine = engine
        self._config = config
        self._output = output
        self._system = system
        self._with_tools = with_tools
        self._messages: list[dict[str, str]] = []
        self._continues = engine.metadata.get("objective") == "pretrain"

    def introduce(self) -> None:
        """Say what answers, and how to be helped."""
        say, pick = self._output.say, self._output.pick
        if self._continues:
            say(
                pick(
                    "This model was only pretrained: it continues each text and knows nothing of conversations.",
                    "这个模型只经过预训练：它会续写每段文本，不懂对话。",
                )
            )
        say(pick("/help lists the commands, Ctrl-D ends.", "/help 列出命令，Ctrl-D 结束。"))

    def obey(self, line: str) -> bool:
        """Do what a line that begins with a slash says; False where it ends the conversation."""
        name, _, value = line[1:].partition(" ")
        name, value = name.replace("-", "_"), value.strip()
        say, pick = self._output.say, self._output.pick
        if name in ("quit", "exit", "bye"):
            return False
        if name == "help":
            self._help()
        elif name == "reset":
            self._messages.clear()
            say(pick("The conversation begins anew.", "对话已重新开始。"))
        elif name == "system":
            self._system = value or None
            say(
                pick("The instruction is set.", "系统指令已设好。")
                if value
                else pick("No instruction.", "没有系统指令。")
            )
        elif name in self._config.to_dict():
            self._set(name, value)
        else:
            shown = clean_line(name, 40)
            say(pick(f"/{shown}: no such command; /help lists them", f"/{shown}：没有这个命令；/help 可列出全部"))
        return True

    def answer(self, text: str) -> None:
        """Write the answer to `text`. Ctrl-C ends it; what was written by then is kept."""
        from minimind.inference.tool_chat import chat_with_tools, final_answer

        message = {"role": "user", "content": text}
        system = [{"role": "system", "content": self._system}] if self._system else []
        if self._continues:
            stream = self._engine.complete(text, self._config)
        elif self._with_tools:
            stream = chat_with_tools(self._engine, [*system, *self._messages, message], self._config)
        else:
            stream = self._engine.chat([*system, *self._messages, message], self._config)
        written, last = "", None
        try:
            for last in stream:
                written += last.text
                self._output.write(last.text)
        except KeyboardInterrupt:
            stream.close()
        for note in self._engine.notes:
            self._output.say(note)
        said = final_answer(written) if self._with_tools else written
        self._messages += [message, {"role": "assistant", "content": said}]
        self._output.emit(_answer_data(written, last), "")

    def _set(self, name: str, value: str) -> None:
        say, pick = self._output.say, self._output.pick
        try:
            if value:
                self._config = self._config.replace(**{name: value})
        except UserError as error:
            say(error.text)
        else:
            say(f"{name} = {self._config.to_dict()[name]}" + ("" if value else pick(" (now)", "（当前）")))

    def _help(self) -> None:
        say, pick = self._output.say, self._output.pick
        say(pick("/reset            begin anew", "/reset            重新开始对话"))
        say(pick("/system TEXT      an instruction before the conversation", "/system 文本      对话之前的系统指令"))
        for declared in self._config.declared():
            command = f"/{declared.name} {self._config.to_dict()[declared.name]}"
            say(f"{command:<25} {declared.about.help.of(self._output.language)}")
        say(pick("/quit             end (as Ctrl-D does)", "/quit             结束（同 Ctrl-D）"))


def _answer_data(written: str, last: Token | None) -> dict[str, object]:
    finish = (last.finish if last else None) or "cancelled"
    return {
        "role": "assistant",
        "content": written,
        "finish": finish,
        "seconds": round(last.seconds, 4) if last else 0.0,
    }
