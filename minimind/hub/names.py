"""Short names of released models and data sets, every one they ever had, and where they are. Facts only; no network."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal

from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean_line

Kind = Literal["model", "dataset"]
DATASET_REPOSITORIES = {"huggingface": "jingyaogong/minimind_dataset", "modelscope": "gongjy/minimind_dataset"}
_REPOSITORY = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?/[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing to be fetched: its name here, its repository on each hub, and which files of it.

    No `files` means those that make a model. `instead` says what a name that is gone was replaced by; `tokenizer` is
    another name whose tokenizer belongs to these weights and is not in their repository.
    """

    name: str
    kind: Kind
    repositories: dict[str, str]
    files: tuple[str, ...] = ()
    instead: Text | None = None
    tokenizer: str | None = None


def _model(name: str, on_modelscope: str | None = None, tokenizer: str | None = None) -> Wanted:
    repositories = {"huggingface": f"jingyaogong/{name}", "modelscope": f"gongjy/{on_modelscope or name}"}
    return Wanted(name, "model", repositories, tokenizer=tokenizer)


MODELS: dict[str, Wanted] = {
    wanted.name: wanted
    for wanted in (
        _model("minimind-3"),
        _model("minimind-3-moe"),
        _model("minimind-3-pytorch", tokenizer="minimind-3"),
        _model("MiniMind2"),
        _model("MiniMind2-Small"),
        _model("MiniMind2-MoE"),
        _model("MiniMind2-Pytorch", "MiniMind2-PyTorch", tokenizer="MiniMind2"),
        _model("minimind-v1", "MiniMind-V1"),
        Wanted(
            "internlm2-1_8b-reward",
            "model",
            {
                "huggingface": "internlm/internlm2-1_8b-reward",
                "modelscope": "Shanghai_AI_Laboratory/internlm2-1_8b-reward",
            },
        ),
    )
}
"""The released models. The ids of minimind-3-moe, MiniMind2-Small and MiniMind2-MoE are those the README suggests."""

_MODEL_ALIASES = {
    "minimind3": "minimind-3",
    "minimind3-moe": "minimind-3-moe",
    "minimind3-pytorch": "minimind-3-pytorch",
    "minimind-2": "MiniMind2",
    "small": "MiniMind2-Small",
    "minimind2-pytorch": "MiniMind2-Pytorch",
    "minimind-v1-small": "minimind-v1",
    "reward": "internlm2-1_8b-reward",
}

DATASETS: dict[str, str] = {
    "pretrain_t2t_mini": "1.2 GB",
    "pretrain_t2t": "10 GB",
    "sft_t2t_mini": "1.6 GB",
    "sft_t2t": "14 GB",
    "dpo": "53 MB",
    "rlaif": "24 MB",
    "agent_rl": "86 MB",
    "agent_rl_math": "18 MB",
    "lora_exam": "",
    "lora_identity": "23 kB",
    "lora_medical": "34 MB",
}
"""Files of the data set's repository without their ``.jsonl``, and their sizes."""

_SUCCESSORS = {
    "pretrain_hq": "pretrain_t2t_mini",
    "pretrain_data": "pretrain_t2t",
    "tokenizer_train": "pretrain_t2t_mini",
    "sft_mini_512": "sft_t2t_mini",
    "sft_512": "sft_t2t",
    "sft_1024": "sft_t2t",
    "sft_2048": "sft_t2t",
    "r1_mix_1024": "sft_t2t",
    "rlaif-mini": "rlaif",
}
"""Files of earlier generations, which the repository no longer has, and what took their place."""


def find(name: str) -> Wanted:
    """What `name` means: a short name, one it once had (whatever its capitals), a file of the data set, or OWNER/NAME.

    Raises UserError that lists the known names and the closest one.
    """
    bare = re.sub(r"\.(jsonl|csv|bin)$", "", name.rpartition("/")[2] if _is_ours(name) else name)
    models = {known.lower(): known for known in MODELS}
    found = models.get(_MODEL_ALIASES.get(bare.lower(), bare).lower())
    if found is not None:
        return MODELS[found]
    lower = bare.lower()
    if lower in DATASETS:
        return Wanted(lower, "dataset", DATASET_REPOSITORIES, (f"{lower}.jsonl",))
    if lower in _SUCCESSORS:
        new = _SUCCESSORS[lower]
        return Wanted(new, "dataset", DATASET_REPOSITORIES, (f"{new}.jsonl",), _replaced(lower, new))
    if _REPOSITORY.fullmatch(name) and ".." not in name and "--" not in name:
        return Wanted(name.rpartition("/")[2], "model", {"huggingface": name, "modelscope": name})
    known = [*MODELS, *DATASETS]
    close = difflib.get_close_matches(lower, known, n=1, cutoff=0.5)
    shown, hint = clean_line(name, 80), f" (→ {close[0]}?)" if close else ""
    raise UserError(
        f"nothing to download is called {shown}{hint}: use {', '.join(known)}, or OWNER/NAME",
        f"没有名为 {shown} 的下载项{hint}：可用 {', '.join(known)}，或 OWNER/NAME",
    )


def _is_ours(name: str) -> bool:
    return name.lower().startswith(("jingyaogong/", "gongjy/"))


def _replaced(old: str, new: str) -> Text:
    return Text(
        f"{old} is gone from the data set: {new} took its place and is fetched instead",
        f"数据集中已没有 {old}：改为下载取代它的 {new}",
    )
