"""The compiled step computes what the model does, in every shape, and steps aside where it cannot."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from minimind import native, paths
from minimind.config import MODEL_PRESETS, SampleConfig
from minimind.errors import UserError
from minimind.inference.engine import Engine
from minimind.inference.native import build
from minimind.inference.native.decoder import NativeDecoder, rotary_angles, uncovered
from minimind.inference.quantize import WEIGHT_FORMATS
from minimind.model.cache import Cache
from minimind.model.lora import add_lora
from minimind.model.transformer import FeedForward, MiniMind
from tests.minimind.reference import frequency
from tests.minimind.tiny import save_tiny, tiny_model, tiny_tokenizer

GREEDY = SampleConfig(temperature=0, max_new_tokens=20)
MOE = {"use_moe": True, "num_experts": 5, "moe_intermediate_size": 50}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "odd widths": {
        "hidden_size": 30,
        "num_attention_heads": 5,
        "num_key_value_heads": 1,
        "head_dim": 14,
        "intermediate_size": 77,
        "vocab_size": 323,
    },
    "untied, no qk norm": {"qk_norm": False, "tie_word_embeddings": False, "rope_theta": 1e4, "rms_norm_eps": 1e-5},
    "gelu": {"hidden_act": "gelu", "num_key_value_heads": 4},
    "relu, more than a block wide": {"hidden_act": "relu", "hidden_size": 136, "intermediate_size": 260},
    "yarn": {"inference_rope_scaling": True, "max_position_embeddings": 4096, "attention_factor": 1.2},
    "yarn of minimind2": {
        "inference_rope_scaling": True,
        "rope_scaling_type": "minimind2",
        "max_position_embeddings": 4096,
    },
    "one expert": MOE,
    "two experts and a shared one": MOE | {"num_experts_per_tok": 2, "n_shared_experts": 1},
    "experts' scores as they are": MOE | {"num_experts_per_tok": 3, "norm_topk_prob": False},
}
TOKENS = [5, 60, 70, 80, 5, 5, 7, 300, 12, 60, 70, 44, 45, 46, 47, 2, 3]


def read_all(decoder: NativeDecoder, tokens: list[int], piece: int, dtype: torch.dtype = torch.float32) -> Tensor:
    cache = Cache(decoder.config, 1, 40, dtype=dtype)
    pieces = [tokens[start : start + piece] for start in range(0, len(tokens), piece)]
    return torch.cat([decoder.read(cache, part) for part in pieces])


@torch.inference_mode()
def expected(model: MiniMind, tokens: list[int]) -> Tensor:
    return model(torch.tensor([tokens]))[0].float()


@pytest.mark.parametrize("shape", list(SHAPES))
def test_logits_are_the_models_own_however_tokens_are_grouped(shape: str) -> None:
    model = tiny_model(**SHAPES[shape])
    assert uncovered(model) is None
    wanted = expected(model, TOKENS)
    one = read_all(NativeDecoder(model, "float32", threads=1), TOKENS, 1)
    torch.testing.assert_close(one, wanted, rtol=1e-5, atol=1e-4)
    assert torch.equal(one.argmax(1), wanted.argmax(1))
    for threads, piece in ((1, 5), (2, 1), (2, 8), (3, 17)):
        assert torch.equal(read_all(NativeDecoder(model, "float32", threads=threads), TOKENS, piece), one)


@pytest.mark.parametrize(
    "shape", ["plain", "odd widths", "relu, more than a block wide", "two experts and a shared one"]
)
@pytest.mark.parametrize("format", WEIGHT_FORMATS[1:])
def test_formats_compute_with_the_weights_they_hold(shape: str, format: Any) -> None:
    """Against torch with the unpacked weights: what is left is the rounding of the inputs to 8 bits."""
    from minimind.inference.quantize import pack, unpack

    model = tiny_model(**SHAPES[shape])
    decoder = NativeDecoder(model, format, threads=2)
    got = read_all(decoder, TOKENS, 4)
    assert torch.equal(read_all(NativeDecoder(model, format, threads=1), TOKENS, 1), got)
    embedding = model.model.embed_tokens.weight.detach().clone()
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear) and not name.endswith("mlp.gate"):
                own = "int8" if format == "int4" and name == "lm_head" else format
                module.weight.copy_(unpack(pack(module.weight, own)))
        model.model.embed_tokens.weight.copy_(embedding)
    wanted = expected(model, TOKENS)
    scale = wanted.square().mean().sqrt()
    error = (got - wanted).square().mean().sqrt() / scale
    assert error < (1e-5 if format == "bfloat16" else 0.03)


def test_weights_of_released_files_take_half_the_bytes_and_lose_nothing() -> None:
    model = tiny_model(**SHAPES["odd widths"])
    whole = NativeDecoder(model, "float32").layout.bytes
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())
        model.lm_head.weight[0, :3] = torch.tensor([6e-8, -65504.0, 1e-5]).half()  # the smallest, the largest
    decoder = NativeDecoder(model, "float32", threads=2)
    assert decoder.layout.bytes == whole / 2
    wanted = expected(model, TOKENS)
    got = read_all(decoder, TOKENS, 4)
    torch.testing.assert_close(got[:, 1:], wanted[:, 1:], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(got[:, 0], wanted[:, 0], rtol=1e-4, atol=1e-2)


def test_a_bfloat16_model_keeps_its_cache_in_bfloat16() -> None:
    model = tiny_model()
    exact = expected(model, TOKENS)
    rounded = model.bfloat16()
    assert uncovered(rounded) is None
    got = read_all(NativeDecoder(rounded, "bfloat16", threads=2), TOKENS, 3, torch.bfloat16)
    assert (got - exact).abs().mean() < 0.02 * exact.abs().mean()
    by_torch = expected(rounded, TOKENS)
    assert (got - exact).abs().mean() < (by_torch - exact).abs().mean()


def test_not_a_number_is_not_hidden() -> None:
    for format in WEIGHT_FORMATS:
        model = tiny_model()
        with torch.no_grad():
            model.model.layers[0].mlp.down_proj.weight[3, 4] = torch.nan  # type: ignore[union-attr,operator,index]
        assert read_all(NativeDecoder(model, format, threads=2), TOKENS[:3], 1).isnan().any(), format
    model = tiny_model()
    with torch.no_grad():
        model.model.embed_tokens.weight[5] = torch.inf
    engine = Engine(model, tiny_tokenizer())
    assert engine.use_native("int8") is None
    with pytest.raises(UserError, match="not numbers"):
        list(engine.generate([1, 60, 5], GREEDY))


def test_texts_of_different_lengths_in_one_step_do_not_touch() -> None:
    model = tiny_model()
    decoder = NativeDecoder(model, "float32", threads=2)
    texts = [TOKENS[:3], TOKENS[2:9], TOKENS[4:5]]
    caches = [Cache(model.config, 1, capacity) for capacity in (12, 40, 8)]
    for text, cache in zip(texts, caches, strict=True):
        decoder.read(cache, text)
    logits = decoder.read_each(caches, [9, 10, 11])
    assert [cache.length for cache in caches] == [4, 8, 2]
    for text, token, row in zip(texts, (9, 10, 11), logits, strict=True):
        assert torch.equal(row, read_all(decoder, [*text, token], 1)[-1])
    with pytest.raises(ValueError, match="the cache holds 8"):
        decoder.read(caches[2], [1] * 7)
    with pytest.raises(ValueError, match="from 0 to 319"):
        decoder.read(caches[2], [320])
    with pytest.raises(ValueError, match="cache of its own"):
        decoder.read(Cache(model.config, 2, 8), [1])


def test_angles_are_those_of_the_papers_at_any_position() -> None:
    for name in ("minimind3", "minimind2"):
        config = MODEL_PRESETS[name].replace(inference_rope_scaling=True, num_hidden_layers=1, vocab_size=16)
        cosine, sine = rotary_angles(config, 3000)
        for position in (0, 1, 2999):
            for pair in (0, 1, 20, config.head_size // 2 - 1):
                angle = position * frequency(pair, config)
                found = float(cosine[position, pair]), float(sine[position, pair])
                assert found == pytest.approx((math.cos(angle), math.sin(angle)), abs=1e-3)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_engine_writes_the_same_by_either_way(threads: int) -> None:
    by_torch = Engine(tiny_model(), tiny_tokenizer())
    by_step = Engine(tiny_model(), tiny_tokenizer())
    assert by_step.use_native("float32", threads) is None
    assert (by_torch.format, by_step.format, by_step.native is not None) == ("float32", "float32", True)
    for prompt in ([1, 60, 70, 80], [1, 60, 70, 80, 90, 91], [1, 60, *range(40, 60)], [1, 60]):
        one, other = (list(engine.generate(prompt, GREEDY, top=3)) for engine in (by_torch, by_step))
        assert [token.id for token in one] == [token.id for token in other]
        assert [token.finish for token in one] == [token.finish for token in other]
        for wanted, token in zip(one, other, strict=True):
            assert token.probability == pytest.approx(wanted.probability, rel=1e-3)
            assert [label for label, _ in token.alternatives] == [label for label, _ in wanted.alternatives]
    drawn = [list(by_step.generate([1, 60], SampleConfig(seed=3, max_new_tokens=9))) for _ in range(2)]
    assert [token.id for token in drawn[0]] == [token.id for token in drawn[1]]


def test_what_the_step_does_not_cover_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    hooked = tiny_model()
    hooked.lm_head.register_forward_hook(lambda module, inputs, logits: logits)
    adapted = tiny_model()
    add_lora(adapted, 2)
    swapped = tiny_model()
    swapped.model.layers[0].mlp = type("Mine", (FeedForward,), {})(swapped.config)
    training = tiny_model(dropout=0.1).train()
    for model in (hooked, adapted, swapped, training):
        reason = uncovered(model)
        assert reason is not None
        assert "changed or is being watched" in reason.en
    half = uncovered(tiny_model().half())
    assert half is not None
    assert "precision" in half.en

    engine = Engine(tiny_model(), tiny_tokenizer())
    assert engine.use_native() is None
    plain = [token.id for token in engine.generate([1, 60], GREEDY)]
    monkeypatch.setattr(NativeDecoder, "read", lambda *_: pytest.fail("watched: torch should have written"))
    watched = list(engine.generate([1, 60], GREEDY, attention=True))
    assert [token.id for token in watched] == plain
    assert len(watched[1].attention) == 2


def test_opening_says_why_torch_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_tiny(tmp_path)
    exact = Engine.open(path, device="cpu")
    assert (exact.format, exact.native is not None, "notes" in exact.metadata) == ("float32", True, False)
    rounded = Engine.open(path, device="cpu", dtype="int8")
    assert (rounded.format, rounded.model.lm_head.weight.dtype) == ("int8", torch.float32)
    assert len(list(rounded.generate([1, 60], GREEDY))) > 0

    build.load.cache_clear()
    monkeypatch.setenv("MINIMIND_NATIVE", "0")
    without = Engine.open(path, device="cpu", dtype="int8")
    build.load.cache_clear()
    assert (without.format, without.native) == ("float32", None)
    (note,) = without.metadata["notes"]
    assert note["en"].startswith("tokens are written by torch")
    assert "MINIMIND_NATIVE=0" in note["zh"]
    ids = [[token.id for token in engine.generate([1, 60], GREEDY)] for engine in (exact, without)]
    assert ids[0] == ids[1]


def test_no_compiler_and_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build.load.cache_clear()
    monkeypatch.setenv("MINIMIND_KERNELS", str(tmp_path / "kernels"))
    monkeypatch.setattr(native, "COMPILERS", ())
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(native.NativeUnavailable, match="no C compiler"):
        build.load()
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'step.c: error: no [/] such thing' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(native.NativeUnavailable, match=r"the C compiler failed: step\.c: error: no"):
        build.load()
    assert list((tmp_path / "kernels").iterdir()) == []


def test_a_damaged_library_is_built_anew_and_two_processes_may_build_at_once(tmp_path: Path) -> None:
    place = tmp_path / "kernels"
    code = "from minimind.inference.native.build import load; load(); print('built')"
    environment = os.environ | {"MINIMIND_KERNELS": str(place)}
    children = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) for _ in range(2)
    ]
    assert [child.communicate()[0] for child in children] == [b"built\n"] * 2
    (folder,) = place.iterdir()
    library = next(folder.glob("*.so"))
    good = library.read_bytes()
    library.write_bytes(good[: len(good) // 2])
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout == b"built\n"
    assert len(next(place.iterdir()).joinpath(library.name).read_bytes()) == len(good)
    assert {file.suffix for file in paths.kernel_sources().iterdir()} >= {".c", ".h"}


def test_threads_sleep_between_tokens() -> None:
    model = tiny_model()
    decoder = NativeDecoder(model, "float32", threads=4)
    cache = Cache(model.config, 1, 40)
    decoder.read(cache, [1])
    time.sleep(0.01)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1
