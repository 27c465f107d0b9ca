"""`minimind export` and `minimind import`: what they write, say and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from minimind.cli import main
from minimind.commands.model_source import changes
from minimind.errors import UserError
from minimind.inference.engine import Engine
from minimind.interop.adapters import adapter_of, write_lora
from minimind.interop.opening import open_any
from minimind.model.locate import locate_model
from minimind.training.recommend import preset_of
from tests.minimind.interop.small import small_model, tokens, write
from tests.minimind.interop.test_adapters import trained
from tests.minimind.interop.test_round_trips import assert_same
from tests.minimind.tiny import save_tiny, tiny_model

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """full_sft_64_moe.pth with its tokenizer and no config."""
    model = small_model("minimind3-moe", max_position_embeddings=32768)
    path = next(write(model, "pth", tmp_path / "out").glob("*.pth"))
    (path.parent / "config.json").unlink()
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path, status: int = 0) -> dict[str, Any]:
    """The JSON line of a command."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == status
    lines = capsys.readouterr().out.splitlines()
    return dict(json.loads(lines[-1])) if lines else {}


def test_import_makes_a_folder_of_ours_that_the_engine_opens(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run(capsys, "import", released, "--out", tmp_path / "mine")
    assert told["parameters"] > told["active_parameters"]
    assert "minimind-3-MoE" in " ".join(told["notes"])
    assert told["config"]["num_experts"] == 4
    assert_same(Engine.open(tmp_path / "mine").model, open_any(released)[0])
    assert preset_of(str(tmp_path / "mine")) is None
    assert main(["import", str(released), "--out", str(tmp_path / "again"), "--lang", "zh"]) == 0
    assert "激活参数" in capsys.readouterr().out


def test_a_released_file_is_opened_by_its_path_alone(released: Path) -> None:
    assert locate_model(released) == released
    assert_same(Engine.open(released).model, open_any(released)[0])


@pytest.mark.parametrize("to", ["hf", "gguf", "ollama"])
def test_export_reports_that_the_other_program_reads_the_same_model(
    to: str, released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers" if to == "hf" else "llama_cpp")
    told = run(capsys, "export", released, "--to", to, "--out", tmp_path / to)
    assert told["parity"]["holds"] is True
    assert told["parity"]["tokenisation"]["CJK"] is True
    names = {file["name"] for file in told["files"]}
    expected = {"hf": "config.json", "gguf": "full_sft.gguf", "ollama": "Modelfile"}[to]
    assert expected in names
    assert main(["export", str(released), "--to", to, "--out", str(tmp_path / "zh"), "--lang", "zh"]) == 0
    assert "是同一个模型" in capsys.readouterr().out


def test_export_of_our_checkpoint_is_named_by_its_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = save_tiny(tmp_path / "run", metadata={"objective": "sft"})
    told = run(capsys, "export", saved, "--to", "pth", "--dtype", "float32", "--out", tmp_path / "pth")
    assert told["files"][0]["name"] == "full_sft_32.pth"
    assert_same(open_any(tmp_path / "pth" / "full_sft_32.pth")[0], tiny_model())


def test_adapters_are_converted_both_ways_and_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = trained()
    base = write(small_model("minimind3"), "hf", tmp_path / "base")
    write_lora(adapter_of(model), tmp_path / "lora_identity_64.pth")
    told = run(
        capsys, "export", tmp_path / "lora_identity_64.pth", "--to", "peft", "--base", base, "--out", tmp_path / "p"
    )
    assert told["rank"] == 4
    told = run(capsys, "export", tmp_path / "p", "--to", "pth", "--name", "lora_me", "--out", tmp_path / "q")
    assert told["files"][0]["name"] == "lora_me_64.pth"
    merged = tmp_path / "merged"
    run(capsys, "export", base, "--lora", tmp_path / "q" / "lora_me_64.pth", "--to", "pth", "--out", merged)
    for opened in (open_any(tmp_path / "p")[0], open_any(next(merged.glob("*.pth")))[0]):
        torch.testing.assert_close(opened(tokens()), model(tokens()), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["export", "{path}", "--to", "tflite", "--out", "{out}"], "tflite"),
        (["export", "{path}", "--to", "peft", "--out", "{out}"], "not a LoRA file"),
        (["export", "{path}", "--to", "hf", "--out", "{full}"], "is not empty"),
        (["import", "{path}", "--out", "{out}", "--set", "layers=3"], "--set layers=3: use NAME=VALUE"),
        (["import", "{path}", "--out", "{out}", "--set", "num_experts_per_tok=9"], "more than num_experts"),
        (["import", "{path}", "--out", "{out}", "--set", "use_moe=perhaps"], "use_moe = 'perhaps'"),
        (["import", "{full}/none.pth", "--out", "{out}"], "none.pth"),
        (["export", "minimind-3", "--to", "hf", "--out", "{out}"], "minimind download minimind-3"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    arguments: list[str], expected: str, released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"path": released, "out": tmp_path / "new", "full": released.parent}
    assert main([argument.format(**places) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())


def test_settings_given_by_hand_are_parsed() -> None:
    assert changes(["inference_rope_scaling=true", "rope_theta=1e5", "head_dim=none"]) == {
        "inference_rope_scaling": True,
        "rope_theta": 100_000.0,
        "head_dim": None,
    }
    with pytest.raises(UserError, match="use NAME=VALUE"):
        changes(["rope_theta"])
