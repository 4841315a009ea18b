"""What is particular to the masked network."""

import itertools
import math
import pickle

import pytest
import torch

from ar_models.families.made import MADE
from ar_models.variables import Variable, binary_variables
from tests.support.models import random_made


def test_each_mask_is_a_density_that_sees_no_future() -> None:
    model = random_made(binary_variables(6), hidden=40, masks=3, direct=True)
    events = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)))

    with torch.no_grad():
        each = [model.conditionals(events, k).log_prob(events) for k in range(3)]
        mean = model.log_prob(events)

    assert model.orderings == 3
    for one in each:
        assert float(one.sum(-1).exp().sum()) == pytest.approx(1, abs=1e-5)
        for i in range(6):  # rows that begin alike stand together
            alike = one[:, i].reshape(2 ** (i + 1), -1)
            assert bool((alike == alike[:, :1]).all())
    assert not torch.equal(each[0], each[1])
    together = torch.stack(each).sum(-1).logsumexp(0) - math.log(3)
    torch.testing.assert_close(mean, together)
    rebuilt = MADE(binary_variables(6), MADE.Settings(**model.config()))
    rebuilt.load_state_dict(model.state_dict())
    torch.testing.assert_close(rebuilt.eval().log_prob(events), mean)


def test_a_new_model_is_near_the_marginals() -> None:
    frequencies = (0.7, 0.2, 0.1)
    variables = (
        Variable("a", "categorical", 0, size=3, frequencies=frequencies),
        Variable("b", "binary", 1, size=2, frequencies=(0.9, 0.1)),
    )
    model = MADE(variables, MADE.Settings(hidden=64))
    x = torch.tensor([[k, 1.0] for k in range(3)])

    expected = torch.tensor(frequencies).log() + math.log(0.1)

    torch.testing.assert_close(model.log_prob(x), expected, atol=0.05, rtol=0)


def test_a_pickled_model_computes_the_same() -> None:
    model = random_made(hidden=50)
    x = model.sample(20)
    with torch.inference_mode():
        expected = model.log_prob(x)

        again = pickle.loads(pickle.dumps(model))

        assert torch.equal(again.log_prob(x), expected)


def test_gradients_flow_after_inference() -> None:
    model = random_made(binary_variables(5), hidden=30)
    with torch.inference_mode():
        x = model.sample(20)
        model.log_prob(x)
    model.requires_grad_(False)
    model.last.bias.requires_grad_()

    model.log_prob(x.clone()).sum().backward()

    assert model.last.bias.grad is not None
    assert bool(model.last.bias.grad.any())
