import torch

from ar_models.scoring.expected_values import codes, narrow, percent, quantiles
from tests.support.conditionals import MIXED, conditionals


def test_only_likely_codes_are_named() -> None:
    shares = torch.tensor([[0.61, 0.2, 0.16, 0.03], [0.97, 0.01, 0.01, 0.01]])
    assert codes(shares, list("abcd")) == ["a (61 %), b (20 %), c (16 %)", "a (97 %)"]
    even = torch.full((1, 40), 1 / 40)
    assert codes(even, [str(i) for i in range(40)])[0].startswith("many, first ")


def test_tiny_and_huge_probabilities_are_not_rounded_to_certainty() -> None:
    assert [percent(p) for p in (1e-9, 0.5, 1 - 1e-9)] == ["<1 %", "50 %", ">99 %"]


def test_narrowed_conditionals_have_the_probabilities_of_the_whole() -> None:
    whole = conditionals(MIXED, count=6)
    x = whole.sample(torch.rand(6, len(MIXED), 2))
    at = torch.tensor([4, 1])
    own = narrow(whole, [3, 4], at)
    expected = whole.log_prob(x)[at][:, 3:5]
    torch.testing.assert_close(own.log_prob(x[at][:, 3:5]), expected)


def test_a_number_is_described_by_median_and_interval() -> None:
    whole = conditionals(MIXED, count=2)
    (first, _) = quantiles(whole, 1, lambda values: [f"<{v:.3f}>" for v in values])
    median = float(narrow(whole, [1], torch.tensor([0])).quantile(0.5)[0, 0])
    assert first.startswith(f"about <{median:.3f}>, 90 % in <")
