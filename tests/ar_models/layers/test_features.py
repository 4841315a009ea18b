import math

import torch

from ar_models.layers.features import InputFeatures
from ar_models.variables import Variable
from tests.support.conditionals import MIXED, conditionals


def test_features_belong_to_their_variable_and_vanish_with_it() -> None:
    inputs = InputFeatures.of(MIXED, 4).double()
    whole = conditionals(MIXED, count=20)
    x = whole.sample(torch.rand(20, len(MIXED), 2, dtype=torch.float64))
    features = inputs(x)
    for i in range(len(MIXED)):
        absent = x.clone()
        absent[:, i] = math.nan
        mine = inputs.variable_index == i
        assert bool((inputs(absent)[:, mine] == 0).all())
        assert torch.equal(inputs(absent)[:, ~mine], features[:, ~mine])


def test_a_wide_integer_shows_its_last_digits() -> None:
    time = Variable("time", "integer", 0, knots=(1.0, 1200.0, 2359.0), scale=600.0)
    inputs = InputFeatures.of([time])

    features = inputs(torch.tensor([[1905.0], [-3.0], [math.nan]]))

    digits = features[:, -30:].unflatten(1, (3, 10))
    assert digits[:2].argmax(-1).tolist() == [[5, 0, 9], [7, 9, 9]]
    assert digits.sum(-1).tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0]]


def test_outliers_give_small_features() -> None:
    inputs = InputFeatures.of(MIXED)
    x = torch.zeros(1, len(MIXED))
    x[0, [1, 2, 5, 6]] = torch.tensor([1e30, -8e6, 8e6, -1e30])

    assert float(inputs(x).detach().abs().max()) < 100
