"""``minimind bench prefill``: how fast a prompt is read, how long a start takes to the first token, what imports cost.

Reading a prompt is matrix products, so its figures stand beside the ceilings of those. A start is a fresh process: the
packages it loads, the weights from disk, the tokenizer, a short prompt and one token.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimind.benchmarks.ceilings import lines, measure_ceilings
from minimind.benchmarks.reference import Reference, add_against, save_weights
from minimind.commands.output import Output
from minimind.config import MODEL_PRESETS, PRESET_TOKENIZERS, SampleConfig
from minimind.errors import UserError
from minimind.events import Text
from minimind.scale import forward_flops_per_token
from minimind.startup import without_collecting

if TYPE_CHECKING:
    import torch

    from minimind.inference.engine import Engine

_START_PROMPT = 32
_MOST_PACKAGES = 6


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``prefill``."""
    text = "reading a prompt, and the time from start to first token / 读入提示的速度，以及从启动到首个词元的时间"
    parser = subparsers.add_parser("prefill", help=text, description=text)
    parser.add_argument("model", nargs="?", default="nano", choices=list(MODEL_PRESETS), help="preset / 预设")
    parser.add_argument("--prompt", type=int, default=512, metavar="N", help="tokens of the prompt / 提示的词元数")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds of runs / 轮流运行的次数")
    parser.add_argument(
        "--starts", type=int, default=3, metavar="N", help="fresh starts (0: none) / 启动次数（0：不测）"
    )
    add_against(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    config = MODEL_PRESETS[arguments.model]
    if min(arguments.repeat, arguments.prompt) < 1 or arguments.starts < 0:
        raise UserError(
            "--repeat and --prompt must be 1 or more, --starts 0 or more",
            "--repeat、--prompt 至少为 1，--starts 至少为 0",
        )
    if arguments.prompt >= config.max_position_embeddings:
        raise UserError(
            f"--prompt must be below the model's {config.max_position_embeddings} positions",
            f"--prompt 应小于模型的 {config.max_position_embeddings} 个位置",
        )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="minimind-bench-")))
        reference = None if arguments.against is None else stack.enter_context(Reference(arguments.against))
        _measure_prompts(arguments, reference, folder, output)
        if arguments.starts:
            _measure_starts(arguments, reference, folder, output)
            _tell_imports(output)
    return 0


def _measure_prompts(arguments: argparse.Namespace, reference: Reference | None, folder: Path, output: Output) -> None:
    """Read the prompt in each precision, in turn with the reference."""
    import torch

    config = MODEL_PRESETS[arguments.model]
    ceilings = measure_ceilings("cpu")
    output.emit({"benchmark": "ceilings", **asdict(ceilings)}, lines(ceilings))
    engines = {name: _engine(arguments.model, getattr(torch, name)) for name in ("float32", "bfloat16")}
    weights = save_weights(engines["float32"].model, folder / "weights.pth", torch.float16)
    prompt = [token % config.vocab_size for token in range(40, 40 + arguments.prompt)]
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    theirs: list[float] = []
    for _ in range(arguments.repeat + 1):
        for name, engine in engines.items():
            seconds[name].append(read_seconds(engine, prompt))
        if reference is not None:
            theirs.append(reference.prefill(config, prompt, weights=weights))
    flops = forward_flops_per_token(config, (arguments.prompt + 1) / 2) * arguments.prompt
    for name, ceiling in (("float32", ceilings.matmul_float32), ("bfloat16", ceilings.matmul_bfloat16)):
        median = statistics.median(seconds[name][1:])
        data: dict[str, Any] = {
            "benchmark": "prefill",
            "model": arguments.model,
            "dtype": name,
            "prompt": arguments.prompt,
            "seconds": round(median, 4),
            "tokens_per_second": round(arguments.prompt / median),
            "of_ceiling": round(flops / median / ceiling, 2) if ceiling else None,
        }
        if theirs:
            data["reference_seconds"] = round(statistics.median(theirs[1:]), 4)
            data["ratio"] = round(
                statistics.median(b / a for a, b in zip(seconds[name][1:], theirs[1:], strict=True)), 2
            )
        output.emit(data, _prompt_text(data))


def _prompt_text(data: dict[str, Any]) -> Text:
    share = "–" if data["of_ceiling"] is None else f"{data['of_ceiling']:.0%}"
    en = (
        f"{data['model']}, {data['dtype']}: {data['prompt']} tokens in {data['seconds'] * 1000:.0f} ms "
        f"({data['tokens_per_second']:,} tokens/s, {share} of the ceiling)"
    )
    zh = (
        f"{data['model']}，{data['dtype']}：{data['seconds'] * 1000:.0f} 毫秒读入 {data['prompt']} 个词元"
        f"（每秒 {data['tokens_per_second']:,}，达到上限的 {share}）"
    )
    if "ratio" in data:
        en += f"; the reference {data['reference_seconds'] * 1000:.0f} ms: {data['ratio']}×"
        zh += f"；参考实现 {data['reference_seconds'] * 1000:.0f} 毫秒：{data['ratio']} 倍"
    return Text(en, zh)


