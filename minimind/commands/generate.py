"""``minimind generate MODEL [PROMPT]``: write on after a prompt, streamed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minimind.commands.inference_flags import add_engine_flags, open_engine, standard_input
from minimind.commands.output import Output
from minimind.config import SampleConfig
from minimind.errors import UserError

if TYPE_CHECKING:
    from minimind.inference.engine import Engine


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``generate``."""
    parser = subparsers.add_parser("generate", help="continue a text / 续写文本")
    add_engine_flags(parser)
    parser.add_argument(
        "prompt", metavar="PROMPT", nargs="?", help="text (none: from stdin) / 文本（不给则读标准输入）"
    )
    parser.add_argument(
        "--batch", action="store_true", help="every line is a prompt, all written at once / 每行一个文本，同时生成"
    )
    parser.add_argument("--chat", action="store_true", help="answer the prompt as a message / 把文本当作一条消息来回答")
    parser.add_argument(
        "--top",
        type=int,
        default=0,
        metavar="N",
        help="with --json: N alternatives a token / 配合 --json：每个词元给出 N 个候选",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    if arguments.top < 0:
        raise UserError("--top must be 0 or more", "--top 不能是负数")
    prompt = arguments.prompt
    if prompt is None:
        source = standard_input()
        if source.isatty():
            output.say(output.pick("The text, then Ctrl-D:", "请输入文本，以 Ctrl-D 结束："))
        prompt = source.read()
        prompt = prompt.removesuffix("\n")
    engine, config = open_engine(arguments, output)
    if arguments.batch:
        return _write_all(engine, config, prompt.splitlines(), arguments, output)
    if arguments.chat:
        stream = engine.chat([{"role": "user", "content": prompt}], config, top=arguments.top)
    else:
        stream = engine.complete(prompt, config, top=arguments.top)
    text, count = "", 0
    for token in stream:
        text += token.text
        count += token.id is not None
        output.write(token.text)
        if output.as_json:
            one = {"kind": "token", "id": token.id, "text": token.text, "probability": token.probability}
            output.emit(one | ({"alternatives": token.alternatives} if arguments.top else {}), "")
    for note in engine.notes:
        output.say(note)
    data: dict[str, Any] = {
        "kind": "done",
        "text": text,
        "finish": token.finish,
        "tokens": count,
        "seconds": round(token.seconds, 4),
        "prompt_tokens": engine.prompt_tokens,
        "drafted": engine.drafted,
        "accepted": engine.accepted,
        "notes": [{"en": note.en, "zh": note.zh} for note in engine.notes],
    }
    output.emit(data, "")
    return 0


def _write_all(
    engine: Engine, config: SampleConfig, lines: Sequence[str], arguments: argparse.Namespace, output: Output
) -> int:
    """Write after each of `lines` at once; each result is told as soon as it is whole, with its line's number."""
    from minimind.inference.batch import write_batch

    prompts = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise UserError(
                f"line {number} is empty: give one prompt a line", f"第 {number} 行是空的：请每行写一个文本"
            )
        message = {"role": "user", "content": line}
        prompts.append(engine.encode_chat([message], config)[0] if arguments.chat else engine.encode_text(line))
    if not prompts:
        raise UserError("there is no prompt: give one a line", "没有文本：请每行写一个")
    texts = [""] * len(prompts)
    for index, token in write_batch(engine, prompts, config):
        texts[index] += token.text
        if token.finish is not None:
            data = {"kind": "done", "line": index + 1, "text": texts[index], "finish": token.finish}
            output.emit(data | {"seconds": round(token.seconds, 4)}, f"[{index + 1}] {texts[index]}")
    return 0
