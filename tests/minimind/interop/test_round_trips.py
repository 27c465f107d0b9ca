"""Every released layout, out and in again: the same logits, and the same files where they should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from minimind.config import ModelConfig
from minimind.errors import UserError
from minimind.interop.opening import open_any
from minimind.model.files import model_files
from minimind.model.transformer import MiniMind
from tests.minimind.interop.small import IN_TRANSFORMERS, LAYOUTS, small_config, small_model, tokens, write
from tests.minimind.tiny import tiny_tokenizer


def assert_same(opened: MiniMind, original: MiniMind) -> None:
    """The same numbers, and so the same logits: up to the order in which a kernel adds, which follows the alignment."""
    state = original.state_dict()
    assert {name for name, tensor in opened.state_dict().items() if torch.equal(tensor, state[name])} == set(state)
    with torch.inference_mode():
        torch.testing.assert_close(opened(tokens()), original(tokens()), rtol=1e-5, atol=1e-5)


def released(model: MiniMind, folder: Path) -> Path:
    return next(write(model, "pth", folder).glob("*.pth"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_released_file_and_back(layout: str, tmp_path: Path) -> None:
    model = small_model(layout)
    path = released(model, tmp_path / "one")
    assert path.name == ("full_sft_64_moe.pth" if "moe" in layout else "full_sft_64.pth")
    opened, tokenizer, metadata = open_any(path)
    assert opened.config == model.config
    assert tokenizer.sha256 == tiny_tokenizer().sha256
    assert metadata == {}
    assert_same(opened, model)
    again = write(opened, "pth", tmp_path / "two")
    for file in sorted(path.parent.iterdir()):
        assert (again / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize("layout", IN_TRANSFORMERS)
def test_transformers_folder_and_back(layout: str, tmp_path: Path) -> None:
    model = small_model(layout)
    folder = write(model, "hf", tmp_path / "one")
    opened, _, _ = open_any(folder)
    assert opened.config == model.config
    assert_same(opened, model)
    again = write(opened, "hf", tmp_path / "two")
    for file in sorted(folder.iterdir()):
        assert (again / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_our_checkpoint_of_every_layout(layout: str, tmp_path: Path) -> None:
    model = small_model(layout)
    for name, content in model_files(model, {"objective": "sft"}).items():
        (tmp_path / name).write_bytes(content)
    tiny_tokenizer().save(tmp_path)
    opened, _, metadata = open_any(tmp_path)
    assert opened.config == model.config
    assert metadata == {"objective": "sft"}
    assert_same(opened, model)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_configuration_is_inferred_where_none_is_given(layout: str, tmp_path: Path) -> None:
    """Nothing but the weights and a tokenizer: what the shapes cannot tell is taken from the released models and said."""
    model = small_model(layout, max_position_embeddings=32768)
    path = released(model, tmp_path / "released")
    (path.parent / "config.json").unlink()
    opened, _, metadata = open_any(path)
    assert opened.config == model.config
    assert_same(opened, model)
    said = " ".join(note["en"] for note in metadata.get("notes", []))
    assert ("heads" in said) is (layout in {"small", "minimind2", "minimind2-moe"})
    assert ("experts work on a token" in said) is ("moe" in layout)


def test_a_wrong_assumption_can_be_put_right(tmp_path: Path) -> None:
    model = small_model("minimind2", num_attention_heads=4, num_key_value_heads=1)
    path = released(model, tmp_path / "released")
    (path.parent / "config.json").unlink()
    assert open_any(path)[0].config.num_attention_heads == 8
    opened, _, _ = open_any(path, changes={"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": None})
    assert_same(opened, model)


VARIANTS: dict[str, Any] = {
    "float32": lambda state: {name: tensor.float() for name, tensor in state.items()},
    "parameters": lambda state: {name: nn.Parameter(tensor) for name, tensor in state.items()},
    "DistributedDataParallel": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "compiled": lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
    "both": lambda state: {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()},
    "untied on disk": lambda state: {n: t for n, t in state.items() if n != "lm_head.weight"},
    "with rotary tables": lambda state: state | {"model.freqs_cos": torch.ones(4, 4), "freqs_sin": torch.ones(4)},
    "resume": lambda state: {"model": state, "optimizer": {"state": {0: {"step": 3}}}, "epoch": 1, "step": 7},
    "state_dict": lambda state: {"state_dict": state, "epoch": 2},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_files_of_every_trainer_open(variant: str, tmp_path: Path) -> None:
    model = small_model("minimind3")
    path = released(model, tmp_path / "released")
    torch.save(VARIANTS[variant](torch.load(path, weights_only=True)), path)
    assert_same(open_any(path)[0], model)


def test_a_file_saved_by_an_optimiser_step_of_a_wrapped_model_opens(tmp_path: Path) -> None:
    model = small_model("minimind3")
    path = released(model, tmp_path / "released")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    model(tokens()).square().mean().backward()
    optimizer.step()
    content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scaler": {"scale": 65536.0}}
    torch.save(content, path)
    assert_same(open_any(path)[0], model)


def test_upstream_folders_are_understood(tmp_path: Path) -> None:
    """out/full_sft_64.pth, with the tokenizer in model/ beside it and no config anywhere."""
    model = small_model("minimind3", max_position_embeddings=32768)
    path = released(model, tmp_path / "out")
    (path.parent / "config.json").unlink()
    tiny_tokenizer().save(tmp_path / "model")
    for file in path.parent.glob("tokenizer*"):
        file.unlink()
    assert_same(open_any(path)[0], model)
    assert_same(open_any(path.parent, tokenizer=tmp_path / "model")[0], model)


def test_without_a_tokenizer_there_is_no_model(tmp_path: Path) -> None:
    path = released(small_model("minimind3"), tmp_path / "out")
    (path.parent / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"full_sft_64\.pth: has no tokenizer\.json beside it"):
        open_any(path)


def shard(folder: Path, count: int, extension: str) -> None:
    """Split a folder's weights into `count` files with an index."""
    state = load_file(folder / "model.safetensors")
    names = sorted(state)
    stem = "model" if extension == "safetensors" else "pytorch_model"
    listed = {}
    for number in range(count):
        file = f"{stem}-{number + 1:05d}-of-{count:05d}.{extension}"
        part: dict[str, Tensor] = {name: state[name] for name in names[number::count]}
        save_file(part, folder / file) if extension == "safetensors" else torch.save(part, folder / file)
        listed |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 1}, "weight_map": listed}
    (folder / f"{stem}.{extension}.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("extension", ["safetensors", "bin"])
@pytest.mark.parametrize("layout", IN_TRANSFORMERS)
def test_shards_are_put_together(layout: str, extension: str, tmp_path: Path) -> None:
    model = small_model(layout)
    folder = write(model, "hf", tmp_path / "hf")
    shard(folder, 3, extension)
    assert_same(open_any(folder)[0], model)
    next(folder.glob("*-00002-of-*")).unlink()
    with pytest.raises(UserError, match=r"00002-of-00003.*cannot be read"):
        open_any(folder)


def test_pytorch_model_bin_opens(tmp_path: Path) -> None:
    model = small_model("minimind2")
    folder = write(model, "hf", tmp_path / "hf")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert_same(open_any(folder)[0], model)


def test_experts_fused_by_transformers_5_are_taken_apart(tmp_path: Path) -> None:
    model = small_model("minimind3-moe")
    folder = write(model, "hf", tmp_path / "hf")
    state = load_file(folder / "model.safetensors")
    for layer in range(2):
        prefix = f"model.layers.{layer}.mlp.experts"
        parts = {
            part: torch.stack([state.pop(f"{prefix}.{expert}.{part}_proj.weight") for expert in range(4)])
            for part in ("gate", "up", "down")
        }
        state[f"{prefix}.gate_up_proj"] = torch.cat([parts["gate"], parts["up"]], dim=1)
        state[f"{prefix}.down_proj"] = parts["down"]
    save_file(state, folder / "model.safetensors")
    assert_same(open_any(folder)[0], model)
    (folder / "config.json").unlink()
    assert_same(open_any(folder, changes={"max_position_embeddings": 512})[0], model)


def test_an_untied_output_layer_is_noticed(tmp_path: Path) -> None:
    model = small_model("minimind3", tie_word_embeddings=False)
    folder = write(model, "hf", tmp_path / "hf")
    assert_same(open_any(folder)[0], model)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    with pytest.raises(UserError, match=r"lm_head\.weight differs from the embedding"):
        open_any(folder)


def test_a_difference_names_tensors_shapes_and_the_nearest_preset(tmp_path: Path) -> None:
    path = released(small_model("minimind3"), tmp_path / "one")
    other = MiniMind(ModelConfig(hidden_size=512, num_hidden_layers=1, vocab_size=6400)).half()
    torch.save(other.state_dict(), path)
    with pytest.raises(UserError) as caught:
        open_any(path)
    message = str(caught.value)
    assert "lm_head.weight: 6400×512 ≠ 320×64" in message
    assert "and 22 more" in message
    assert "vocab_size 6400, hidden_size 512, num_hidden_layers 1" in message
    assert "nearest preset: small (" in message


@pytest.mark.parametrize("layout", ["minimind2", "minimind3"])
def test_yarn_settings_survive_the_released_config(layout: str, tmp_path: Path) -> None:
    model = small_model(layout, inference_rope_scaling=True, max_position_embeddings=32768)
    opened, _, _ = open_any(released(model, tmp_path / "one"))
    assert opened.config == model.config
    assert_same(opened, model)


def test_what_other_programs_lack_is_said(tmp_path: Path) -> None:
    for to, model, expected in (
        ("hf", small_model("minimind2-moe"), "no class for MiniMind2-MoE"),
        ("hf", small_model("minimind2", inference_rope_scaling=True), "no MiniMind2 stretching"),
    ):
        with pytest.raises(UserError, match=expected):
            write(model, to, tmp_path / f"{to}{model.config.use_moe}")


def test_a_dtype_that_cannot_hold_the_weights_is_refused(tmp_path: Path) -> None:
    model = small_model("minimind3")
    with torch.no_grad():
        model.model.norm.weight[0] = 1e6
    with pytest.raises(UserError, match="float16 cannot hold the largest weights"):
        write(model, "pth", tmp_path / "half")
    assert_same(open_any(write(model, "pth", tmp_path / "whole", "float32"))[0], model)


def test_layouts_differ_in_the_way_the_tests_believe() -> None:
    assert small_config("minimind2").qk_norm is False
    assert small_config("minimind2-moe").n_shared_experts == 1
    assert small_config("minimind3-moe").num_experts_per_tok == 1