def _engine(model: str, dtype: torch.dtype) -> Engine:
    """An engine with the random weights of seed 0."""
    import torch

    from minimind.data.tokenizer import Tokenizer
    from minimind.inference.engine import Engine
    from minimind.model.transformer import MiniMind

    torch.manual_seed(0)
    made = MiniMind(MODEL_PRESETS[model]).eval().to(dtype)
    return Engine(made, Tokenizer.load(PRESET_TOKENIZERS.get(model)))


def read_seconds(engine: Engine, prompt: list[int]) -> float:
    """Seconds to read a prompt anew, to the scores after its last token."""
    engine.forget()
    began = time.monotonic()
    engine.scores(prompt)
    return time.monotonic() - began


def _measure_starts(arguments: argparse.Namespace, reference: Reference | None, folder: Path, output: Output) -> None:
    """Start anew, in turn with the reference; both open the same numbers, in float16 as released."""
    import torch

    from minimind.model.files import model_files

    config = MODEL_PRESETS[arguments.model]
    engine = _engine(arguments.model, torch.float32)
    model = folder / "model"
    engine.tokenizer.save(model)
    for name, content in model_files(engine.model, {}, dtype=torch.float16).items():
        (model / name).write_bytes(content)
    prompt = list(range(40, 40 + _START_PROMPT))
    weights = folder / "weights.pth"
    ours, theirs = [], []
    for _ in range(arguments.starts + 1):
        ours.append(_first_token(model))
        if reference is not None:
            theirs.append(reference.first_token(config, prompt, weights=weights))
    parts = {name: round(statistics.median(start[name] for start in ours[1:]), 3) for name in ours[0]}
    data: dict[str, Any] = {"benchmark": "start", "model": arguments.model, **parts}
    en = f"start to first token: {parts['seconds']} s ({parts['import']} s imports, {parts['open']} s opening, {parts['token']} s prompt and token)"
    zh = f"从启动到首个词元：{parts['seconds']} 秒（导入 {parts['import']}，打开模型 {parts['open']}，提示与首个词元 {parts['token']}）"
    if theirs:
        data["reference_seconds"] = round(statistics.median(theirs[1:]), 3)
        pairs = zip(ours[1:], theirs[1:], strict=True)
        data["ratio"] = round(statistics.median(slow / start["seconds"] for start, slow in pairs), 2)
        en += f"; the reference {data['reference_seconds']} s: {data['ratio']}×"
        zh += f"；参考实现 {data['reference_seconds']} 秒：{data['ratio']} 倍"
    output.emit(data, Text(en, zh))


def _first_token(model: Path) -> dict[str, float]:
    """One start: the whole of it as seen from here, and its parts as the process tells them."""
    began = time.monotonic()
    command = [sys.executable, "-m", "minimind.benchmarks.prefill", str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.monotonic() - began
    if not line:
        raise UserError(
            f"the start failed with status {process.returncode}: try `minimind generate nano-chat`",
            f"启动失败，状态码 {process.returncode}：请试试 `minimind generate nano-chat`",
        )
    parts: dict[str, float] = json.loads(line)
    return {"seconds": seconds, **parts}


def write_first_token(model: str) -> None:
    """Open `model`, write a token and say on standard output what that took."""
    began = time.monotonic()
    from minimind.hardware import wait_without_spinning

    wait_without_spinning()
    with without_collecting():
        from minimind.inference.engine import Engine
    imported = time.monotonic()
    engine = Engine.open(model)
    opened = time.monotonic()
    next(engine.generate(list(range(40, 40 + _START_PROMPT)), SampleConfig(temperature=0, max_new_tokens=8)))
    times = {"import": imported - began, "open": opened - imported, "token": time.monotonic() - opened}
    sys.stdout.write(json.dumps(times) + "\n")
    sys.stdout.flush()


def _tell_imports(output: Output) -> None:
    """What the packages that chat loads cost, the dearest first."""
    command = [sys.executable, "-X", "importtime", "-c", "import minimind.inference.engine"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    costs = import_costs(told)
    dearest = sorted(costs, key=lambda name: -costs[name])[:_MOST_PACKAGES]
    data = {"benchmark": "imports", "seconds": round(sum(costs.values()), 3)}
    shown = {name: round(costs[name], 3) for name in dearest}
    listed = ", ".join(f"{name} {seconds} s" for name, seconds in shown.items())
    output.emit(
        data | {"packages": shown},
        Text(f"imports: {data['seconds']} s: {listed}", f"导入：{data['seconds']} 秒：{listed}"),
    )


def import_costs(told: str) -> dict[str, float]:
    """Seconds each top-level package took, from the output of ``python -X importtime``."""
    costs: dict[str, float] = {}
    for line in told.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        name = rest.rpartition("|")[2].strip().partition(".")[0]
        if name and own.strip().isdigit():
            costs[name] = costs.get(name, 0.0) + int(own) / 1e6
    return costs


if __name__ == "__main__":
    write_first_token(sys.argv[1])
