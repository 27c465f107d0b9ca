"""config.json of the released models, as their makers wrote them, and of what MiniMind's network is not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from minimind.config import MODEL_PRESETS
from minimind.errors import UserError
from minimind.interop.configs import model_config, released_config, transformers_config

SECOND: dict[str, Any] = {
    "model_type": "minimind",
    "architectures": ["MiniMindForCausalLM"],
    "auto_map": {"AutoConfig": "model_minimind.MiniMindConfig"},
    "dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 32768,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 6400,
    "rms_norm_eps": 1e-05,
    "rope_theta": 1000000.0,
    "inference_rope_scaling": False,
    "rope_scaling": None,
    "flash_attn": True,
    "use_moe": False,
    "num_experts_per_tok": 2,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "scoring_func": "softmax",
    "aux_loss_alpha": 0.01,
    "seq_aux": True,
    "norm_topk_prob": True,
    "torch_dtype": "float16",
    "transformers_version": "4.57.1",
}
THIRD: dict[str, Any] = {
    "model_type": "minimind",
    "hidden_size": 768,
    "num_hidden_layers": 8,
    "use_moe": False,
    "dropout": 0.0,
    "vocab_size": 6400,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "flash_attn": True,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 96,
    "hidden_act": "silu",
    "intermediate_size": 2432,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": True,
    "inference_rope_scaling": False,
    "rope_scaling": None,
    "num_experts": 4,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 2432,
    "norm_topk_prob": True,
    "router_aux_loss_coef": 0.0005,
}
QWEN3: dict[str, Any] = {
    "model_type": "qwen3",
    "attention_bias": False,
    "use_sliding_window": False,
    "hidden_size": 768,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 96,
    "intermediate_size": 2432,
    "vocab_size": 6400,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "rope_scaling": None,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": [2, 0],
    "pad_token_id": None,
}
LLAMA = QWEN3 | {"model_type": "llama", "rms_norm_eps": 1e-5, "num_key_value_heads": 2, "mlp_bias": False}
FIVE = {"rope_theta": None, "rope_scaling": None, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}
RELEASED: dict[str, tuple[str, dict[str, Any]]] = {
    "MiniMind2-Small": ("small", SECOND | {"hidden_size": 512, "num_hidden_layers": 8, "intermediate_size": None}),
    "MiniMind2": ("minimind2", SECOND | {"hidden_size": 768, "num_hidden_layers": 16, "intermediate_size": 2048}),
    "MiniMind2-MoE": ("minimind2-moe", SECOND | {"hidden_size": 640, "num_hidden_layers": 8, "use_moe": True}),
    "minimind-3": ("minimind3", THIRD),
    "minimind-3-MoE": ("minimind3-moe", THIRD | {"use_moe": True}),
    "minimind-3 as Qwen3": ("minimind3", QWEN3),
    "minimind-3 as Qwen3, transformers 5": ("minimind3", QWEN3 | FIVE),
    "minimind-3-MoE as Qwen3-MoE, transformers 5": (
        "minimind3-moe",
        QWEN3
        | FIVE
        | {
            "model_type": "qwen3_moe",
            "num_local_experts": 4,
            "num_experts_per_tok": 1,
            "moe_intermediate_size": 2432,
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "router_aux_loss_coef": 0.0005,
        },
    ),
    "MiniMind2 as Llama": ("minimind2", LLAMA | {"head_dim": 96, "num_hidden_layers": 16, "intermediate_size": 2048}),
}


@pytest.mark.parametrize("name", RELEASED)
def test_released_configurations_are_the_presets(name: str) -> None:
    preset, values = RELEASED[name]
    assert model_config(values, "config.json") == MODEL_PRESETS[preset]


@pytest.mark.parametrize("preset", ["small", "minimind2", "minimind2-moe", "minimind3", "minimind3-moe", "mini"])
def test_released_configurations_come_back(preset: str) -> None:
    for scaling in (False, True):
        config = MODEL_PRESETS[preset].replace(inference_rope_scaling=scaling)
        written = json.loads(json.dumps(released_config(config)))
        assert model_config(written, "config.json") == config


@pytest.mark.parametrize("preset", ["small", "minimind2", "minimind3", "minimind3-moe"])
def test_transformers_configurations_come_back(preset: str) -> None:
    written = json.loads(json.dumps(transformers_config(MODEL_PRESETS[preset])))
    assert model_config(written, "config.json") == MODEL_PRESETS[preset]
    assert (written["bos_token_id"], written["eos_token_id"], written["pad_token_id"]) == (1, 2, 0)
    assert written["rope_theta"] == 1e6
    assert "rope_parameters" not in written


def test_yarn_of_each_layout() -> None:
    table = {"type": "yarn", "factor": 4, "beta_fast": 4, "beta_slow": 1, "original_max_position_embeddings": 2048}
    base = SECOND | {"hidden_size": 512, "num_hidden_layers": 8, "inference_rope_scaling": True}
    first = model_config(base | {"rope_scaling": table}, "")
    assert (first.rope_scaling_type, first.rope_scaling_factor, first.beta_fast) == ("minimind2", 4, 4)
    later = table | {"factor": 16, "beta_fast": 32, "attention_factor": 1.0}
    second = model_config(base | {"rope_scaling": later}, "")
    third = model_config(THIRD | {"inference_rope_scaling": True, "rope_scaling": later}, "")
    for config in (second, third):
        assert (config.rope_scaling_type, config.rope_scaling_factor, config.beta_fast) == ("yarn", 16, 32)
        assert config.attention_factor == 1.0
    qwen = model_config(QWEN3 | {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "")
    assert qwen.inference_rope_scaling
    assert qwen.original_max_position_embeddings == 32768
    assert qwen.attention_factor == pytest.approx(0.1 * math.log(4) + 1)


def test_one_expert_a_token_is_not_normalised_in_the_second_generation() -> None:
    values = RELEASED["MiniMind2-MoE"][1] | {"num_experts_per_tok": 1}
    assert model_config(values, "").norm_topk_prob is True  # the file says so
    del values["norm_topk_prob"]
    assert model_config(values, "").norm_topk_prob is False


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another network": (QWEN3 | {"model_type": "gpt2"}, "model_type gpt2 is another network"),
    "escape sequences": (QWEN3 | {"model_type": "\x1b[2J"}, "is another network"),
    "the first MiniMind": ({"model_type": "minimind", "dim": 512, "n_layers": 8}, "first MiniMind"),
    "nothing said": ({"model_type": "llama", "hidden_size": 8}, "says nothing about num_hidden_layers"),
    "biases": (QWEN3 | {"attention_bias": True}, "attention_bias = True"),
    "window": (QWEN3 | {"use_sliding_window": True}, "use_sliding_window = True"),
    "some dense layers": (QWEN3 | {"mlp_only_layers": [0]}, r"mlp_only_layers = \[0\]"),
    "quantised": (LLAMA | {"quantization_config": {"bits": 4}}, "quantization_config"),
    "other scaling": (LLAMA | {"rope_scaling": {"rope_type": "llama3", "factor": 8}}, "rope_scaling llama3"),
    "no factor": (LLAMA | {"rope_scaling": {"type": "yarn", "factor": "many"}}, "factor = 'many'"),
    "no table": (LLAMA | {"rope_scaling": [1]}, "rope_scaling is not a table"),
    "a table of text": (LLAMA | {"rope_scaling": {"type": "yarn", "factor": 2, "beta_fast": "x"}}, "beta_fast"),
    "text for a number": (QWEN3 | {"hidden_size": "wide"}, "hidden_size = 'wide'"),
    "infinite": (QWEN3 | {"hidden_size": math.inf}, "hidden_size = inf"),
    "negative": (QWEN3 | {"num_hidden_layers": -1}, "num_hidden_layers = -1"),
    "odd heads": (QWEN3 | {"num_attention_heads": 7, "head_dim": None}, "not a multiple of"),
    "unknown activation": (QWEN3 | {"hidden_act": "relu6"}, "hidden_act = 'relu6'"),
    "scoring": (SECOND | {"hidden_size": 64, "num_hidden_layers": 1, "scoring_func": "sigmoid"}, "scoring_func"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_networks_are_refused_by_name(name: str) -> None:
    values, expected = REFUSED[name]
    with pytest.raises(UserError, match=expected) as caught:
        model_config(values, "config.json")
    for text in (caught.value.text.en, caught.value.text.zh):
        assert text.startswith("config.json")
        assert "\n" not in text
        assert "\x1b" not in text


def test_a_config_of_ours_keeps_its_own_names(tmp_path: Path) -> None:
    config = MODEL_PRESETS["minimind3-moe"].replace(dropout=0.1, n_shared_experts=2)
    assert model_config(config.to_dict(), "") == config
