"""``minimind bench decode``: tokens a second in each format of the weights, as a ratio to a baseline run in turn with them.

At batch 1 every weight is read once a token, so the figures stand beside how fast this machine reads memory. The
baseline is PyTorch's own float32 step (with the key/value cache), or with ``--against`` the reference's `generate`.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimind.benchmarks.ceilings import lines, measure_ceilings
from minimind.benchmarks.decode_speed import Llama, Run, Written, alternate, by_engine, by_reference
from minimind.benchmarks.reference import Reference, add_against, save_weights
from minimind.commands.output import Output
from minimind.config import MODEL_PRESETS, PRESET_TOKENIZERS, SampleConfig
from minimind.errors import UserError
from minimind.events import Text

if TYPE_CHECKING:
    from minimind.inference.engine import Engine

FORMATS = ("float32", "bfloat16", "int8", "int4")
_BASELINE = {"torch": Text("torch float32", "torch float32"), "reference": Text("the reference", "参考实现")}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``decode``."""
    text = "tokens a second in each weight format / 各种权重格式下每秒生成的词元数"
    parser = subparsers.add_parser("decode", help=text, description=text)
    parser.add_argument(
        "model",
        nargs="?",
        default="nano",
        metavar="MODEL",
        help="preset (random weights) or a model / 预设（随机权重）或模型",
    )
    parser.add_argument("--tokens", type=int, default=64, metavar="N", help="tokens to write / 生成多少词元")
    parser.add_argument("--prompt", type=int, default=128, metavar="N", help="tokens of the prompt / 提示的词元数")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="rounds of runs / 轮流运行的次数")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="device / 设备")
    parser.add_argument(
        "--formats", nargs="+", choices=FORMATS, default=FORMATS, help="weight formats to measure / 要测的权重格式"
    )
    parser.add_argument(
        "--quality", action="store_true", help="also the held-out loss of each format / 同时测各格式在留出集上的损失"
    )
    parser.add_argument(
        "--guess",
        action="store_true",
        help="also guessing ahead and several texts at once / 同时测预猜与多文本同时生成",
    )
    parser.add_argument("--draft", metavar="MODEL", help="with --guess: a smaller model / 配合 --guess：预猜用的小模型")
    parser.add_argument("--against-llama", type=Path, metavar="GGUF", help="llama.cpp beside ours / 与 llama.cpp 对比")
    add_against(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    for name in ("tokens", "prompt", "repeat"):
        if getattr(arguments, name) < (2 if name == "tokens" else 1):
            raise UserError(f"--{name} is too small: raise it", f"--{name} 太小：请调大")
    from minimind.hardware import wait_without_spinning

    wait_without_spinning()
    engine = open_engine(arguments.model, arguments.device)
    if arguments.prompt + arguments.tokens > engine.context:
        raise UserError(
            f"--prompt and --tokens together exceed the model's {engine.context} positions: lower them",
            f"--prompt 与 --tokens 之和超过模型的 {engine.context} 个位置：请调小",
        )
    ceilings = measure_ceilings(arguments.device if arguments.device != "mps" else "cpu")
    output.emit({"benchmark": "ceilings", **asdict(ceilings)}, lines(ceilings))
    _speeds(arguments, engine, ceilings.memory_read, output)
    if arguments.quality:
        _quality(arguments, output)
    if arguments.guess:
        _guesses(arguments, output)
    return 0


def open_engine(model: str, device: str) -> Engine:
    """The engine in float32, writing by torch; a preset gets random weights, half-precision numbers as in released files."""
    import torch

    from minimind.data.tokenizer import Tokenizer
    from minimind.hardware import choose_device
    from minimind.inference.engine import Engine
    from minimind.model.transformer import MiniMind

    if model not in MODEL_PRESETS:
        engine = Engine.open(model, device=device, dtype="float32")
        engine.use_torch()
        return engine
    torch.manual_seed(0)
    made = MiniMind(MODEL_PRESETS[model]).half().float().eval().to(choose_device(device))
    return Engine(made, Tokenizer.load(PRESET_TOKENIZERS.get(model)))


def _speeds(arguments: argparse.Namespace, engine: Engine, memory_read: float, output: Output) -> None:
    """Measure and tell each format, the baseline first."""
    prompt = [token % engine.tokenizer.vocab_size for token in range(40, 40 + arguments.prompt)]
    reasons = {format: engine.use_native(format) for format in arguments.formats}
    usable = [format for format in arguments.formats if reasons[format] is None]
    sizes: dict[str, int] = {}

    def write(format: str | None) -> Written:
        if format is None:
            engine.use_torch()
        elif engine.native is None or engine.format != format:
            engine.use_native(next(one for one in usable if one == format))
        if engine.native is not None:
            sizes[engine.format] = engine.native.layout.bytes
        return by_engine(engine, prompt, arguments.tokens)

    runs: dict[str, Run] = {"torch": functools.partial(write, None)}
    runs |= {format: functools.partial(write, format) for format in usable}
    if arguments.against_llama is not None:
        import torch

        llama = Llama(arguments.against_llama, torch.get_num_threads())
        runs["llama.cpp"] = lambda: llama.write(prompt, arguments.tokens)
    if arguments.against is None:
        results = alternate(runs, arguments.repeat)
    else:
        with tempfile.TemporaryDirectory() as folder, Reference(arguments.against) as reference:
            weights = save_weights(engine.model, Path(folder) / "weights.pth")
            run = functools.partial(by_reference, reference, engine, weights, prompt, arguments.tokens)
            results = alternate({"reference": run} | runs, arguments.repeat)
    baseline = "torch" if arguments.against is None else "reference"
    for reason in {reason.en: reason for reason in reasons.values() if reason is not None}.values():
        output.say(reason)
    for name, written in results.items():
        _tell(arguments, output, name, written, baseline, results[baseline], memory_read, sizes.get(name))


def _tell(
    arguments: argparse.Namespace,
    output: Output,
    name: str,
    written: Sequence[Written],
    baseline: str,
    base: Sequence[Written],
    memory_read: float,
    size: int | None,
) -> None:
    """One row: speed, ratio to the baseline, share of the memory's speed, and whether the tokens are the baseline's."""
    seconds = statistics.median(run.seconds for run in written)
    ratio = statistics.median(other.seconds / run.seconds for run, other in zip(written, base, strict=True))
    data: dict[str, Any] = {
        "benchmark": "decode",
        "model": arguments.model,
        "weights": name,
        "prompt": arguments.prompt,
        "tokens": arguments.tokens,
        "tokens_per_second": round(1 / seconds, 1),
        "baseline": baseline,
        "ratio": round(ratio, 2),
        "same_tokens": written[0].tokens == base[0].tokens,
        "bytes_per_token": size,
        "memory_share": None if size is None else round(size / seconds / memory_read, 3),
    }
    share = "" if size is None else f"{data['memory_share']:.0%}"
    same = ("the same tokens", "词元相同") if data["same_tokens"] else ("other tokens", "词元不同")
    row = f"{name:<10} {data['tokens_per_second']:>9,} "
    output.emit(
        data,
        Text(
            row + f"tokens/s  {data['ratio']:>6}× {_BASELINE[baseline].en}"
            f"{f'  {share} of the memory ceiling' if share else ''}  {same[0]}",
            row + f"词元/秒  {data['ratio']:>6} 倍于 {_BASELINE[baseline].zh}"
            f"{f'  达到内存上限的 {share}' if share else ''}  {same[1]}",
        ),
    )


def _quality(arguments: argparse.Namespace, output: Output) -> None:
    """The held-out loss of each format, as a difference to torch's float32."""
    if arguments.model in MODEL_PRESETS:
        raise UserError(
            "--quality needs a trained model: name one (nano-chat comes with the package)",
            "--quality 需要训练过的模型：请指定一个（自带的有 nano-chat）",
        )
    from minimind.benchmarks.decode_quality import QUALITY_TOKENS, quality

    losses = quality(open_engine(arguments.model, "cpu"), arguments.formats, QUALITY_TOKENS)
    exact = losses.pop("torch")
    for format, loss in losses.items():
        data = {"benchmark": "decode-quality", "model": arguments.model, "weights": format}
        data |= {"loss": round(loss, 5), "difference": round(loss - exact, 5)}
        output.emit(
            data,
            Text(
                f"{format:<10} held-out loss {loss:.4f} nats, {loss - exact:+.5f} to float32 by torch",
                f"{format:<10} 留出集损失 {loss:.4f} nats，与 torch 的 float32 相差 {loss - exact:+.5f}",
            ),
        )


def _guesses(arguments: argparse.Namespace, output: Output) -> None:
    """Guessing ahead and writing several texts at once, by the model as a person would run it."""
    from minimind.benchmarks.decode_speed import guessing, together
    from minimind.data.corpus import FIXED_QUESTIONS
    from minimind.inference.engine import Engine
    from minimind.inference.speculative import DraftModel, PromptLookup, Proposer

    engine = open_engine(arguments.model, arguments.device)
    engine.use_native()
    prompts = [engine.encode_text(question) for question in FIXED_QUESTIONS]
    if engine.metadata.get("objective") == "sft":
        config = SampleConfig(max_new_tokens=arguments.tokens)
        prompts = [engine.encode_chat([{"role": "user", "content": text}], config)[0] for text in FIXED_QUESTIONS]
    proposers: dict[str, Proposer] = {"lookup": PromptLookup()}
    if arguments.draft is not None:
        proposers["draft"] = DraftModel(Engine.open(arguments.draft, device=arguments.device), engine)
    for name, proposer in proposers.items():
        found = guessing(engine, prompts, proposer, arguments.tokens)
        share = found.accepted / found.proposed if found.proposed else 0.0
        data = {"benchmark": "decode-guess", "model": arguments.model, "guess": name, "proposed": found.proposed}
        data |= {"accepted_share": round(share, 3), "ratio": round(found.ratio, 2), "same_tokens": found.same_tokens}
        output.emit(
            data,
            Text(
                f"{name:<10} {share:.0%} of {found.proposed} guesses accepted: {found.ratio:.2f}× without guessing",
                f"{name:<10} {found.proposed} 次预猜中 {share:.0%} 被接受：速度为不预猜的 {found.ratio:.2f} 倍",
            ),
        )
    at_once, alone = together(engine, prompts, arguments.tokens)
    data = {"benchmark": "decode-batch", "model": arguments.model, "texts": len(prompts)}
    data |= {"tokens_per_second": round(at_once, 1), "ratio": round(at_once / alone, 2)}
    output.emit(
        data,
        Text(
            f"{len(prompts)} texts at once: {at_once:,.0f} tokens/s, {at_once / alone:.2f}× one at a time",
            f"同时生成 {len(prompts)} 段文本：{at_once:,.0f} 词元/秒，为逐个生成的 {at_once / alone:.2f} 倍",
        ),
    )
