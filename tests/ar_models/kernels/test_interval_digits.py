import pytest
import torch

from tests.support.kernels import TREES, conditionals


@pytest.mark.parametrize("size", [0.3, 3.0])
def test_the_probabilities_of_all_integers_add_up_to_one(size: float) -> None:
    given, _ = conditionals(size, TREES)
    x = torch.arange(-7.0, 693.0)

    log_prob, tails = (
        compute(x[:, None].expand(-1, len(TREES)))
        for compute in (given.log_prob, given.log_tail_probs)
    )

    torch.testing.assert_close(tails.exp().sum(-1), torch.ones_like(log_prob))
    torch.testing.assert_close(tails[..., 1], log_prob)
    # Rows differ in their parameters, so only those of one row are consecutive.
    one = type(given)(given.layout, given.parameters[:1].expand(700, -1))
    below = one.log_tail_probs(x[:, None].expand(-1, len(TREES)))[..., 0].exp()
    mass = one.log_prob(x[:, None].expand(-1, len(TREES))).exp()
    torch.testing.assert_close(below.diff(dim=0), mass[:-1], atol=2e-6, rtol=1e-3)
