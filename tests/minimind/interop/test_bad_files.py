"""What is not a model is said in one line; it never runs, hangs or takes the memory."""

from __future__ import annotations

import random
import resource
import shutil
import time
from pathlib import Path

import pytest

from minimind.errors import UserError
from minimind.interop.opening import open_any
from tests.minimind.interop.bad_files import ARCHIVE, Damage, cases
from tests.minimind.interop.small import small_model, write

CASES = cases()
_MEMORY = 400_000
"""Kilobytes by which a bad file may raise the peak: imports and a 20 MB pickle, not a bomb."""
_SECONDS = 5.0
"""CPU seconds."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each kind of model, to be copied and damaged."""
    root = tmp_path_factory.mktemp("good")
    for kind in ("hf", "pth"):
        write(small_model("minimind3"), kind, root / kind)
        open_any(root / kind)
    return root


def test_there_are_more_than_ninety() -> None:
    assert len(CASES) > 150


@pytest.mark.filterwarnings("ignore:.*is deprecated:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_a_bad_file_is_one_clear_line(name: str, good: Path, tmp_path: Path) -> None:
    kind, damage = CASES[name]
    folder, marker = tmp_path / "model", tmp_path / "code-ran"
    shutil.copytree(good / kind, folder)
    make(damage, folder, marker)
    peak, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(UserError) as caught:
        open_any(folder / ARCHIVE if kind == "pth" else folder)
    assert time.process_time() - started < _SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < _MEMORY
    assert not marker.exists()
    for text in (caught.value.text.en, caught.value.text.zh):
        assert len(text) < 1200
        assert text.isprintable()
        assert "Traceback" not in text
        assert str(tmp_path) in text


def make(damage: Damage, folder: Path, marker: Path) -> None:
    damage(folder, marker)
    assert not marker.exists(), "making the file ran its code"


def test_the_control_really_runs_code(tmp_path: Path) -> None:
    """Without the protection the same file does what it says, so the tests above test something."""
    import torch

    from tests.minimind.interop.bad_files import with_code

    with_code("makedirs")(tmp_path, tmp_path / "code-ran")
    torch.load(tmp_path / ARCHIVE, weights_only=False)
    assert (tmp_path / "code-ran").is_dir()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.safetensors: pointer", r"Git LFS pointer.*\(217,908,728 bytes\).*git lfs pull"),
        ("model.safetensors: page", "a web page"),
        ("full_sft_64.pth: parquet", "a Parquet file"),
        ("full_sft_64.pth: bare pickle", "could run code"),
        ("full_sft_64.pth: cut at 50 %", "cut short or damaged"),
        ("model.safetensors: cut at 50 %", "cut short"),
        ("PyTorch: code by makedirs", r"holds code or objects \(os.makedirs|posix"),
        ("PyTorch: deflated", "a compressed zip archive"),
        ("PyTorch: 64 GB by bytearray", r"builtins.bytearray|__builtin__"),
        ("PyTorch: 64 GB by strides", "claim more numbers than the file holds"),
        ("PyTorch: whole numbers", r"model\.norm\.weight has the dtype int64"),
        ("PyTorch: one layer more", "layers.2.input_layernorm.weight: 64 ≠ —"),
        ("safetensors: a pipe", "not a file"),
        ("config: pointer", r"config\.json: a Git LFS pointer"),
        ("config: 256 layers of 1,024 experts", r"262,144 × …"),
        ("index: a folder up", "names a file outside its folder"),
        ("index: missing shard", r"model-00002-of-00002\.safetensors: cannot be read"),
        ("tokenizer: missing", r"has no tokenizer\.json beside it"),
    ],
)
def test_the_line_says_what_it_is(name: str, expected: str, good: Path, tmp_path: Path) -> None:
    kind, damage = CASES[name]
    folder = tmp_path / "model"
    shutil.copytree(good / kind, folder)
    damage(folder, tmp_path / "code-ran")
    with pytest.raises(UserError, match=expected):
        open_any(folder / ARCHIVE if kind == "pth" else folder)


@pytest.mark.filterwarnings("ignore:.*is deprecated:UserWarning")
@pytest.mark.parametrize("kind", ["hf", "pth"])
def test_flipped_bytes_are_a_model_or_a_line(kind: str, good: Path, tmp_path: Path) -> None:
    """A hundred and fifty files with one to eight bytes changed, most of them in the header."""
    folder = tmp_path / "model"
    shutil.copytree(good / kind, folder)
    path = folder / (ARCHIVE if kind == "pth" else "model.safetensors")
    original = path.read_bytes()
    refused = 0
    for seed in range(150):
        dice = random.Random(seed)
        content = bytearray(original)
        reach = len(content) if seed % 4 == 0 else 6000
        for _ in range(dice.randint(1, 8)):
            content[dice.randrange(reach)] ^= 1 << dice.randrange(8)
        path.write_bytes(content)
        try:
            open_any(path if kind == "pth" else folder)
        except UserError:
            refused += 1
    assert refused > 50
