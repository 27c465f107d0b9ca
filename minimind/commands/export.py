"""``minimind export``: a model for transformers, the released project, llama.cpp, Ollama or PEFT."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimind.commands.columns import in_columns
from minimind.commands.model_source import add_source_flags, new_folder, note_lines, open_source
from minimind.commands.output import Output
from minimind.figures import size

if TYPE_CHECKING:
    from minimind.interop.export import Source
    from minimind.interop.parity import Parity

FORMATS = ("hf", "pth", "gguf", "ollama", "peft", "lora")
_ADAPTERS = frozenset({"peft", "lora"})
_STAGES = {"pretrain": "pretrain", "sft": "full_sft", "dpo": "dpo", "distillation": "full_dist"}
"""What the released project calls the weights of an objective."""


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("export", help="write a model for other programs / 导出模型给其他程序")
    add_source_flags(parser)
    parser.add_argument(
        "--to",
        required=True,
        choices=FORMATS,
        help="hf: transformers; pth: the released project; gguf: llama.cpp; ollama; only the adapter of a LoRA run: "
        "peft, lora (the released project's) / 目标格式；peft、lora 只导出 LoRA",
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float16", "bfloat16"), default="float16", help="dtype / 数据类型"
    )
    parser.add_argument("--name", help="name of the weights / 权重的名称")
    parser.add_argument(
        "--no-check", action="store_true", help="do not compare with the other program / 不与目标程序对比"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Write the files, and say whether the other program reads them as the same model."""
    from minimind.interop.adapters import names_adapter

    if arguments.to in _ADAPTERS or (
        arguments.to == "pth" and arguments.base is None and names_adapter(Path(arguments.path).expanduser())
    ):
        return _export_adapter(arguments, output)
    from minimind.interop.export import EXPORTERS, Source

    model, tokenizer, metadata = open_source(arguments)
    source = Source(model, tokenizer, arguments.name or _name(arguments.path, metadata), arguments.dtype)
    out = new_folder(arguments.out)
    files = EXPORTERS[arguments.to](source, out)
    for line in note_lines(metadata, output.language == "zh"):
        output.say(line)
    parity = None if arguments.no_check else _check(arguments.to, out, files[0], source)
    data = {"to": arguments.to, "out": str(out), "parameters": model.config.parameter_count()}
    data |= {"files": _sizes(files), "parity": None if parity is None else asdict(parity) | {"holds": parity.holds}}
    output.emit(data, _text(files, parity, arguments, output))
    return 0 if parity is None or parity.holds else 1


def _export_adapter(arguments: argparse.Namespace, output: Output) -> int:
    from minimind.interop.adapters import (
        PEFT_CONFIG,
        PEFT_WEIGHTS,
        locate_adapter,
        read_adapter,
        write_lora,
        write_peft,
    )

    adapter = read_adapter(locate_adapter(arguments.path))
    out = new_folder(arguments.out)
    if arguments.to == "peft":
        write_peft(adapter, out, base=arguments.base or "")
        files = [out / PEFT_WEIGHTS, out / PEFT_CONFIG]
    else:
        files = [out / f"{arguments.name or 'lora'}_{adapter.hidden_size}.pth"]
        write_lora(adapter, files[0])
    data = {"to": arguments.to, "out": str(out), "rank": adapter.rank, "files": _sizes(files)}
    output.emit(data, _text(files, None, None, output))
    return 0


def _name(path: str, metadata: dict[str, Any]) -> str:
    """What the weights are called: by their objective, else as the file they came from, without its size."""
    stage = _STAGES.get(str(metadata.get("objective")))
    if stage is not None:
        return stage
    stem = re.sub(r"_\d+(_moe)?$", "", Path(path).stem)
    return re.sub(r"[^A-Za-z0-9._-]", "", stem).strip(".-") or "model"


def _check(to: str, out: Path, weights: Path, source: Source) -> Parity | None:
    """Ask the other program, where there is one on this machine, about what was written."""
    import torch

    from minimind.interop.opening import open_any
    from minimind.interop.parity import compare_with_llama_cpp, compare_with_transformers

    if to == "hf":
        return compare_with_transformers(out, open_any(out)[0], source.tokenizer)
    if to in {"gguf", "ollama"}:
        rounded = source.model.to(getattr(torch, source.dtype)).float()
        return compare_with_llama_cpp(weights, rounded, source.tokenizer)
    return None


def _sizes(files: list[Path]) -> list[dict[str, Any]]:
    return [{"name": file.name, "bytes": file.stat().st_size} for file in files]


def _text(files: list[Path], parity: Parity | None, arguments: argparse.Namespace | None, output: Output) -> str:
    lines = [in_columns([file.name, size(file.stat().st_size)] for file in files)]
    if parity is not None:
        wrong = ", ".join(name for name, same in parity.tokenisation.items() if not same)
        lines.append(
            output.pick(
                f"{parity.program}: largest difference of a logit {parity.largest_difference:.1e} "
                f"(logits up to {parity.largest_logit:.1f}), same choice at {parity.same_greedy:.0%} of the positions, "
                + (f"text split differently: {wrong}" if wrong else "digits, emoji and CJK split alike")
                + (": the same model" if parity.holds else ": NOT the same model"),
                f"{parity.program}：logit 最大相差 {parity.largest_difference:.1e}（logit 最大 {parity.largest_logit:.1f}），"
                f"{parity.same_greedy:.0%} 的位置选择相同，"
                + (f"切分不同的文本：{wrong}" if wrong else "数字、表情与中日韩文字切分一致")
                + ("：是同一个模型" if parity.holds else "：不是同一个模型"),
            )
        )
    elif arguments is not None and arguments.to != "pth" and not arguments.no_check:
        program = "transformers" if arguments.to == "hf" else "llama-cpp-python"
        lines.append(output.pick(f"not compared: {program} is not installed here", f"未对比：这里没有安装 {program}"))
    return "\n".join(lines)
