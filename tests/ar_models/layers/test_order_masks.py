import torch

from ar_models.layers.order_masks import group_positions, sample_known
from ar_models.variables import Variable, binary_variables

CHAINED = (
    Variable("a", "binary", 0, size=2),
    Variable("b", "binary", 1, size=2),
    Variable("b.next", "categorical", 1, size=3),
)


def test_a_split_of_single_variables_has_the_published_weights() -> None:
    torch.manual_seed(0)
    count, dim = 3000, 5
    numbers = torch.rand(count, dim), torch.rand(count), torch.rand(count)
    known, weight = sample_known(None, *numbers)

    with_chains = sample_known(group_positions(binary_variables(dim)), *numbers)
    assert known.equal(with_chains[0])
    assert weight.equal(with_chains[1])
    points = known.sum(-1, keepdim=True)
    torch.testing.assert_close(weight, ~known * dim / (dim - points))
    # Each point is as likely: a count of 600 varies by 22, and 5 x 22 = 110.
    assert (points.flatten().bincount(minlength=dim) - 600).abs().max() < 110
    # And each set of two: a count of 60 varies by 8.
    codes = (known * 2 ** torch.arange(dim))[points[:, 0] == 2].sum(-1)
    assert len(codes.unique()) == 10
    assert (codes.bincount()[codes.unique()] - 60).abs().max() < 40


def test_a_split_keeps_chains_in_order() -> None:
    torch.manual_seed(0)
    known, weight = sample_known(
        group_positions(CHAINED), torch.rand(500, 3), torch.rand(500), torch.rand(500)
    )

    assert not bool((known[:, 2] & ~known[:, 1]).any())
    assert not bool((weight[~known[:, 1], 2] > 0).any())
    assert bool((weight[known] == 0).all())
    assert bool((weight.sum(-1) > 0).all())
