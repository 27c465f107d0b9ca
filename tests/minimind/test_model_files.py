"""A model saved and opened again is the same; what is not a model is said to be what it is."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from minimind.errors import UserError
from minimind.model.files import load_model, model_files
from minimind.model.weights import check_numbers
from minimind.training.checkpoint import MANIFEST
from tests.minimind.tiny import save_tiny, tiny_model, tiny_tokenizer

TOKENS = torch.tensor([[1, 50, 60, 70]])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A model of somebody else: no manifest that would notice first."""
    saved = save_tiny(tmp_path / "checkpoints")
    (saved / MANIFEST).unlink()
    return saved


@pytest.mark.parametrize("tied", [True, False])
def test_what_is_opened_is_what_was_saved(tmp_path: Path, tied: bool) -> None:
    saved = save_tiny(tmp_path, metadata={"objective": "sft", "故事": [1, None]}, tie_word_embeddings=tied)
    model, tokenizer, metadata = load_model(saved)
    original = tiny_model(tie_word_embeddings=tied)
    assert torch.equal(model(TOKENS), original(TOKENS))
    assert model.config == original.config
    assert (model.lm_head.weight is model.model.embed_tokens.weight) is tied
    assert model.parameter_count() == original.parameter_count()
    assert tokenizer.sha256 == tiny_tokenizer().sha256
    assert metadata == {"objective": "sft", "故事": [1, None]}
    assert not model.training


def test_an_opened_model_can_be_trained_without_touching_the_file(tmp_path: Path) -> None:
    saved = save_tiny(tmp_path)
    before = (saved / "model.safetensors").read_bytes()
    model, _, _ = load_model(saved)
    model(TOKENS).square().mean().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert (saved / "model.safetensors").read_bytes() == before
    assert not torch.equal(model(TOKENS), load_model(saved)[0](TOKENS))


def test_a_tied_output_layer_is_stored_once_and_weights_can_be_rounded(directory: Path) -> None:
    model = tiny_model()
    files = model_files(model, {}, dtype=torch.bfloat16)
    (directory / "model.safetensors").write_bytes(files["model.safetensors"])
    stored = load_file(directory / "model.safetensors")
    assert "lm_head.weight" not in stored
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    opened, _, _ = load_model(directory)
    assert {parameter.dtype for parameter in opened.parameters()} == {torch.float32}
    torch.testing.assert_close(opened(TOKENS), model.to(torch.bfloat16).float()(TOKENS))
    assert load_model(directory, dtype=torch.bfloat16)[0](TOKENS).dtype == torch.bfloat16


def replace(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def header(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


TWICE = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
WRONG_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), r"cannot be read|no such file|no model\.safetensors"),
    "empty": (replace(b""), "empty"),
    "lfs": (replace(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 217908728\n"), "git lfs pull"),
    "page": (replace(b"\n<!DOCTYPE html><html><body>Sign in</body></html>"), "web page"),
    "pickle": (replace(b"\x80\x04\x95" + b"." * 200), "pickle"),
    "gzip": (replace(b"\x1f\x8b\x08" + b"\0" * 200), "gzip"),
    "noise": (replace(bytes(range(7, 207))), "not a safetensors file|safetensors"),
    "short": (replace(b"abc"), "safetensors"),
    "huge header": (replace(struct.pack("<Q", 2**63) + b"{" * 100), "safetensors"),
    "deep header": (replace(header("[" * 100_000)), "safetensors"),
    "name twice": (replace(header(TWICE) + b"\0" * 4), "safetensors|twice"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-40]), "cut short"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_what_is_not_weights_is_said_in_one_line(directory: Path, name: str) -> None:
    damage, expected = WRONG_FILES[name]
    damage(directory / "model.safetensors")
    with pytest.raises(UserError, match=expected) as caught:
        load_model(directory)
    for text in (caught.value.text.en, caught.value.text.zh):
        assert "\n" not in text
        assert "model.safetensors" in text


def change_weights(directory: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(directory / "model.safetensors")
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    change(tensors)
    save_file(tensors, directory / "model.safetensors")


def test_shapes_that_do_not_fit_are_named_with_what_they_look_like(directory: Path) -> None:
    other = tiny_model(hidden_size=48, num_hidden_layers=3)
    (directory / "model.safetensors").write_bytes(model_files(other, {})["model.safetensors"])
    with pytest.raises(UserError, match=r"320×48 ≠ 320×32.*and \d+ more.*hidden_size 48, num_hidden_layers 3"):
        load_model(directory)


def test_missing_and_unknown_tensors_are_named_harmlessly(directory: Path) -> None:
    def rename(tensors: dict[str, torch.Tensor]) -> None:
        tensors["\x1b]52;c;x\x07evil"] = tensors.pop("model.norm.weight")

    change_weights(directory, rename)
    with pytest.raises(UserError, match="model.norm.weight: — ≠ 32") as caught:  # noqa: RUF043
        load_model(directory)
    assert "\x1b" not in str(caught.value)
    assert "evil: 32 ≠ —" in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(directory: Path, value: float) -> None:
    change_weights(directory, lambda tensors: tensors["model.norm.weight"].__setitem__(3, value))
    with pytest.raises(UserError, match=r"model\.norm\.weight holds numbers that are not finite"):
        load_model(directory)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_number_of_many_is_found_wherever_it_stands(dtype: torch.dtype, value: float) -> None:
    for place in (0, 499, 999):
        numbers = torch.linspace(-3, 3, 1000).to(dtype)  # [1000]
        check_numbers({"w": numbers, "none": numbers[:0]}, Path("w.pth"))
        numbers[place] = value
        with pytest.raises(UserError, match="w holds numbers that are not finite"):
            check_numbers({"w": numbers}, Path("w.pth"))


def test_opening_a_model_does_not_load_the_compiler_of_torch(directory: Path) -> None:
    statement = f"from minimind.model.files import load_model; load_model(Path({str(directory)!r}))"
    report = "print('torch._dynamo' in sys.modules, 'sympy' in sys.modules)"
    command = [sys.executable, "-c", f"import sys; from pathlib import Path; {statement}; {report}"]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout.split() == ["False", "False"]


def test_whole_numbers_are_no_weights(directory: Path) -> None:
    change_weights(directory, lambda t: t.__setitem__("model.norm.weight", torch.ones(32, dtype=torch.int64)))
    with pytest.raises(UserError, match="int64"):
        load_model(directory)


def change_config(directory: Path, **changes: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_tokenizer_of_another_model_is_noticed(directory: Path) -> None:
    save_tiny(directory / "other", vocab_size=1000)
    for name in ("config.json", "model.safetensors"):
        (directory / "other" / "step-000100" / name).replace(directory / name)
    with pytest.raises(UserError, match=r"the tokenizer has 320 tokens.*vocab_size = 1000"):
        load_model(directory)


def test_a_config_may_know_more_than_we_do_but_not_be_wrong(directory: Path) -> None:
    change_config(directory, architectures=["Qwen3ForCausalLM"], transformers_version="5.0")
    assert load_model(directory)[0].config.hidden_size == 32
    change_config(directory, num_attention_heads=5)
    with pytest.raises(UserError, match=r"config\.json.*num_attention_heads"):
        load_model(directory)
    (directory / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: not valid json"):
        load_model(directory)


def test_a_damaged_checkpoint_of_ours_is_noticed_by_its_manifest(tmp_path: Path) -> None:
    saved = save_tiny(tmp_path)
    content = bytearray((saved / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (saved / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="checksum"):
        load_model(saved)


def test_no_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        load_model(tmp_path / "nothing")
