"""``minimind generate MODEL [PROMPT]``: write on after a prompt, streamed."""

from __future__ import annotations

import argparse
from typing import Any

from minimind.commands.inference_flags import add_engine_flags, open_engine, standard_input
from minimind.commands.output import Output
from minimind.errors import UserError


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``generate``."""
    parser = subparsers.add_parser("generate", help="continue a text / 续写文本")
    add_engine_flags(parser)
    parser.add_argument(
        "prompt", metavar="PROMPT", nargs="?", help="text (none: from stdin) / 文本（不给则读标准输入）"
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
        "notes": [{"en": note.en, "zh": note.zh} for note in engine.notes],
    }
    output.emit(data, "")
    return 0
