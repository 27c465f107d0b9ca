"""Data sets by name: the embedded corpus, and the released MiniMind files with the names they had over time."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from minimind.data.formats import Kind
from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean_line

EMBEDDED, EMBEDDED_TOOLS = "embedded", "embedded-tools"
GENERATED = (EMBEDDED, EMBEDDED_TOOLS)
"""Made on this machine; no files."""
REPOSITORY = "jingyaogong/minimind_dataset"
"""On Hugging Face; ModelScope has the same files under `gongjy/minimind_dataset`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A data set one can name. `size` in bytes, as published (None: any, it is generated)."""

    name: str
    kinds: tuple[Kind, ...]
    size: int | None
    about: Text

    @property
    def file(self) -> str:
        """The file's name in the published repository."""
        return f"{self.name}.jsonl"


_MB, _GB = 10**6, 10**9
CATALOGUE: tuple[Entry, ...] = (
    Entry(
        EMBEDDED,
        ("pretrain", "sft", "dpo", "rlaif", "agent"),
        None,
        Text("bilingual stories, sums and conversations, generated here", "双语故事、算术和对话，在本机生成"),
    ),
    Entry(
        EMBEDDED_TOOLS,
        ("sft", "agent"),
        None,
        Text("bilingual conversations with tool calls, generated here", "双语的工具调用对话，在本机生成"),
    ),
    Entry(
        "pretrain_t2t_mini",
        ("pretrain",),
        1_200 * _MB,
        Text("pretraining, small (minimind-3)", "预训练，小份（minimind-3）"),
    ),
    Entry(
        "pretrain_t2t", ("pretrain",), 10 * _GB, Text("pretraining, full (minimind-3)", "预训练，完整（minimind-3）")
    ),
    Entry(
        "sft_t2t_mini",
        ("sft",),
        1_600 * _MB,
        Text("fine-tuning with tool calls, small (minimind-3)", "微调，含工具调用，小份（minimind-3）"),
    ),
    Entry("sft_t2t", ("sft",), 14 * _GB, Text("fine-tuning, full (minimind-3)", "微调，完整（minimind-3）")),
    Entry("dpo", ("dpo",), 53 * _MB, Text("preference pairs, English and Chinese", "偏好对，中英文")),
    Entry("rlaif", ("rlaif",), 24 * _MB, Text("prompts for PPO and GRPO", "用于 PPO、GRPO 的提示")),
    Entry("agent_rl", ("agent", "rlaif"), 86 * _MB, Text("tool use with answers to check", "可核对答案的工具使用")),
    Entry(
        "agent_rl_math",
        ("agent", "rlaif"),
        18 * _MB,
        Text("sums with tools and answers to check", "可核对答案的工具算术"),
    ),
    Entry("lora_exam", ("sft",), None, Text("LoRA: the format of exam questions", "LoRA：考题格式")),
    Entry("lora_identity", ("sft",), 22_800, Text("LoRA: who the model is", "LoRA：自我认知")),
    Entry("lora_medical", ("sft",), 34 * _MB, Text("LoRA: medical questions", "LoRA：医疗问答")),
    Entry("pretrain_hq", ("pretrain",), 1_600 * _MB, Text("pretraining (MiniMind2)", "预训练（MiniMind2）")),
    Entry(
        "sft_mini_512",
        ("sft",),
        1_200 * _MB,
        Text("fine-tuning, up to 512 tokens, small (MiniMind2)", "微调，至 512 词元，小份（MiniMind2）"),
    ),
    Entry(
        "sft_512",
        ("sft",),
        7_500 * _MB,
        Text("fine-tuning, up to 512 tokens (MiniMind2)", "微调，至 512 词元（MiniMind2）"),
    ),
    Entry(
        "sft_1024",
        ("sft",),
        5_600 * _MB,
        Text("fine-tuning, up to 1,024 tokens (MiniMind2)", "微调，至 1,024 词元（MiniMind2）"),
    ),
    Entry(
        "sft_2048",
        ("sft",),
        9 * _GB,
        Text("fine-tuning, up to 2,048 tokens (MiniMind2)", "微调，至 2,048 词元（MiniMind2）"),
    ),
    Entry("r1_mix_1024", ("sft",), 340 * _MB, Text("reasoning (MiniMind2)", "推理（MiniMind2）")),
    Entry(
        "rlaif-mini",
        ("rlaif",),
        1 * _MB,
        Text("prompts for PPO and GRPO, small (MiniMind2)", "用于 PPO、GRPO 的提示，小份（MiniMind2）"),
    ),
)


def find(name: str) -> Entry | None:
    """The entry with this name, with or without `.jsonl`; None for anything else."""
    wanted = name.removesuffix(".jsonl")
    return next((entry for entry in CATALOGUE if entry.name == wanted), None)


def resolve(source: str, directory: Path) -> str:
    """What to read for `source`: the name of what is generated, the path of a file, or of a released file found in `directory`.

    Raises UserError that says where a known file can be had, or which name was perhaps meant.
    """
    if source in GENERATED or Path(source).exists():
        return source
    entry = find(Path(source).name)
    if entry is not None:
        path = directory / entry.file
        if path.exists():
            return str(path)
        raise UserError(
            f"{entry.file} is not on this machine: get it from {REPOSITORY} (Hugging Face) and put it into {directory}",
            f"本机没有 {entry.file}：请从 {REPOSITORY}（Hugging Face）下载，放到 {directory}",
        )
    shown = clean_line(source)
    close = difflib.get_close_matches(source, [entry.name for entry in CATALOGUE], n=1)
    hint_en, hint_zh = (f" (did you mean {close[0]}?)", f"（是不是 {close[0]}？）") if close else ("", "")
    raise UserError(
        f"{shown}: no such file or data set{hint_en}; `minimind data list` shows the names",
        f"{shown}：没有这个文件或数据集{hint_zh}；`minimind data list` 列出可用的名称",
    )
