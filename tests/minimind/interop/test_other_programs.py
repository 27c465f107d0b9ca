"""transformers, PEFT and llama.cpp read what is written as the same model; each test needs its program installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from minimind.errors import UserError
from minimind.interop import export
from minimind.interop.adapters import adapter_of, write_peft
from minimind.interop.opening import open_any
from minimind.interop.parity import TEXTS, compare_with_transformers
from tests.minimind.interop.small import IN_TRANSFORMERS, small_config, small_model, tokens, write
from tests.minimind.interop.test_adapters import trained
from tests.minimind.tiny import tiny_tokenizer

# Other people's packages warn about themselves.
pytestmark = pytest.mark.filterwarnings("ignore")
MESSAGES = [
    {"role": "user", "content": "1+1?"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "你好"},
]


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("transformers")


@pytest.mark.parametrize("layout", IN_TRANSFORMERS)
def test_transformers_reads_an_exported_folder_as_the_same_model(
    layout: str, transformers: Any, tmp_path: Path
) -> None:
    model = small_model(layout)
    parity = compare_with_transformers(write(model, "hf", tmp_path / "hf"), model, tiny_tokenizer())
    assert parity is not None
    assert parity.holds
    assert parity.largest_difference < 1e-4
    assert parity.largest_logit > 1
    assert parity.tokenisation == dict.fromkeys(TEXTS, True)


def test_a_report_of_another_model_does_not_hold(transformers: Any, tmp_path: Path) -> None:
    folder = write(small_model("minimind3"), "hf", tmp_path / "hf")
    parity = compare_with_transformers(folder, small_model("minimind3", seed=1), tiny_tokenizer())
    assert parity is not None
    assert not parity.holds


@pytest.mark.parametrize("layout", IN_TRANSFORMERS)
def test_what_transformers_saves_opens_here(layout: str, transformers: Any, tmp_path: Path) -> None:
    """Its own way of writing both, fused experts and ``rope_parameters`` included."""
    model = small_model(layout)
    write(model, "hf", tmp_path / "hf")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    loaded.save_pretrained(tmp_path / "saved")
    tiny_tokenizer().save(tmp_path / "saved")
    opened, _, _ = open_any(tmp_path / "saved")
    torch.testing.assert_close(opened(tokens()), model(tokens()), rtol=1e-4, atol=1e-4)


def test_yarn_is_the_same_in_transformers(transformers: Any, tmp_path: Path) -> None:
    model = small_model("minimind3", inference_rope_scaling=True, max_position_embeddings=4096, attention_factor=1.1)
    folder = write(model, "hf", tmp_path / "hf", "float32")
    other = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        torch.testing.assert_close(other(tokens(40)).logits, model(tokens(40)), rtol=1e-4, atol=1e-4)


def test_generation_stops_and_chat_renders(transformers: Any, tmp_path: Path) -> None:
    from minimind.data.chat import render

    folder = write(small_model("minimind3"), "hf", tmp_path / "hf")
    generation = transformers.GenerationConfig.from_pretrained(folder)
    assert (generation.bos_token_id, generation.eos_token_id, generation.pad_token_id) == (1, 2, 0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for open_thinking in (False, True):
        made = tokenizer.apply_chat_template(
            MESSAGES, tokenize=False, add_generation_prompt=True, open_thinking=open_thinking
        )
        assert made == render(MESSAGES, add_generation_prompt=True, open_thinking=open_thinking)


def test_the_second_generation_keeps_its_chat_format() -> None:
    jinja2 = pytest.importorskip("jinja2")
    from minimind.data.chat import render

    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(export.MINIMIND2_TEMPLATE)
    for messages in (MESSAGES, [{"role": "system", "content": "Be brief"}, *MESSAGES]):
        made = template.render(messages=messages, add_generation_prompt=True)
        assert made == render(messages, add_generation_prompt=True, style="minimind-2")


def test_peft_loads_an_exported_adapter(transformers: Any, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    folder = write(small_model("minimind3"), "hf", tmp_path / "hf", "float32")
    model = trained(scale=0.5)
    write_peft(adapter_of(model), tmp_path / "adapter", base=str(folder))
    base = transformers.AutoModelForCausalLM.from_pretrained(folder)
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    with torch.inference_mode():
        torch.testing.assert_close(theirs(tokens()).logits, model(tokens()), rtol=1e-4, atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    opened, _, _ = open_any(folder, adapter=tmp_path / "theirs")
    torch.testing.assert_close(opened(tokens()), model(tokens()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", IN_TRANSFORMERS)
def test_llama_cpp_tokenises_and_writes_the_same(layout: str, tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    pytest.importorskip("gguf")
    model, tokenizer = small_model(layout), tiny_tokenizer()
    folder = write(model, "gguf", tmp_path / "gguf", "float32")
    other = llama_cpp.Llama(
        str(folder / "full_sft.gguf"), n_ctx=128, n_threads=1, logits_all=True, verbose=False, type_k=0, type_v=0
    )
    for name, text in TEXTS.items():
        assert other.tokenize(text.encode(), add_bos=False, special=False) == tokenizer.encode(text), name
    ids = tokens()[0].tolist()
    with torch.inference_mode():
        other.eval(ids)
        theirs = torch.tensor(other.scores[: len(ids)])
        torch.testing.assert_close(theirs, model(tokens())[0], rtol=1e-3, atol=2e-3)
        ours, written = list(ids), []
        for _ in range(16):
            ours.append(int(model(torch.tensor([ours]))[0, -1].argmax()))
        for token in other.generate(ids, temp=0.0, repeat_penalty=1.0):
            written.append(token)
            if len(written) == 16:
                break
    assert written == ours[len(ids) :]
    other.close()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gguf_is_read_back_by_its_own_package(dtype: str, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    model = small_model("minimind3-moe")
    reader = gguf.GGUFReader(write(model, "gguf", tmp_path / "gguf", dtype) / "full_sft.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "qwen3moe"
    assert fields["qwen3moe.expert_used_count"] == 1
    assert fields["tokenizer.ggml.pre"] == "gpt-2"
    assert len(fields["tokenizer.ggml.tokens"]) == 320
    kinds = fields["tokenizer.ggml.token_type"]
    assert (kinds[2], kinds[25], kinds[100]) == (3, 4, 1)
    stored = {tensor.name: tensor for tensor in reader.tensors}
    assert tuple(stored["blk.1.ffn_down_exps.weight"].shape) == (96, 64, 4)
    values = gguf.quants.dequantize(stored["blk.0.attn_q.weight"].data, stored["blk.0.attn_q.weight"].tensor_type)
    expected = model.get_parameter("model.layers.0.self_attn.q_proj.weight")
    torch.testing.assert_close(torch.tensor(values), expected.detach(), rtol=1e-2, atol=0)


def test_networks_llama_cpp_lacks_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    for layout, changes, expected in (
        ("minimind2-moe", {}, "shared experts"),
        ("minimind3", {"inference_rope_scaling": True}, "YaRN"),
        ("minimind3", {"hidden_act": "relu"}, "hidden_act relu"),
    ):
        folder = tmp_path / expected.replace(" ", "")
        with pytest.raises(UserError, match=f"llama.cpp has no network like this one .{expected}"):
            write(small_model(layout, **changes), "gguf", folder)
        assert list(folder.iterdir()) == []


def test_without_gguf_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UserError, match="pip install gguf"):
        write(small_model("minimind3"), "gguf", tmp_path / "gguf")


def test_the_modelfile_has_the_chat_format_and_where_to_stop() -> None:
    text = export.modelfile_text("m.gguf", small_config("minimind3"), tiny_tokenizer())
    assert text.startswith("FROM ./m.gguf\n")
    assert '<|im_start|>assistant\n<think>\n\n</think>\n\n"""' in text
    for parameter in ('stop "<|im_start|>"', 'stop "<|im_end|>"', "num_ctx 512", "repeat_penalty 1", "temperature 0.9"):
        assert f"PARAMETER {parameter}\n" in text
    assert text.count("{{") == text.count("}}") == 6
