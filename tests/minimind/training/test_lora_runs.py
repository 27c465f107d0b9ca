"""LoRA as a way to train: what changes, what is saved, what opens it, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from minimind.cli import main
from minimind.errors import UserError
from minimind.interop.adapters import ADAPTER, adapter_of, read_adapter
from minimind.interop.opening import open_any
from minimind.model.lora import plain_state, weights_hash
from minimind.model.transformer import MiniMind
from minimind.training import checkpoint
from minimind.training.frozen import Reference
from minimind.training.job import Job
from minimind.training.update import Updater
from tests.minimind.training.listening import MakeTrainer

LORA: dict[str, Any] = {"objective": "sft", "tune": "lora", "learning_rate": 0.05, "steps": 6, "save_every": 6}
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def scores(model: MiniMind) -> Tensor:
    tokens = torch.arange(24)[None] * 31 % model.config.vocab_size  # [1, time]
    with torch.inference_mode():
        return model.eval()(tokens)  # [1, time, vocabulary]


@pytest.fixture
def lora_run(make_trainer: MakeTrainer, trained_tiny: Path, tmp_path: Path) -> tuple[MiniMind, Path]:
    """A model with its trained corrections beside its weights, and its last checkpoint."""
    trainer, _ = make_trainer(
        tmp_path / "checkpoints", **LORA, model=str(trained_tiny), lora_rank=4, lora_alpha=8, lora_targets=EVERY
    )
    assert trainer.run().outcome == "finished"
    found = checkpoint.latest(tmp_path / "checkpoints")
    assert found is not None
    return trainer.updater.optimizer.model, found


@pytest.mark.parametrize("compile", ["kernels", "off"])
def test_only_the_corrections_train_whatever_computes(
    compile: str, make_job: Callable[..., Job], trained_tiny: Path
) -> None:
    """The default: rank 16 beside q_proj and o_proj, scale 1. Gradients are those of plain PyTorch."""
    updater = Updater(make_job(**LORA, model=str(trained_tiny), compile=compile))
    model = updater.optimizer.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for step in range(3):
        updater.update(step, 6)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    layers = {f"model.layers.{layer}.self_attn.{part}" for layer in range(2) for part in ("q_proj", "o_proj")}
    assert changed == {f"{layer}.lora.{side}.weight" for layer in layers for side in "AB"}
    assert updater.optimizer.state_tensors().keys() >= {f"{name}|exp_avg" for name in changed}
    assert adapter_of(model).scale == 1.0
    assert adapter_of(model).rank == 16


def test_kernels_and_torch_compute_the_same_corrections(make_job: Callable[..., Job], trained_tiny: Path) -> None:
    found = []
    for compile in ("kernels", "off"):
        job = make_job(**LORA, model=str(trained_tiny), compile=compile, clip=1e6)
        updater = Updater(job)
        batch = next(job.objective.batches(job.data.train, job.config))
        loss, _ = job.objective.loss(updater.working.eval(), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = {name: p.grad for name, p in job.model.named_parameters() if p.grad is not None}
        assert gradients
        assert all(".lora." in name for name in gradients)
        found.append(gradients)
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-3, atol=1e-6)


def test_a_checkpoint_is_the_merged_model_and_has_its_adapter_beside_it(
    lora_run: tuple[MiniMind, Path], trained_tiny: Path, tmp_path: Path
) -> None:
    beside, saved = lora_run
    merged, _, metadata = open_any(saved)
    assert (scores(merged) - scores(open_any(trained_tiny)[0])).abs().max() > 0.01
    assert (scores(merged) - scores(beside)).abs().max() < 1e-5
    assert set(merged.state_dict()) == set(plain_state(beside))
    assert {name: metadata[name] for name in ("tune", "lora_rank", "lora_alpha")} == {
        "tune": "lora",
        "lora_rank": 4,
        "lora_alpha": 8.0,
    }
    with safe_open(saved / ADAPTER, "pt") as file:
        header = file.metadata()
    assert header["base"] == str(trained_tiny)
    assert header["base_hash"] == weights_hash(open_any(trained_tiny)[0])
    assert header["lora_targets"].split(",") == EVERY

    alone = shutil.copy(saved / ADAPTER, tmp_path / ADAPTER)
    for opened in (open_any(alone), open_any(trained_tiny, adapter=alone), open_any(alone, base=trained_tiny)):
        assert (scores(opened[0]) - scores(merged)).abs().max() < 1e-5
    open_any(alone, dtype=torch.bfloat16)  # the base is recognised in that precision too


def test_an_adapter_is_refused_on_another_model(
    lora_run: tuple[MiniMind, Path], trained_tiny: Path, tmp_path: Path
) -> None:
    _, saved = lora_run
    alone = shutil.copy(saved / ADAPTER, tmp_path / ADAPTER)
    for wrong in ({"base": saved}, {"adapter": alone}):
        with pytest.raises(UserError, match=r"trained on another model \(.*tiny\): its hash is [0-9a-f]{12}") as caught:
            open_any(saved if "adapter" in wrong else alone, **wrong)
        assert "请与原来的模型一起打开" in caught.value.text.zh
    adapter = read_adapter(saved)
    assert adapter.base_hash == weights_hash(open_any(trained_tiny)[0])
    assert adapter.scale == 2.0


def test_a_preset_has_nothing_to_correct(make_job: Callable[..., Job]) -> None:
    with pytest.raises(UserError, match="only an architecture: name one with --model"):
        make_job(**LORA)


def test_the_reference_of_an_adapted_model_is_the_model_without_corrections(
    lora_run: tuple[MiniMind, Path], trained_tiny: Path, make_job: Callable[..., Job]
) -> None:
    adapted, _ = lora_run
    reference = Reference(adapted, make_job().precision)
    before = scores(adapted)
    with reference.of(adapted) as model:
        torch.testing.assert_close(scores(model), scores(open_any(trained_tiny)[0]), rtol=0, atol=0)
        assert not torch.is_grad_enabled()
    torch.testing.assert_close(scores(adapted), before, rtol=0, atol=0)
    assert reference.state_tensors() == {}


def test_the_adapter_of_a_run_is_exported_and_named(
    lora_run: tuple[MiniMind, Path], trained_tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, saved = lora_run

    def told(*arguments: object) -> dict[str, Any]:
        assert main([*map(str, arguments), "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    expected = scores(open_any(saved)[0])
    assert told("export", saved, "--to", "peft", "--out", tmp_path / "peft")["rank"] == 4
    assert (scores(open_any(tmp_path / "peft")[0]) - expected).abs().max() < 1e-5
    (file,) = told("export", saved, "--to", "lora", "--name", "lora_me", "--out", tmp_path / "lora")["files"]
    exported = open_any(tmp_path / "lora" / file["name"], base=trained_tiny)[0]
    assert file["name"] == "lora_me_32.pth"
    assert (scores(exported) - expected).abs().max() < 1e-2  # float16
    about = told("model", "info", saved)["metadata"]
    assert (about["tune"], about["lora_targets"]) == ("lora", ",".join(EVERY))
    assert about["trained_parameters"] > 0

    assert main(["export", str(trained_tiny), "--to", "peft", "--out", str(tmp_path / "none")]) == 2
    assert "no LoRA adapter: its weights were trained in full" in capsys.readouterr().err
