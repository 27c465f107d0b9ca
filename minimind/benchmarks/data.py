"""``minimind bench data``: how fast a JSONL file becomes tokens to train on, beside a plain loop and the reference.

Ours and the plain loop (a line, a document, one call of the tokenizer; no masks, no journal) each run in a process of
their own, which also tells what memory they took. The reference tokenises anew in every epoch, ours once; so both the
first epoch and the later ones are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from minimind.benchmarks.reference import EpochTimes, Reference, add_against
from minimind.benchmarks.reference_driver import peak_memory
from minimind.commands.output import Output
from minimind.errors import UserError
from minimind.events import Text
from minimind.figures import size
from minimind.hardware import available_cores

_SEQUENCE_LENGTH, _BATCH_SIZE = 340, 32
"""Those of the reference's pretraining."""
Figures = Mapping[str, float]


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``data``."""
    text = "JSONL to tokens: MB a second, memory / JSONL 转为词元：每秒 MB 数与内存"
    parser = subparsers.add_parser("data", help=text, description=text)
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="pretraining JSONL / 预训练用的 JSONL")
    parser.add_argument(
        "--megabytes",
        type=float,
        default=20.0,
        metavar="N",
        help="without FILE: how much to generate / 不给 FILE 时生成多少",
    )
    parser.add_argument("--processes", type=int, metavar="N", help="processes (all cores) / 进程数（默认全部核心）")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="rounds of runs / 轮流运行的次数")
    add_against(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    processes = available_cores() if arguments.processes is None else arguments.processes
    if min(arguments.repeat, processes) < 1 or arguments.megabytes <= 0:
        raise UserError(
            "--repeat, --processes and --megabytes must be above 0", "--repeat、--processes 和 --megabytes 应大于 0"
        )
    ours: list[Figures] = []
    plain: list[Figures] = []
    theirs: list[EpochTimes] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="minimind-bench-")))
        file = arguments.file or _generate(folder / "corpus.jsonl", arguments.megabytes)
        reference, tokenizer = None, ""
        if arguments.against is not None:
            reference = stack.enter_context(Reference(arguments.against, threads=processes))
            tokenizer = str(reference.checkout / "model")
        for number in range(arguments.repeat):
            ours.append(_child("ours", file, tokenizer, folder / str(number), processes))
            plain.append(_child("plain", file, tokenizer, folder / str(number), 1))
            if reference is not None:
                theirs.append(reference.data(file, sequence_length=_SEQUENCE_LENGTH))
        bytes_read = file.stat().st_size
    data = _summary(bytes_read, processes, ours, plain, theirs)
    output.emit(data, _text(data))
    return 0


def _generate(path: Path, megabytes: float) -> Path:
    from minimind.data import corpus

    corpus.write_jsonl("pretrain", path, size=round(megabytes * 1e6))
    return path


def _child(method: str, file: Path, tokenizer: str, cache: Path, processes: int) -> Figures:
    """Run one measurement in a fresh process."""
    command = [sys.executable, "-m", "minimind.benchmarks.data", method, str(file), tokenizer, str(cache)]
    done = subprocess.run([*command, str(processes)], stdout=subprocess.PIPE, check=False)
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
    if "error" in answer:
        raise UserError(*answer["error"])
    if done.returncode != 0:
        raise UserError(
            f"the measuring process ended with status {done.returncode}: run `minimind data check {file}`",
            f"测量进程以状态 {done.returncode} 结束：请运行 `minimind data check {file}`",
        )
    return answer


def _summary(
    bytes_read: int, processes: int, ours: Sequence[Figures], plain: Sequence[Figures], theirs: Sequence[EpochTimes]
) -> dict[str, Any]:
    """Medians, and medians of the ratios within a round."""

    def middle(values: Sequence[Figures], name: str) -> float:
        return statistics.median(value[name] for value in values)

    seconds = middle(ours, "seconds")
    data: dict[str, Any] = {
        "benchmark": "data",
        "bytes": bytes_read,
        "processes": processes,
        "tokens": int(ours[0]["tokens"]),
        "seconds": round(seconds, 3),
        "megabytes_per_second": round(bytes_read / seconds / 1e6, 2),
        "tokens_per_second": round(ours[0]["tokens"] / seconds),
        "peak_memory": int(max(value["peak_memory"] for value in ours)),
        "epoch_seconds": round(middle(ours, "epoch_seconds"), 3),
        "plain_seconds": round(middle(plain, "seconds"), 3),
        "plain_peak_memory": int(max(value["peak_memory"] for value in plain)),
        "ratio_to_plain": _ratio([(slow["seconds"], fast["seconds"]) for slow, fast in zip(plain, ours, strict=True)]),
    }
    if theirs:
        epochs = [times.epoch_seconds[0] for times in theirs]
        data |= {
            "reference_open_seconds": round(theirs[0].open_seconds, 3),
            "reference_epoch_seconds": round(statistics.median(epochs), 3),
            "reference_peak_memory": max(times.peak_memory for times in theirs),
            "ratio": _ratio([(slow, fast["seconds"]) for slow, fast in zip(epochs, ours, strict=True)]),
            "ratio_first_epoch": _ratio(
                [(slow, fast["seconds"] + fast["epoch_seconds"]) for slow, fast in zip(epochs, ours, strict=True)]
            ),
            "ratio_later_epochs": _ratio(
                [(slow, fast["epoch_seconds"]) for slow, fast in zip(epochs, ours, strict=True)]
            ),
        }
    return data


def _ratio(pairs: list[tuple[float, float]]) -> float:
    return round(statistics.median(slow / fast for slow, fast in pairs), 2)


def _text(data: Mapping[str, Any]) -> Text:
    speed = f"{data['megabytes_per_second']} MB/s"
    en = (
        f"{size(data['bytes'])} to {data['tokens']:,} tokens: {speed}, {data['tokens_per_second']:,} tokens/s with "
        f"{data['processes']} processes, peak {size(data['peak_memory'])} each; "
        f"{data['ratio_to_plain']}× the plain loop (peak {size(data['plain_peak_memory'])})"
    )
    zh = (
        f"{size(data['bytes'])} 转为 {data['tokens']:,} 个词元：{speed}，每秒 {data['tokens_per_second']:,} 词元，"
        f"{data['processes']} 个进程，各自内存峰值 {size(data['peak_memory'])}；"
        f"是朴素循环的 {data['ratio_to_plain']} 倍（峰值 {size(data['plain_peak_memory'])}）"
    )
    if "ratio" in data:
        en += (
            f"\nthe reference: {data['reference_epoch_seconds']} s an epoch (opened in "
            f"{data['reference_open_seconds']} s, peak {size(data['reference_peak_memory'])}); ours {data['ratio']}× "
            f"as fast to prepare, {data['ratio_first_epoch']}× with the first epoch's batches, "
            f"{data['ratio_later_epochs']}× in each later epoch"
        )
        zh += (
            f"\n参考实现：每轮 {data['reference_epoch_seconds']} 秒（打开 {data['reference_open_seconds']} 秒，"
            f"峰值 {size(data['reference_peak_memory'])}）；本项目准备数据快 {data['ratio']} 倍，"
            f"连同第一轮的批次快 {data['ratio_first_epoch']} 倍，之后每轮快 {data['ratio_later_epochs']} 倍"
        )
    return Text(en, zh)


def measure_ours(file: Path, tokenizer: str, cache: Path, processes: int) -> dict[str, float]:
    """Prepare `file` in the empty directory `cache`, then read an epoch of batches."""
    from minimind.data.shards import prepare
    from minimind.data.tokenizer import Tokenizer

    loaded = Tokenizer.load(tokenizer or None)
    loaded.prepare_fast()  # a compiler's second is spent once on a machine
    began = time.monotonic()
    prepared = prepare([str(file)], loaded, kind="pretrain", cache_directory=cache, processes=processes)
    seconds, peak = time.monotonic() - began, peak_memory()
    tokens = prepared.train.token_count + prepared.validation.token_count
    from minimind.data.packing import batches  # brings torch, which preparing does without

    began = time.monotonic()
    for _ in batches(prepared.train, _BATCH_SIZE, _SEQUENCE_LENGTH, seed=0, epochs=1):
        pass
    return {"seconds": seconds, "tokens": tokens, "peak_memory": peak, "epoch_seconds": time.monotonic() - began}


def measure_plain(file: Path, tokenizer: str, cache: Path, _processes: int) -> dict[str, float]:
    """The same tokens by a loop over the lines, kept in a list and saved at the end."""
    import numpy as np

    from minimind.data.tokenizer import Tokenizer

    loaded = Tokenizer.load(tokenizer or None)
    cache.mkdir(parents=True, exist_ok=True)
    began, tokens = time.monotonic(), []
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            tokens += [loaded.bos_id, *loaded.encode(json.loads(line)["text"]), loaded.eos_id]
    np.save(cache / "plain.npy", np.array(tokens, dtype=np.uint16))
    return {"seconds": time.monotonic() - began, "tokens": len(tokens), "peak_memory": peak_memory()}


METHODS: dict[str, Callable[[Path, str, Path, int], dict[str, float]]] = {"ours": measure_ours, "plain": measure_plain}


def main(method: str, file: str, tokenizer: str, cache: str, processes: str) -> int:
    """One measurement in this process, told as one line of JSON on standard output."""
    try:
        answer: Mapping[str, Any] = METHODS[method](Path(file), tokenizer, Path(cache), int(processes))
    except UserError as error:
        answer = {"error": [error.text.en, error.text.zh]}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
