"""Tests of the weights of variables in the loss."""

import pytest
import torch
from torch import Tensor

from ar_models.families.vae import VAE
from tasks.training.loss_weights import LEAST_WEIGHT, LossWeights
from tasks.training.trainer import Trainer
from tests.support.training import (
    VARIABLES,
    draw_rows,
    make_batches,
    make_trainer,
    take_steps,
    train_config,
)

CPU = torch.device("cpu")


def test_weights_fall_while_the_nll_does_not_and_recover_afterwards() -> None:
    weights = LossWeights(2, CPU)

    weights.update(torch.tensor([1.0, 1.0]))
    assert weights.weights.tolist() == [1.0, 1.0]

    for _ in range(3):
        weights.update(torch.tensor([0.9, 1.0]))
    assert weights.weights[0] < 1  # 0.9 again is no progress
    lowered = weights.weights.clone()
    weights.update(torch.tensor([0.95, 0.5]))
    assert weights.weights[0] < lowered[0]
    assert weights.weights[1] > lowered[1]

    for _ in range(30):
        weights.update(torch.tensor([2.0, torch.nan]))
    assert weights.weights.tolist() == pytest.approx([LEAST_WEIGHT] * 2)


def test_weights_scale_the_gradients_of_their_variable_alone() -> None:
    plain, weighted = (make_trainer(loss_weights="adaptive") for _ in range(2))
    assert weighted.loss_weights is not None
    weighted.loss_weights.weights[3] = 0.25
    batch = make_batches()[0]

    losses = [trainer.loss(batch) for trainer in (plain, weighted)]
    for loss in losses:
        loss.backward()

    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)
    full, scaled = (output_gradients(trainer) for trainer in (plain, weighted))
    factors = torch.tensor([1, 1, 1, 0.25])[plain.model.layout.variable_index]
    torch.testing.assert_close(scaled, full * factors)


def output_gradients(trainer: Trainer) -> Tensor:
    """Return the gradients of the biases of all parameters."""
    gradient = trainer.model.get_parameter("last.bias").grad
    assert gradient is not None
    return gradient


@pytest.mark.parametrize("setting", ["adaptive", "equal"])
def test_an_epoch_without_progress_lowers_weights_only_if_adaptive(
    setting: str,
) -> None:
    learning = make_trainer(loss_weights=setting)
    for nll in ([1.0, 1.0, 1.0, 1.0], [2.0, 0.5, 2.0, 0.5]):
        take_steps(learning, make_batches()[:1])
        learning.end_epoch(torch.tensor(nll))

    if setting == "equal":
        assert learning.loss_weights is None
    else:
        assert learning.loss_weights is not None
        found = learning.loss_weights.weights
        assert found.tolist() == pytest.approx([0.7, 1.0, 0.7, 1.0])


def test_bounds_are_trained_with_equal_weights() -> None:
    model = VAE(VARIABLES, VAE.Settings(hidden=8, layers=1, latent=2, embedding=4))
    learning = Trainer(model, train_config(precision="fp32"), steps=1)
    assert learning.loss_weights is None
    assert learning.nll([draw_rows(8, seed=0)]).shape == (len(VARIABLES),)
