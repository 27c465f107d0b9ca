"""``minimind bench train``: useful tokens a second of our training step, of a plain one, and of the reference's.

The plain step is what a first script does: a document a row, padded to the row's length, float32, all scores at once,
PyTorch's attention and AdamW. Useful tokens are those that are not padding. All runs alternate with ours in one process
(the reference in a child), so that ratios hold on a machine that other programs use too. This is the engine alone: what
is learned from a token is the recipe's part and the same here on both sides.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimind import paths
from minimind.benchmarks.ceilings import lines, measure_ceilings
from minimind.benchmarks.reference import Reference, add_against
from minimind.commands.output import Output
from minimind.config import MODEL_PRESETS, PRESET_TOKENIZERS, ModelConfig, TrainConfig
from minimind.errors import UserError
from minimind.events import Text

if TYPE_CHECKING:
    from minimind.training.job import Job

_SHAPE = re.compile(r"(\d+)x(\d+)")
_OVERHEAD_STEPS = 12


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``train``."""
    text = "training tokens a second, ours and a plain padded float32 step / 每秒训练词元数：本项目与朴素的填充 float32"
    parser = subparsers.add_parser("train", help=text, description=text)
    parser.add_argument(
        "model", nargs="?", default="nano", metavar="MODEL", help="preset, or WIDTHxLAYERS / 预设，或“宽度x层数”"
    )
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="rows a step / 每步的行数")
    parser.add_argument("--sequence-length", type=int, default=340, metavar="N", help="tokens a row / 每行的词元数")
    parser.add_argument("--steps", type=int, default=4, metavar="N", help="steps a run / 每轮的步数")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="pairs of runs / 成对运行的次数")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="device / 设备")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto", help="precision / 精度")
    parser.add_argument("--megabytes", type=float, default=2.0, metavar="X", help="text to train on / 训练用的文本量")
    parser.add_argument(
        "--ablate", action="store_true", help="also each technique left out in turn / 同时逐项去掉各种技术来测"
    )
    parser.add_argument(
        "--torch-compile",
        action="store_true",
        help="also torch.compile in place of our kernels (slow to start) / 同时测用 torch.compile 代替自带内核（启动慢）",
    )
    parser.add_argument(
        "--overhead", action="store_true", help="also what the loop itself costs / 同时测训练循环自身的开销"
    )
    parser.add_argument(
        "--time-to-loss",
        type=int,
        metavar="STEPS",
        help="only this: the time to the loss that the released recipe has after STEPS / "
        "只测这一项：达到发布版配方训练 STEPS 步后的损失需要多久",
    )
    add_against(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    counts = {"steps": arguments.steps, "repeat": arguments.repeat, "time-to-loss": arguments.time_to_loss}
    for name, count in counts.items():
        if count is not None and count < 1:
            raise UserError(f"--{name} must be 1 or more", f"--{name} 至少为 1")
    shape = model_shape(arguments.model)
    config = TrainConfig.from_dict(
        {name: getattr(arguments, name) for name in ("batch_size", "sequence_length", "device", "dtype")}
    )
    from minimind.hardware import keep_freed_memory, wait_without_spinning

    keep_freed_memory()
    wait_without_spinning()
    from minimind.benchmarks.training_steps import open_job, write_documents

    ceilings = measure_ceilings(arguments.device if arguments.device != "mps" else "cpu")
    output.emit({"benchmark": "ceilings", **asdict(ceilings)}, lines(ceilings))
    with tempfile.TemporaryDirectory() as folder:
        file = write_documents(Path(folder) / "documents.jsonl", arguments.megabytes)
        tokenizer = PRESET_TOKENIZERS.get(arguments.model)
        job = open_job(shape, tokenizer, file, config, paths.cache() / "tokens")
        peak = ceilings.matmul_bfloat16 if job.surroundings.dtype == "bfloat16" else ceilings.matmul_float32
        if arguments.time_to_loss is not None:
            from minimind.benchmarks.time_to_loss import measure

            measure(arguments, job, file, _about(arguments, job), output)
            return 0
        _against_plain(arguments, job, peak, output)
        if arguments.ablate:
            _ablate(arguments, job, output)
        if arguments.torch_compile:
            _torch_compile(arguments, job, output)
        if arguments.overhead:
            _overhead(job, Path(folder), output)
        if arguments.against is not None:
            _against_reference(arguments, job, file, output)
    return 0


def model_shape(name: str) -> ModelConfig:
    """The preset `name`, or minimind-3's architecture with the width and layers that it says (``256x4``).

    Raises UserError for anything else.
    """
    found = _SHAPE.fullmatch(name)
    if found:
        return ModelConfig.from_dict({"hidden_size": found[1], "num_hidden_layers": found[2]})
    if name in MODEL_PRESETS:
        return MODEL_PRESETS[name]
    known = ", ".join(MODEL_PRESETS)
    raise UserError(
        f"{name!r} is no preset: use one of {known}, or WIDTHxLAYERS",
        f"没有名为 {name!r} 的预设：可用 {known}，或“宽度x层数”",
    )


def _against_plain(arguments: argparse.Namespace, job: Job, peak: float, output: Output) -> None:
    """The headline: ours beside the plain step, and how much of the machine it uses."""
    from minimind.benchmarks.training_steps import best_product, flops_per_token, our_step, pairs, plain_step

    measured = pairs(our_step(job), plain_step(job), arguments.steps, arguments.repeat)
    peak = max(peak, best_product(job))
    flops, ours = flops_per_token(job), statistics.median(fast for fast, _ in measured)
    data = {
        **_about(arguments, job),
        "against": "plain",
        **_ratio(measured),
        "flops_per_token": round(flops),
        "peak_flops": round(peak),
        "utilisation": round(ours * flops / peak, 3),
    }
    output.emit(
        data,
        Text(
            f"{arguments.model} ({data['parameters'] / 1e6:.1f} M): {data['tokens_per_second']:,} useful tokens/s "
            f"({data['dtype']}, packed), {data['other_tokens_per_second']:,} with the plain step: {data['ratio']}×\n"
            f"model FLOP utilisation {data['utilisation']:.0%}: {flops / 1e6:.1f} MFLOP a token "
            f"(6N + 12·layers·heads·head·context) of {peak / 1e9:,.0f} GFLOP/s, the best {data['dtype']} product here",
            f"{arguments.model}（{data['parameters'] / 1e6:.1f} M）：每秒有效词元 {data['tokens_per_second']:,}"
            f"（{data['dtype']}，打包），朴素写法 {data['other_tokens_per_second']:,}：{data['ratio']} 倍\n"
            f"模型算力利用率 {data['utilisation']:.0%}：每个词元 {flops / 1e6:.1f} MFLOP"
            f"（6N + 12·层数·头数·头宽·上下文），峰值 {peak / 1e9:,.0f} GFLOP/s 为本机最快的 {data['dtype']} 矩阵乘",
        ),
    )


def _ablate(arguments: argparse.Namespace, job: Job, output: Output) -> None:
    """Each technique's worth: ours beside ours without it."""
    from minimind.benchmarks.training_steps import ablations, our_step, pairs

    ours = our_step(job)
    for name, (text, make) in ablations(job).items():
        measured = pairs(ours, make(), arguments.steps, arguments.repeat)
        data = {**_about(arguments, job), "without": name, **_ratio(measured)}
        output.emit(
            data,
            Text(
                f"  {text.en}: {data['ratio']}× ({data['other_tokens_per_second']:,} tokens/s without)",
                f"  {text.zh}：{data['ratio']} 倍（去掉后每秒 {data['other_tokens_per_second']:,} 词元）",
            ),
        )


def _torch_compile(arguments: argparse.Namespace, job: Job, output: Output) -> None:
    """Ours beside torch.compile, with what its start costs."""
    from minimind.benchmarks.training_steps import compiled_step, our_step, pairs

    step, seconds = compiled_step(job)
    measured = pairs(our_step(job), step, arguments.steps, arguments.repeat)
    data = {**_about(arguments, job), "against": "torch.compile", **_ratio(measured), "cold_seconds": round(seconds, 1)}
    output.emit(
        data,
        Text(
            f"torch.compile in place of our kernels: {data['other_tokens_per_second']:,} tokens/s (ours {data['ratio']}×), "
            f"its first step takes {data['cold_seconds']} s",
            f"用 torch.compile 代替自带内核：每秒 {data['other_tokens_per_second']:,} 词元（本项目为其 {data['ratio']} 倍），"
            f"它的第一步需 {data['cold_seconds']} 秒",
        ),
    )


def _overhead(job: Job, folder: Path, output: Output) -> None:
    """What the loop itself costs."""
    from minimind.benchmarks.training_steps import own_share

    share = own_share(job, _OVERHEAD_STEPS, folder)
    output.emit(
        {"benchmark": "train", "overhead_share": round(share, 5)},
        Text(f"the loop's own work: {share:.2%} of a step", f"训练循环自身的开销：每步的 {share:.2%}"),
    )


def _against_reference(arguments: argparse.Namespace, job: Job, file: Path, output: Output) -> None:
    """Ours beside the reference's own training loop, on the same documents, model, batch and row length."""
    from minimind.benchmarks.training_steps import our_step, reference_speed, speed

    step, measured = our_step(job), []
    with Reference(arguments.against, device=job.precision.device.type) as reference:
        reference_speed(reference, job, file, 1)
        step()
        for _ in range(arguments.repeat):
            measured.append((speed(step, arguments.steps), reference_speed(reference, job, file, arguments.steps)))
    data = {**_about(arguments, job), "against": "reference", **_ratio(measured)}
    output.emit(
        data,
        Text(
            f"the reference's own loop (float32, padded): {data['other_tokens_per_second']:,} useful tokens/s; "
            f"ours {data['tokens_per_second']:,}: {data['ratio']}×",
            f"参考实现自己的训练循环（float32，填充）：每秒有效词元 {data['other_tokens_per_second']:,}；"
            f"本项目 {data['tokens_per_second']:,}：{data['ratio']} 倍",
        ),
    )


def _about(arguments: argparse.Namespace, job: Job) -> dict[str, Any]:
    """What every figure of this benchmark belongs to."""
    return {
        "benchmark": "train",
        "model": arguments.model,
        "parameters": job.model.parameter_count(),
        "device": job.surroundings.device,
        "dtype": job.surroundings.dtype,
        "threads": job.surroundings.threads,
        "kernels": job.surroundings.kernels,
    }


def _ratio(measured: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Medians of both speeds and of their ratio in adjacent runs."""
    return {
        "tokens_per_second": round(statistics.median(ours for ours, _ in measured)),
        "other_tokens_per_second": round(statistics.median(other for _, other in measured)),
        "ratio": round(statistics.median(ours / other for ours, other in measured), 2),
    }
