"""A checkout's code beside ours: what is asked, what comes back, and what is said where it cannot be had."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from minimind.benchmarks.reference import Reference, add_against, save_weights, their_settings
from minimind.config import MODEL_PRESETS, ModelConfig
from minimind.errors import UserError
from minimind.model.transformer import MiniMind
from tests.minimind.benchmarks.checkout import MODEL, make_checkout

CONFIG = ModelConfig(hidden_size=8, vocab_size=2048, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    with Reference(make_checkout(tmp_path_factory.mktemp("checkout")), threads=1) as reference:
        yield reference


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    path = tmp_path / "documents.jsonl"
    texts = ["one", "two words", "three words here", "and a fourth line"]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def test_it_decodes_with_the_weights_given(reference: Reference, tmp_path: Path) -> None:
    successor = torch.eye(2048).roll(1, 0)  # after token t comes t + 1
    weights = tmp_path / "weights.pth"
    torch.save({"model.embed_tokens.weight": torch.eye(2048), "lm_head.weight": successor}, weights)
    config = CONFIG.replace(hidden_size=2048)
    decoded = reference.decode(config, [5, 7], 4, weights=weights)
    assert decoded.ids == (8, 9, 10, 11)
    assert len(decoded.token_seconds) == 3
    assert decoded.first_seconds > 0
    assert all(seconds > 0 for seconds in decoded.token_seconds)
    assert 0 < reference.prefill(config, [5, 7], weights=weights) < 60


def test_it_reads_a_data_set_epoch_by_epoch(reference: Reference, documents: Path) -> None:
    read = reference.data(documents, sequence_length=6, epochs=2, workers=0)
    assert read.documents == 4
    assert len(read.epoch_seconds) == 2
    assert 4 * 2 <= read.useful_tokens <= 4 * 5  # a beginning and an end each, at most 6 ids
    assert read.peak_memory > 1 << 20


def test_it_trains_and_goes_on_where_it_was(reference: Reference, documents: Path) -> None:
    first, again = (
        reference.train(CONFIG, documents, steps=steps, batch_size=2, sequence_length=6, workers=0) for steps in (3, 1)
    )
    assert (first.steps, again.steps) == (3, 1)
    whole = reference.data(documents, sequence_length=6, workers=0).useful_tokens
    assert first.useful_tokens + again.useful_tokens == 2 * whole  # two epochs of two batches, none lost between
    assert first.seconds > 0


def test_the_first_token_is_measured_from_a_fresh_process(reference: Reference) -> None:
    reference.prefill(CONFIG, [1])
    assert reference._process is not None
    before = reference._process.pid
    assert reference.first_token(CONFIG, [1, 2]) > 0.05  # it had at least to start Python
    assert reference._process.pid != before


def test_the_child_ends_with_the_block(tmp_path: Path) -> None:
    with Reference(make_checkout(tmp_path), threads=1) as reference:
        assert reference._process is not None
        child = psutil.Process(reference._process.pid)
        assert child.is_running()
    assert not child.is_running()


def test_a_folder_that_is_no_checkout_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"not a MiniMind checkout \(no model/model_minimind.py in it\)"),
        Reference(tmp_path),
    ):
        pass


def test_a_missing_package_is_named_with_its_remedy(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path, model="import a_package_nobody_has.inside")
    with Reference(checkout, threads=1) as reference, pytest.raises(UserError) as caught:
        reference.prefill(CONFIG, [1])
    assert str(caught.value).endswith(
        "its model.model_minimind needs the package a_package_nobody_has: pip install a_package_nobody_has"
    )
    assert "a_package_nobody_has" in caught.value.text.zh


def test_a_missing_file_of_the_checkout_is_named(tmp_path: Path, documents: Path) -> None:
    checkout = make_checkout(tmp_path)
    (checkout / "dataset" / "lm_dataset.py").unlink()
    with Reference(checkout, threads=1) as reference, pytest.raises(UserError, match=r"has no dataset/lm_dataset\.py"):
        reference.data(documents, workers=0)


def test_code_that_fails_is_one_line_and_the_child_lives_on(tmp_path: Path) -> None:
    broken = MODEL.replace("def forward(self, input_ids,", "def forward(self, input_ids, *, unknown,")
    with Reference(make_checkout(tmp_path, model=broken), threads=1) as reference:
        for _ in range(2):
            with pytest.raises(UserError, match="its code failed: TypeError") as caught:
                reference.prefill(CONFIG, [1])
            assert "\n" not in str(caught.value)


def test_a_child_that_dies_is_one_line(tmp_path: Path) -> None:
    dying = "import os, sys\nprint('out of luck', file=sys.stderr, flush=True)\nos._exit(7)"
    with Reference(make_checkout(tmp_path, model=dying), threads=1) as reference:
        with pytest.raises(UserError, match="ended with status 7: out of luck"):
            reference.prefill(CONFIG, [1])
        with pytest.raises(UserError, match="ended with status 7"):  # a new child, the same end
            reference.prefill(CONFIG, [1])


def test_a_child_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimind.benchmarks.reference._PATIENCE", 0.2)
    with Reference(make_checkout(tmp_path, model="import time\ntime.sleep(60)"), threads=1) as reference:
        began = time.monotonic()
        with pytest.raises(UserError, match="no answer"):
            reference.prefill(CONFIG, [1])
        assert time.monotonic() - began < 30


def test_other_weights_than_its_model_has_are_refused(reference: Reference, tmp_path: Path) -> None:
    weights = save_weights(MiniMind(CONFIG), tmp_path / "ours.pth")
    with pytest.raises(UserError, match="another generation: 12 tensors differ"):
        reference.prefill(CONFIG, [1], weights=weights)


def test_settings_carry_every_size_over() -> None:
    settings = their_settings(MODEL_PRESETS["small"])
    assert settings["intermediate_size"] == 1408
    assert settings["head_dim"] == 64
    assert their_settings(MODEL_PRESETS["minimind3"])["intermediate_size"] == 2432


def test_the_flag_says_that_code_is_executed(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_against(parser)
    assert "executes" in parser.format_help()
    assert "执行" in parser.format_help()
    assert parser.parse_args(["--against", "x"]).against == Path("x")
