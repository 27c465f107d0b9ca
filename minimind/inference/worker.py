"""The child process that owns a model and its device: ``python -m minimind.inference.worker PATH [DTYPE]``.

JSON lines both ways, UTF-8, at most 8 MiB each; PATH is anything `locate_model` understands, DTYPE what `Engine.open`
takes. What it is asked:

    {"op": "generate", "id": 1, "messages": [{"role": "user", "content": "…"}], "sample": {"temperature": 0.7},
     "top": 5, "look": ["attention"],           or "prompt": "…" in place of messages: raw text to continue
     "lookup": true}                            guess ahead from repeated text
    {"op": "stop"}                              ends every request sent so far, at the next token
    {"op": "open", "path": "…"}                 another model; the present one stays where that fails
    {"op": "quit"}                              or the end of its input: the parent is gone

and what it says:

    {"op": "ready", "path", "objective", "step", "parameters", "context", "vocab_size", "device", "dtype", "notes",
     "metadata"}                                dtype is that of the weights that write
    {"op": "token", "id", "text", "probability", "alternatives": [["text", 0.5], …], "attention": [[…], …]}
    {"op": "done", "id", "finish": "stop" | "length" | "cancelled", "tokens", "seconds", "prompt_tokens", "drafted",
     "accepted", "notes"}
    {"op": "error", "text": {"en", "zh"}}       with "id" where a request with an id failed

`sample` has the fields of SampleConfig; all but one of messages and prompt may be left out. A token's text may be empty
(half a character) and its probability null (text left over at the end). A line that is no request gets one error and
changes nothing. Where PATH cannot be opened, one error is said and the process ends with status 2.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from minimind.config import SampleConfig
from minimind.errors import UserError
from minimind.events import Text
from minimind.hardware import wait_without_spinning
from minimind.inference.messages import check_messages
from minimind.safe_text import clean_line
from minimind.startup import without_collecting

if TYPE_CHECKING:
    from minimind.inference.engine import Engine

LONGEST_LINE = 8 << 20
MOST_ALTERNATIVES = 100
LOOKS = ("attention",)
GRACE_SECONDS = 2.0
"""How long a child whose parent is gone may take to come to an end by itself."""


@dataclass(frozen=True, slots=True)
class Generate:
    """A request for text."""

    id: int | str
    messages: list[Mapping[str, Any]] | None
    prompt: str | None
    sample: SampleConfig
    top: int
    attention: bool
    lookup: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """A request for another model."""

    path: str


@dataclass(frozen=True, slots=True)
class Signal:
    """``stop`` or ``quit``."""

    quit: bool


Request = Generate | Open | Signal


def parse_request(line: bytes) -> Request:
    """The request in one line. Raises UserError for anything else, naming the field that is wrong."""
    if len(line) > LONGEST_LINE:
        raise _bad("a line", "longer than 8 MiB", "一行", "超过 8 MiB")
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        raise _bad("a line", "not JSON", "一行", "不是 JSON") from None
    operation = data.get("op") if isinstance(data, dict) else None
    if operation in ("stop", "quit"):
        return Signal(operation == "quit")
    if operation == "open" and isinstance(data.get("path"), str) and "\0" not in data["path"]:
        return Open(data["path"])
    if operation == "generate":
        return _parse_generate(data)
    raise _bad(
        "op", "not generate, stop, open (with a path) or quit", "op", "不是 generate、stop、open（带 path）或 quit"
    )


def _parse_generate(data: Mapping[str, Any]) -> Generate:
    number, messages, prompt = data.get("id"), data.get("messages"), data.get("prompt")
    top, look, sample = data.get("top", 0), data.get("look", []), data.get("sample", {})
    if isinstance(number, bool) or not isinstance(number, (int, str)):
        raise _bad("id", "not a number or a text", "id", "不是数字或文本")
    if (messages is None) == (prompt is None):
        raise _bad("messages, prompt", "not exactly one of them given", "messages、prompt", "应恰好给出其中一个")
    if messages is not None:
        check_messages(messages)
    if prompt is not None and not isinstance(prompt, str):
        raise _bad("prompt", "not a text", "prompt", "不是文本")
    if isinstance(top, bool) or not isinstance(top, int) or not 0 <= top <= MOST_ALTERNATIVES:
        raise _bad("top", f"not a number from 0 to {MOST_ALTERNATIVES}", "top", f"不是 0 到 {MOST_ALTERNATIVES} 的整数")
    if not isinstance(look, list) or any(item not in LOOKS for item in look):
        raise _bad("look", 'not a list of "attention"', "look", "不是由 attention 组成的列表")
    if not isinstance(sample, dict):
        raise _bad("sample", "not a table of settings", "sample", "不是一组设置")
    lookup = data.get("lookup", False)
    if not isinstance(lookup, bool):
        raise _bad("lookup", "neither true nor false", "lookup", "不是 true 或 false")
    config = SampleConfig.from_dict(sample, where="sample")
    return Generate(number, messages, prompt, config, top, "attention" in look, lookup)


def _bad(en_what: str, en: str, zh_what: str, zh: str) -> UserError:
    return UserError(f"bad request: {en_what}: {en}", f"请求有误：{zh_what}：{zh}")


class Worker:
    """Reads requests on a thread of its own, so that "stop" is heard while the model works; answers on the main one."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO, dtype: str = "auto") -> None:
        self._dtype = dtype
        self._requests = requests
        self._answers = answers
        self._saying = threading.Lock()
        self._waiting: queue.Queue[tuple[int, Generate | Open] | None] = queue.Queue()
        self._received = 0
        self._stopped = 0  # requests up to this number are cancelled
        self._finished = threading.Event()
        self._engine: Engine | None = None

    def run(self, path: str) -> int:
        """Open `path` and serve until the input ends; returns the exit status."""
        threading.Thread(target=self._listen, name="requests", daemon=True).start()
        try:
            with self._reporting():
                self._open(path)
            if self._engine is None:
                return 2
            while (item := self._waiting.get()) is not None:
                number, request = item
                if isinstance(request, Open):
                    with self._reporting():
                        self._open(request.path)
                else:
                    with self._reporting(request.id):
                        self._generate(number, request, self._engine)
            return 0
        finally:
            self._finished.set()

    def _listen(self) -> None:
        """Read to the end of the input; then see to it that this process ends, whatever the model is doing."""
        with contextlib.suppress(OSError, ValueError):
            for line in _lines(self._requests):
                try:
                    request = parse_request(line)
                except UserError as error:
                    self._say_error(error.text)
                    continue
                if not isinstance(request, Signal):
                    self._received += 1
                    self._waiting.put((self._received, request))
                    continue
                self._stopped = self._received
                if request.quit:
                    break
        self._stopped = self._received
        self._waiting.put(None)
        if not self._finished.wait(GRACE_SECONDS):
            os._exit(0)

    def _open(self, path: str) -> None:
        with without_collecting():
            from minimind.inference.engine import Engine

        engine = self._engine = Engine.open(path, dtype=self._dtype)
        weight = engine.model.lm_head.weight
        self._say(
            op="ready",
            path=path,
            objective=engine.metadata.get("objective"),
            step=engine.metadata.get("step"),
            parameters=engine.model.parameter_count(),
            context=engine.context,
            vocab_size=engine.config.vocab_size,
            device=str(weight.device),
            dtype=engine.format,
            notes=engine.metadata.get("notes", ()),
            metadata=engine.metadata,
        )

    def _generate(self, number: int, request: Generate, engine: Engine) -> None:
        from minimind.inference.speculative import PromptLookup

        notes: tuple[Text, ...] = ()
        if request.messages is not None:
            tokens, notes = engine.encode_chat(request.messages, request.sample)
        else:
            tokens = engine.encode_text(request.prompt or "")
        engine.proposer = PromptLookup() if request.lookup else None
        stream = engine.generate(
            tokens,
            request.sample,
            stop=lambda: number <= self._stopped,
            top=request.top,
            attention=request.attention,
            notes=notes,
        )
        count = 0
        for token in stream:
            ends_text = token.id is None or token.finish == "stop"
            count += not ends_text
            if token.text or not ends_text:
                message: dict[str, Any] = {
                    "op": "token",
                    "id": request.id,
                    "text": token.text,
                    "probability": token.probability,
                }
                message |= {"alternatives": token.alternatives} if request.top else {}
                message |= {"attention": token.attention} if request.attention else {}
                self._say(**message)
        self._say(
            op="done",
            id=request.id,
            finish=token.finish,
            tokens=count,
            seconds=token.seconds,
            prompt_tokens=engine.prompt_tokens,
            drafted=engine.drafted,
            accepted=engine.accepted,
            notes=[{"en": note.en, "zh": note.zh} for note in engine.notes],
        )

    @contextlib.contextmanager
    def _reporting(self, request: int | str | None = None) -> Iterator[None]:
        """Turn what goes wrong inside into one error message; the next request starts afresh."""
        try:
            yield
        except UserError as error:
            self._say_error(error.text, request)
        except Exception as error:
            if self._engine is not None:
                self._engine.forget()
            traceback.print_exc()
            self._say_error(_explain(error), request)

    def _say_error(self, text: Text, request: int | str | None = None) -> None:
        about = {} if request is None else {"id": request}
        self._say(op="error", **about, text={"en": text.en, "zh": text.zh})

    def _say(self, **message: Any) -> None:
        """Write one message; end the process where nobody reads any more."""
        line = json.dumps(message, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"
        try:
            with self._saying:
                self._answers.write(line)
                self._answers.flush()
        except (OSError, ValueError):
            os._exit(0)


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines of `source` that are not blank; of one beyond the limit only so much that it can be seen to be too long."""
    while line := source.readline(LONGEST_LINE + 1):
        end = line
        while not end.endswith(b"\n") and (end := source.readline(LONGEST_LINE)):
            pass
        if line.strip():
            yield line


def _explain(error: Exception) -> Text:
    """Running out of memory has a remedy; everything else is ours, and stderr has the rest."""
    what = clean_line(f"{type(error).__name__}: {error}", 300)
    if isinstance(error, MemoryError) or "out of memory" in what.lower() or "allocate memory" in what:
        return Text(
            "out of memory: shorten the text, open a smaller model or free memory",
            "内存不足：请缩短文本、换小一些的模型，或腾出内存",
        )
    return Text(f"a fault of ours: {what}", f"程序自身出错：{what}")


def main() -> int:
    """Serve on the process's own pipes. What libraries print goes to stderr, never between the messages."""
    if len(sys.argv) not in (2, 3):
        sys.stderr.write("usage: python -m minimind.inference.worker PATH [DTYPE]\n")
        return 2
    wait_without_spinning()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        return Worker(sys.stdin.buffer, answers, *sys.argv[2:]).run(sys.argv[1])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # the reading thread may be inside stdin's lock, which an ordinary exit would wait for and die of
