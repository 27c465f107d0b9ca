"""``minimind bench decode``: tokens a second with the key/value cache and without, in adjacent runs."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

from minimind.commands.output import Output
from minimind.config import MODEL_PRESETS, PRESET_TOKENIZERS, SampleConfig
from minimind.errors import UserError
from minimind.events import Text

if TYPE_CHECKING:
    from minimind.inference.engine import Engine


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``decode``."""
    text = "tokens a second, with and without the key/value cache / 有无键值缓存时每秒的词元数"
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
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="pairs of runs / 成对运行的次数")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="device / 设备")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto", help="precision / 精度")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    for name in ("tokens", "prompt", "repeat"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} must be 1 or more", f"--{name} 至少为 1")
    from minimind.hardware import wait_without_spinning

    wait_without_spinning()
    engine = _open(arguments)
    if arguments.prompt + arguments.tokens > engine.context:
        raise UserError(
            f"--prompt and --tokens together exceed the model's {engine.context} positions: lower them",
            f"--prompt 与 --tokens 之和超过模型的 {engine.context} 个位置：请调小",
        )
    prompt = [token % engine.tokenizer.vocab_size for token in range(40, 40 + arguments.prompt)]
    cached, uncached, agree = [], [], True
    write_cached(engine, prompt, 2)
    for _ in range(arguments.repeat):
        fast_tokens, fast = write_cached(engine, prompt, arguments.tokens)
        slow_tokens, slow = write_uncached(engine, prompt, arguments.tokens)
        cached.append(arguments.tokens / fast)
        uncached.append(arguments.tokens / slow)
        agree &= fast_tokens == slow_tokens
    ratio = statistics.median(fast / slow for fast, slow in zip(cached, uncached, strict=True))
    weight = engine.model.lm_head.weight
    data = {
        "benchmark": "decode",
        "model": arguments.model,
        "parameters": engine.model.parameter_count(),
        "prompt": arguments.prompt,
        "tokens": arguments.tokens,
        "device": str(weight.device),
        "dtype": str(weight.dtype).removeprefix("torch."),
        "cached_tokens_per_second": round(statistics.median(cached), 1),
        "uncached_tokens_per_second": round(statistics.median(uncached), 1),
        "ratio": round(ratio, 2),
        "same_tokens": agree,
    }
    output.emit(
        data,
        Text(
            f"{arguments.model}: {data['cached_tokens_per_second']:,} tokens/s with the cache, "
            f"{data['uncached_tokens_per_second']:,} without: {data['ratio']}×; "
            + ("the same tokens" if agree else "NOT the same tokens"),
            f"{arguments.model}：有缓存 {data['cached_tokens_per_second']:,} 词元/秒，"
            f"无缓存 {data['uncached_tokens_per_second']:,}：{data['ratio']} 倍；"
            + ("词元相同" if agree else "词元不同"),
        ),
    )
    return 0


def _open(arguments: argparse.Namespace) -> Engine:
    """The engine for the flags; a preset gets random weights."""
    import torch

    from minimind.data.tokenizer import Tokenizer
    from minimind.hardware import choose_device, choose_dtype
    from minimind.inference.engine import Engine
    from minimind.model.transformer import MiniMind

    if arguments.model not in MODEL_PRESETS:
        return Engine.open(arguments.model, device=arguments.device, dtype=arguments.dtype)
    device = choose_device(arguments.device)
    dtype = torch.float32 if arguments.dtype == "auto" else choose_dtype(arguments.dtype, device)
    torch.manual_seed(0)
    model = MiniMind(MODEL_PRESETS[arguments.model]).eval().to(device, dtype)
    return Engine(model, Tokenizer.load(PRESET_TOKENIZERS.get(arguments.model)))


def write_cached(engine: Engine, prompt: list[int], count: int) -> tuple[list[int], float]:
    """Greedy tokens by the engine, and the seconds they took; the prompt is read anew."""
    engine.forget()
    engine.stop_ids = frozenset()
    began = time.monotonic()
    tokens = [token.id for token in engine.generate(prompt, SampleConfig(temperature=0, max_new_tokens=count))]
    return [token for token in tokens if token is not None], time.monotonic() - began


def write_uncached(engine: Engine, prompt: list[int], count: int) -> tuple[list[int], float]:
    """The same tokens by running the model over the whole text for each of them, and the seconds that took."""
    import torch

    device = engine.model.lm_head.weight.device
    began = time.monotonic()
    with torch.inference_mode():
        text = torch.tensor([prompt], device=device)  # [1, time]
        for _ in range(count):
            logits = engine.model(text)[:, -1, : engine.tokenizer.vocab_size]  # [1, vocabulary]
            text = torch.cat((text, logits.argmax(-1, keepdim=True)), dim=1)  # [1, time + 1]
        tokens = text[0, len(prompt) :].tolist()  # waits for the device
    return tokens, time.monotonic() - began
