"""Does another program read the exported model as the same model? Asked of transformers and llama.cpp, where installed."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from minimind.data.tokenizer import Tokenizer
from minimind.model.transformer import MiniMind

TEXTS = {
    "digits": "3.14159 + 2718 = 0042; 2026-08-21, 1,000,000 and x10",
    "emoji": "🙂👩‍👩‍👧‍👦🇨🇳 naïve café 👍🏽!",
    "CJK": "你好，世界！白日依山尽，黄河入海流。こんにちは 안녕하세요",
    "spaces": "  two  spaces\n\n\ttab \r\n end ",
    "apostrophes": "it's we'll I'D they've 'quoted' don’t",
    "code": "def f(x_1):\n    return {'a': [x_1 ** 2, None]}  # ok",
}
"""What tokenizers disagree about."""
_LENGTH = 48


@dataclass(frozen=True, slots=True)
class Parity:
    """How far another program's answers are from ours, and whether it splits text into the same tokens.

    `same_greedy` is the share of positions at which both find the same token likeliest; `tolerance` the difference of
    logits, as a share of the largest one, that counts as rounding.
    """

    program: str
    largest_difference: float
    largest_logit: float
    same_greedy: float
    tokenisation: dict[str, bool]
    tolerance: float = 1e-4

    @property
    def holds(self) -> bool:
        """Whether the two are the same model, up to rounding."""
        close = self.largest_difference <= self.tolerance * max(1.0, self.largest_logit)
        return close and all(self.tokenisation.values())


def compare_with_transformers(folder: Path, model: MiniMind, tokenizer: Tokenizer) -> Parity | None:
    """Load `folder` with transformers and compare with `model`, whose weights were rounded as the folder's were.

    Both compute in float32 on the CPU, on 48 random tokens from a fixed seed. None where transformers is not installed.
    """
    try:
        transformers = importlib.import_module("transformers")
    except ImportError:
        return None
    logging.getLogger("transformers").setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    other = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).float().eval()
    other_tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tokens = _random_tokens(model)  # [1, time]
    with torch.inference_mode():
        theirs = other(tokens).logits[0]  # [time, vocabulary]

    def encode(text: str) -> list[int]:
        return list(other_tokenizer.encode(text, add_special_tokens=False))

    return _compared(f"transformers {transformers.__version__}", model, tokenizer, theirs, encode)


def compare_with_llama_cpp(file: Path, model: MiniMind, tokenizer: Tokenizer) -> Parity | None:
    """Load a GGUF `file` with llama-cpp-python and compare as above; None where that is not installed.

    llama.cpp rounds on the way even where the weights are float32, so its logits agree to two or three digits.
    """
    try:
        llama_cpp = importlib.import_module("llama_cpp")
    except ImportError:
        return None
    wide = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
    other = llama_cpp.Llama(str(file), n_ctx=_LENGTH, n_batch=_LENGTH, logits_all=True, verbose=False, **wide)
    try:
        other.eval(_random_tokens(model)[0].tolist())
        theirs = torch.tensor(other.scores[:_LENGTH])  # [time, vocabulary]

        def encode(text: str) -> list[int]:
            return list(other.tokenize(text.encode(), add_bos=False, special=False))

        return _compared(f"llama.cpp ({llama_cpp.__version__})", model, tokenizer, theirs, encode, tolerance=1e-2)
    finally:
        other.close()


def _random_tokens(model: MiniMind) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, model.config.vocab_size, (1, _LENGTH), generator=generator)  # [1, time]


def _compared(
    program: str,
    model: MiniMind,
    tokenizer: Tokenizer,
    theirs: Tensor,
    encode: Callable[[str], list[int]],
    tolerance: float = 1e-4,
) -> Parity:
    with torch.inference_mode():
        ours = model(_random_tokens(model))[0]  # [time, vocabulary]
    return Parity(
        program=program,
        largest_difference=float((ours - theirs).abs().max()),
        largest_logit=float(ours.abs().max()),
        same_greedy=float((ours.argmax(-1) == theirs.argmax(-1)).float().mean()),
        tokenisation={name: tokenizer.encode(text) == encode(text) for name, text in TEXTS.items()},
        tolerance=tolerance,
    )
