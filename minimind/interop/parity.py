"""Does another program read the exported model as the same model? Asked of transformers, where it is installed."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from pathlib import Path

import torch

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
    """How far another program's answers are from ours: the largest difference of a logit, and tokenisation text by text."""

    program: str
    largest_difference: float
    largest_logit: float
    same_greedy: bool
    tokenisation: dict[str, bool]

    @property
    def holds(self) -> bool:
        """Whether the two are the same model, up to the rounding of float32."""
        close = self.largest_difference <= 1e-4 * max(1.0, self.largest_logit)
        return close and self.same_greedy and all(self.tokenisation.values())


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
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, model.config.vocab_size, (1, _LENGTH), generator=generator)
    with torch.inference_mode():
        ours, theirs = model(tokens), other(tokens).logits
    same = {
        name: tokenizer.encode(text) == other_tokenizer.encode(text, add_special_tokens=False)
        for name, text in TEXTS.items()
    }
    return Parity(
        program=f"transformers {transformers.__version__}",
        largest_difference=float((ours - theirs).abs().max()),
        largest_logit=float(ours.abs().max()),
        same_greedy=bool((ours.argmax(-1) == theirs.argmax(-1)).all()),
        tokenisation=same,
    )
