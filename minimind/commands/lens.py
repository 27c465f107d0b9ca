"""``minimind lens``: a training sample token by token, as the trainer sees it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from minimind.commands.output import Output
from minimind.commands.training_flags import add_training_flags, given_settings
from minimind.config import OBJECTIVES
from minimind.training.recommend import recommended_config

if TYPE_CHECKING:
    from minimind.training.lens import Lens, Side


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "lens", help="a training sample as the trainer sees it / 像训练器那样逐词元看一个训练样本"
    )
    parser.add_argument("objective", choices=OBJECTIVES, metavar="OBJECTIVE", help="training method / 训练方法")
    parser.add_argument("--sample", type=int, default=1, metavar="N", help="which one, from 1 / 第几个，从 1 数")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="how many / 看几个 (1)")
    add_training_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Show them."""
    config = recommended_config(arguments.objective, given_settings(arguments))
    from minimind.training.lens import look

    for found in look(config, arguments.sample, max(1, arguments.count)):
        output.emit(asdict(found), _text(found, output))
    return 0


def _text(found: Lens, output: Output) -> str:
    """A line a token: ● trained, ✂ cut off, the id, what it stands for."""
    lines = []
    for side in found.sides:
        if side.name:
            lines.append(f"[{output.pick(side.name, '选中' if side.name == 'chosen' else '落选')}]")
        lines += [
            f"{'●' if state == 't' else '✂' if state == 'c' else ' '} {token:>6}  {text}"
            for token, text, state in zip(side.ids, side.texts, side.states, strict=True)
        ]
        lines.append(_sums(side, output))
    if found.kind == "prompt":
        lines.append(output.pick("a prompt: the model's own answers are trained", "这是提示：训练的是模型自己的回答"))
    if not found.used:
        lines.append(output.pick("the trainer leaves this sample out", "训练器会跳过这个样本"))
    return "\n".join(lines)


def _sums(side: Side, output: Output) -> str:
    trained, cut = side.states.count("t"), side.states.count("c")
    return output.pick(
        f"{trained} of {len(side.ids)} tokens are trained (●), {cut} do not fit (✂)",
        f"{len(side.ids)} 个词元中有 {trained} 个参与训练（●），{cut} 个放不下（✂）",
    )
