"""The switches of the block diagram: each does what it says, they combine, and nonsense is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from minimind.errors import UserError
from minimind.lab.switches import SWITCHES, Switches, Value, choices_of, difference, names

TOKENS = torch.randint(0, 256, (2, 7), generator=torch.Generator().manual_seed(3))


def test_every_switch_has_a_name_in_both_languages_for_each_of_its_values() -> None:
    assert tuple(SWITCHES) == names()
    for name, switch in SWITCHES.items():
        assert tuple(switch.choices) == choices_of(name)
        assert getattr(Switches(), name) in switch.choices
        assert all([switch.label.zh, switch.help.zh, *(choice.zh for choice in switch.choices.values())])


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in names() for value in choices_of(name) if value != 8]
)
def test_each_switch_changes_what_the_network_computes(name: str, value: Value) -> None:
    changes: dict[str, Any] = {name: value}
    if name == "heads":
        changes["kv_heads"] = value
    switched, baseline = Switches(**changes), Switches()
    model, reference = switched.build("T0"), baseline.build("T0")
    with torch.no_grad():
        for parameters in (model.parameters(), reference.parameters()):
            torch.manual_seed(5)
            for parameter in parameters:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    same = model.parameter_count() == reference.parameter_count() and torch.allclose(model(TOKENS), reference(TOKENS))
    assert same is (switched == baseline)
    assert model(TOKENS).isfinite().all()
    expected = {key: (getattr(baseline, key), new) for key, new in changes.items() if new != getattr(baseline, key)}
    assert difference(baseline, switched) == expected


def test_switches_combine() -> None:
    switches = Switches(
        positions="alibi", norm="layer", norm_place="sandwich", order="parallel", heads=2, kv_heads=1, mask="none",
        scale="no", projections="key_value", qk_norm="yes", feed_forward="relu2", ratio=2, output_scale="yes", tied="no",
    )  # fmt: skip
    model = switches.build("T0", layers=3)
    assert model(TOKENS).isfinite().all()
    assert model.config.num_hidden_layers == 3
    assert replace(switches, tied="yes").build("T0", layers=3).parameter_count() == model.parameter_count() - 256 * 32


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "batch"},
        {"heads": 4, "kv_heads": 8},
        {"heads": 4, "kv_heads": 2, "projections": "all"},
        {"norm_place": "post", "residual": "one"},
        {"order": "parallel", "norm_place": "post"},
    ],
)
def test_nonsense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        Switches(**changes)


def test_switches_are_known_without_torch() -> None:
    code = "import sys, minimind.lab.switches; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
