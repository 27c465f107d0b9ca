"""LoRA: beside the weights or merged, from MiniMind's file or PEFT's folder, always the same model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from minimind.errors import UserError
from minimind.interop.adapters import (
    Adapter,
    adapter_of,
    apply_adapter,
    merge_adapter,
    read_adapter,
    write_lora,
    write_peft,
)
from minimind.interop.opening import open_any
from minimind.model.lora import LoraLinear, add_lora, merge_lora
from minimind.model.transformer import MiniMind
from tests.minimind.interop.small import LAYOUTS, small_model, tokens, write


def lora_tensors(model: MiniMind) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if ".lora." in name}


def trained(layout: str = "minimind3", rank: int = 4, scale: float = 1.0) -> MiniMind:
    """A model with a correction that is not zero any more."""
    model = small_model(layout)
    add_lora(model, rank, scale=scale)
    with torch.no_grad():
        for name, tensor in lora_tensors(model).items():
            generator = torch.Generator().manual_seed(len(name))
            tensor.copy_((torch.randn(tensor.shape, generator=generator) * 0.2).half().float())
    return model


@torch.inference_mode()
@pytest.mark.parametrize("layout", LAYOUTS)
def test_beside_equals_merged(layout: str) -> None:
    model = trained(layout, scale=0.5)
    beside = model(tokens())
    assert not torch.allclose(beside, small_model(layout)(tokens()), atol=0.01)
    assert merge_lora(model) == 4
    assert not any(isinstance(module, LoraLinear) for module in model.modules())
    torch.testing.assert_close(model(tokens()), beside, rtol=1e-4, atol=1e-4)
    assert set(model.state_dict()) == set(small_model(layout).state_dict())


def test_training_starts_at_the_model_and_changes_only_the_correction() -> None:
    model, plain = small_model("minimind3"), small_model("minimind3")
    names = add_lora(model, 4)
    assert len(names) == 4
    torch.testing.assert_close(model(tokens()), plain(tokens()))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    for _ in range(2):
        model(tokens()).square().mean().backward()
        optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert changed <= set(lora_tensors(model))


def test_released_size() -> None:
    """393,216 numbers at rank 16 for minimind-3: q_proj and o_proj of eight layers of width 768."""
    config = small_model("minimind3").config.replace(hidden_size=768, num_hidden_layers=8, intermediate_size=None)
    with torch.device("meta"):
        model = MiniMind(config)
        add_lora(model, 16)
    assert sum(tensor.numel() for tensor in lora_tensors(model).values()) == 393_216
    assert all(tensor.shape in {(16, 768), (768, 16)} for tensor in lora_tensors(model).values())


@pytest.mark.parametrize("kind", ["pth", "peft"])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_files_of_both_kinds_give_the_same_model(kind: str, scale: float, tmp_path: Path) -> None:
    model = trained(scale=scale)
    expected = model(tokens())
    base = write(small_model("minimind3"), "hf", tmp_path / "base")
    if kind == "pth":
        path = tmp_path / "lora_identity_64.pth"
        write_lora(adapter_of(model), path)
        stored = torch.load(path, weights_only=True)
        assert "model.layers.0.self_attn.q_proj.lora.A.weight" in stored
        assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    else:
        path = tmp_path / "adapter"
        write_peft(adapter_of(model), path, base=str(base))
        names = set(load_file(path / "adapter_model.safetensors"))
        assert "base_model.model.model.layers.1.self_attn.o_proj.lora_B.weight" in names
        settings = json.loads((path / "adapter_config.json").read_text())
        assert (settings["r"], settings["lora_alpha"]) == (4, 4 * scale)
        assert settings["target_modules"] == ["o_proj", "q_proj"]
    for opened, _, _ in (open_any(path, base=base), open_any(base, adapter=path)):
        torch.testing.assert_close(opened(tokens()), expected, rtol=1e-3, atol=1e-3)


def test_a_peft_folder_finds_the_base_it_names(tmp_path: Path) -> None:
    model = trained()
    write(small_model("minimind3"), "hf", tmp_path / "base")
    write_peft(adapter_of(model), tmp_path / "adapter", base="../base")
    write_peft(adapter_of(model), tmp_path / "lost", base="jingyaogong/\x1bminimind-3")
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        (tmp_path / "adapter" / "adapter_config.json").read_text().replace("../base", "base")
    )
    torch.testing.assert_close(open_any(tmp_path / "adapter")[0](tokens()), model(tokens()), rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="needs the model it was trained on.*--base") as caught:  # noqa: RUF043
        open_any(tmp_path / "lost")
    assert "\x1b" not in str(caught.value)


def test_rank_stabilised_scale_is_alpha_over_the_root(tmp_path: Path) -> None:
    write_peft(adapter_of(trained(scale=3.0)), tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_rslora": True}))
    assert read_adapter(tmp_path).scale == pytest.approx(12 / math.sqrt(4))


def test_an_adapter_of_another_model_changes_nothing() -> None:
    model = small_model("minimind3")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    good = adapter_of(trained()).pairs
    narrow = {name: (a[:, :32], b) for name, (a, b) in good.items()}
    for pairs in (good | {"model.layers.7.self_attn.q_proj": next(iter(good.values()))}, narrow):
        with pytest.raises(UserError, match="the adapter is for another model"):
            merge_adapter(model, Adapter(pairs))
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_applied_twice_is_applied_once_and_once() -> None:
    """A merged adapter can be followed by another."""
    adapter = adapter_of(trained())
    model = small_model("minimind3")
    merge_adapter(model, adapter)
    merge_adapter(model, adapter)
    doubled = small_model("minimind3")
    apply_adapter(doubled, Adapter(adapter.pairs, 2.0))
    torch.testing.assert_close(model(tokens()), doubled(tokens()), rtol=1e-4, atol=1e-4)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"peft_type": "IA3"}, "peft_type = 'IA3'"),
        ({"use_dora": True}, "use_dora = True"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"r": 0}, "r and lora_alpha must be numbers"),
        ({"lora_alpha": "big"}, "r and lora_alpha must be numbers"),
    ],
)
def test_other_adapters_are_refused(change: dict[str, object], expected: str, tmp_path: Path) -> None:
    write_peft(adapter_of(trained()), tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=expected):
        read_adapter(tmp_path)


def test_halves_without_partner_are_refused(tmp_path: Path) -> None:
    write_peft(adapter_of(trained()), tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    tensors = load_file(weights)
    tensors.pop(next(iter(tensors)))
    save_file(tensors, weights)
    with pytest.raises(UserError, match="do not belong together"):
        read_adapter(tmp_path)
    save_file({"model.norm.weight": torch.ones(2)}, weights)
    with pytest.raises(UserError, match="is no part of a LoRA adapter"):
        read_adapter(tmp_path)


def test_nothing_to_adapt_is_said() -> None:
    with pytest.raises(UserError, match="no linear layer is called w_pack"):
        add_lora(small_model("minimind3"), 4, targets=["w_pack"])
    with pytest.raises(UserError, match="no adapter in it"):
        adapter_of(small_model("minimind3"))
