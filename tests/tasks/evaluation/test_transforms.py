"""Probability integral transforms."""

import numpy as np
import pytest
import torch

from ar_models.families.base import AutoregressiveModel
from ar_models.families.made import MADE
from ar_models.variables import Variable
from tasks.evaluation import distances, transforms


def mixed_model() -> AutoregressiveModel:
    """Return a model of a column of each kind, one of them of three variables."""
    torch.manual_seed(0)
    variables = (
        Variable("code", "categorical", group=0, size=3),
        Variable("state", "categorical", group=1, size=2),
        Variable("integer", "integer", 1, parent=1, scale=5, lower=0, knots=(0, 9, 20)),
        Variable("digit", "categorical", 1, size=4, parent=1),
        Variable("real", "real", group=2),
        Variable("flag", "binary", group=3, size=2),
    )
    model = MADE(variables, MADE.Settings(hidden=16, components=3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def test_transforms_of_a_models_own_samples_are_uniform() -> None:
    model = mixed_model()
    x = model.sample(4000, generator=torch.Generator().manual_seed(1))
    noise = np.random.default_rng(0).random((len(x), 4))
    with torch.inference_mode():
        u = transforms.integral_transforms(
            model.conditionals(x), x, model.variables, noise
        )
    for column in u.T:
        # Kolmogorov-Smirnov with 4000 rows: beyond 0.036 once in 10,000 seeds.
        assert distances.ks_from_uniform(column) < 0.036
        assert distances.binned_ks_from_uniform(
            transforms.count_in_bins(column, 1000)
        ) == pytest.approx(distances.ks_from_uniform(column), abs=2e-3)


def test_transforms_of_other_rows_are_not_uniform() -> None:
    model = mixed_model()
    x = model.sample(4000, generator=torch.Generator().manual_seed(1))
    x[:, 4] += 1
    noise = np.random.default_rng(0).random((len(x), 4))
    with torch.inference_mode():
        u = transforms.integral_transforms(
            model.conditionals(x), x, model.variables, noise
        )
    assert distances.ks_from_uniform(u[:, 2]) > 0.1
