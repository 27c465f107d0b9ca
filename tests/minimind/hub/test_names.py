"""Every name a released model or data set ever had."""

from __future__ import annotations

import pytest

from minimind.errors import UserError
from minimind.hub.names import DATASETS, MODELS, find


@pytest.mark.parametrize("name", [*MODELS, *DATASETS])
def test_every_short_name_means_itself(name: str) -> None:
    assert find(name).name == find(name.upper()).name == name


@pytest.mark.parametrize(
    ("name", "huggingface", "modelscope"),
    [
        ("minimind-3", "jingyaogong/minimind-3", "gongjy/minimind-3"),
        ("minimind3", "jingyaogong/minimind-3", "gongjy/minimind-3"),
        ("gongjy/minimind-3-pytorch", "jingyaogong/minimind-3-pytorch", "gongjy/minimind-3-pytorch"),
        ("minimind2", "jingyaogong/MiniMind2", "gongjy/MiniMind2"),
        ("jingyaogong/MiniMind2-Pytorch", "jingyaogong/MiniMind2-Pytorch", "gongjy/MiniMind2-PyTorch"),
        ("minimind-v1", "jingyaogong/minimind-v1", "gongjy/MiniMind-V1"),
        ("reward", "internlm/internlm2-1_8b-reward", "Shanghai_AI_Laboratory/internlm2-1_8b-reward"),
        ("someone/else", "someone/else", "someone/else"),
    ],
)
def test_models_are_found_on_both_hubs(name: str, huggingface: str, modelscope: str) -> None:
    assert find(name).repositories == {
        "huggingface": huggingface,
        "modelscope": modelscope,
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pretrain_hq.jsonl", "pretrain_t2t_mini"),
        ("sft_mini_512", "sft_t2t_mini"),
        ("sft_512", "sft_t2t"),
        ("sft_1024.jsonl", "sft_t2t"),
        ("sft_2048", "sft_t2t"),
        ("r1_mix_1024", "sft_t2t"),
        ("rlaif-mini", "rlaif"),
        ("pretrain_data.csv", "pretrain_t2t"),
        ("pretrain_data.bin", "pretrain_t2t"),
        ("tokenizer_train.jsonl", "pretrain_t2t_mini"),
    ],
)
def test_old_data_sets_say_what_took_their_place(old: str, new: str) -> None:
    wanted = find(old)
    assert (wanted.kind, wanted.files) == ("dataset", (f"{new}.jsonl",))
    assert wanted.instead is not None
    assert new in wanted.instead.zh


def test_a_data_set_of_today_needs_no_word() -> None:
    assert find("dpo.jsonl").instead is None
    assert find("dpo").repositories["modelscope"] == "gongjy/minimind_dataset"


@pytest.mark.parametrize("name", ["minimnd-3", "a/b/c", "../etc/passwd", "a--b/c", "x/..", "", "-rf", "\x1b[2J"])
def test_other_names_are_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(UserError, match="nothing to download is called") as caught:
        find(name)
    assert "sft_t2t_mini" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_the_closest_name_is_offered() -> None:
    with pytest.raises(UserError, match="→ minimind-3"):
        find("minimnd-3")
