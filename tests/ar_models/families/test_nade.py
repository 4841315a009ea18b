"""What is particular to NADE: tied weights, its gradients and its sampler."""

import math

import pytest
import torch

from ar_models.families.base import ancestral_sample
from ar_models.families.nade import NADE
from ar_models.variables import binary_variables


def test_three_binary_variables_by_hand() -> None:
    model = NADE(binary_variables(3), NADE.Settings(hidden=2, activation="sigmoid"))
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0], [0.5, 3.0], [7.0, 7.0]]))
        model.bias.copy_(torch.tensor([0.1, -0.1]))
        model.head_weight.copy_(torch.tensor([[1.0, 1.0], [2.0, -1.0], [0.3, 0.7]]))
        model.head_bias.copy_(torch.tensor([0.0, 0.2, -0.4]))

    def sigmoid(a: float) -> float:
        return 1 / (1 + math.exp(-a))

    h = [
        (sigmoid(0.1), sigmoid(-0.1)),
        (sigmoid(0.1 + 1), sigmoid(-0.1 - 2)),
        (sigmoid(0.1 + 1 + 0.5), sigmoid(-0.1 - 2 + 3)),
    ]
    logits = (
        h[0][0] + h[0][1],
        2 * h[1][0] - h[1][1] + 0.2,
        0.3 * h[2][0] + 0.7 * h[2][1] - 0.4,
    )
    by_hand = sum(
        math.log(sigmoid(s * z)) for s, z in zip((1, 1, -1), logits, strict=True)
    )

    log_prob = model.log_prob(torch.tensor([[1.0, 1.0, 0.0]]))

    assert log_prob.item() == pytest.approx(by_hand, abs=1e-6)


def test_drawing_with_the_running_sum_is_drawing_plainly() -> None:
    torch.manual_seed(0)
    model = NADE(
        binary_variables(50),
        NADE.Settings(hidden=30, activation="sigmoid"),
    ).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    noise = torch.rand(200, 50, 2, dtype=torch.float64)
    given = torch.full((200, 50), math.nan, dtype=torch.float64)
    given[100:, :3] = 1.0

    drawn = model.draw(noise, given)

    assert drawn.equal(ancestral_sample(model, noise, given))
