"""PPO's parts against plain loops and examples worked by hand."""

from __future__ import annotations

import pytest
import torch

from minimind.training.critic import (
    Critic,
    clipped_value_loss,
    explained_variance,
    generalized_advantages,
)


def test_advantages_of_an_example_worked_by_hand() -> None:
    """Two actions, reward 1 at the end, values 0.5 and 0.6, gamma 1, lambda 0.5: deltas 0.1 and 0.4."""
    advantages, returns = generalized_advantages([0.0, 1.0], [0.5, 0.6], 1.0, 0.5)
    assert advantages == pytest.approx([0.1 + 0.5 * 0.4, 0.4])
    assert returns == pytest.approx([0.8, 1.0])


@pytest.mark.parametrize(("gamma", "lambda_"), [(1.0, 0.95), (0.9, 0.8), (1.0, 1.0), (0.97, 0.0)])
def test_advantages_are_the_weighted_sum_of_all_later_surprises(gamma: float, lambda_: float) -> None:
    """Equation 16 of the paper as it stands there: A_t = sum over l of (gamma lambda)^l delta_{t+l}."""
    generator = torch.Generator().manual_seed(1)
    rewards, values = torch.randn(2, 9, generator=generator, dtype=torch.float64).tolist()
    after = [*values[1:], 0.0]
    deltas = [r + gamma * later - v for r, v, later in zip(rewards, values, after, strict=True)]
    expected = [
        sum((gamma * lambda_) ** (later - time) * deltas[later] for later in range(time, 9)) for time in range(9)
    ]
    advantages, returns = generalized_advantages(rewards, values, gamma, lambda_)
    assert advantages == pytest.approx(expected)
    assert returns == pytest.approx([a + v for a, v in zip(expected, values, strict=True)])
    if (gamma, lambda_) == (1.0, 1.0):
        assert returns == pytest.approx([sum(rewards[time:]) for time in range(9)])


def test_the_value_loss_takes_the_worse_of_both() -> None:
    values, old, returns = torch.tensor([1.0, 0.3, 0.1]), torch.zeros(3), torch.tensor([2.0, 0.5, -1.0])
    loss = clipped_value_loss(values, old, returns, torch.full((3,), 1 / 3), 0.2)
    by_hand = [max((1 - 2) ** 2, (0.2 - 2) ** 2), max((0.3 - 0.5) ** 2, (0.2 - 0.5) ** 2), (0.1 + 1) ** 2]
    assert float(loss) == pytest.approx(0.5 * sum(by_hand) / 3)


def test_explained_variance_is_one_for_a_seer_and_zero_for_a_constant() -> None:
    returns = [0.0, 1.0, 3.0]
    assert explained_variance(returns, returns) == pytest.approx(1.0)
    assert explained_variance([7.0] * 3, returns) == pytest.approx(0.0, abs=1e-6)
    assert explained_variance([0.0, -1.0, -3.0], returns) < 0
    assert explained_variance([0.0, 1.0], [2.0, 2.0]) == 0.0


def test_a_critic_begins_at_nothing_and_learns_a_value() -> None:
    torch.manual_seed(0)
    critic = Critic(8, 16)
    hidden = torch.randn(64, 8)
    wanted = hidden[:, 0].sign()
    assert critic(hidden).abs().max() == 0
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss = ((critic(hidden) - wanted) ** 2).mean()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1
