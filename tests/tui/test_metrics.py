"""Which chart a figure of a run stands in, and what it is called."""

from __future__ import annotations

import pytest

from minimind.events import Text
from minimind_tui.metrics import GROUPS, group_of, main_group, name_of


@pytest.mark.parametrize(
    ("series", "group"),
    [
        ("loss", "loss"),
        ("validation_loss", "loss"),
        ("validation_bits_per_byte", "bits"),
        ("aux_loss", "load"),
        ("policy_loss", "losses"),
        ("cross_entropy", "losses"),
        ("entropy", "entropy"),
        ("reward", "rewards"),
        ("reward_format", "rewards"),
        ("value", "rewards"),
        ("value_loss", "losses"),
        ("chosen_reward", "margins"),
        ("margin", "margins"),
        ("kl_ref", "kl"),
        ("clip_fraction", "shares"),
        ("validation_accuracy", "accuracy"),
        ("data_wait", "shares"),
        ("gradient_norm", "gradient"),
        ("critic_learning_rate", "rate"),
        ("tokens_per_second", "speed"),
        ("memory_bytes", "memory"),
        ("response_length", "length"),
        ("nobody_knows_me", "other"),
    ],
)
def test_every_figure_has_its_chart(series: str, group: str) -> None:
    assert group_of(series) == group
    assert group in GROUPS


def test_names_are_spoken_in_both_languages_and_harmless() -> None:
    assert name_of("validation_loss") == Text("held-out", "留出集")
    assert name_of("validation_reward") == Text("mean reward, held-out", "平均奖励（留出集）")
    assert name_of("reward_\x1b[2J").en == "reward ␛[2J"


def test_the_reward_is_what_counts_where_there_is_one() -> None:
    assert main_group(["loss", "gradient_norm"]) == "loss"
    assert main_group(["loss", "chosen_reward", "margin"]) == "loss"
    assert main_group(["loss", "reward"]) == "rewards"
