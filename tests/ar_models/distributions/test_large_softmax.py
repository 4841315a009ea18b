import pytest
import torch
from torch import Tensor

from ar_models.distributions import large_softmax


@pytest.fixture(autouse=True)
def _few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_softmax, "MAX_CPU_LOGITS", 7 * 100)


def problem(rows: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(rows)
    shapes = [(rows, 5), (100, 5), (100,)]
    return [
        torch.randn(s, generator=generator, dtype=dtype).requires_grad_()
        for s in shapes
    ]


@pytest.mark.parametrize("rows", [0, 1, 7, 20])
def test_blocks_give_what_one_product_gives(rows: int) -> None:
    query, table, bias = problem(rows)
    codes = torch.arange(rows) * 5
    log_probs = (query @ table.T + bias).log_softmax(1)
    chosen = log_probs.gather(1, codes[:, None]).squeeze(1)
    found = large_softmax.log_prob(query, table, bias, codes)
    torch.testing.assert_close(found, chosen)
    entropies = -(log_probs.exp() * log_probs).sum(1)
    found = large_softmax.entropy(query, table, bias)
    torch.testing.assert_close(found, entropies)
    with torch.no_grad():
        assert torch.equal(large_softmax.entropy(query, table, bias), found)


def test_the_gradient_is_that_of_the_log_probability() -> None:
    query, table, bias = problem(20)
    codes = torch.arange(20) * 5
    assert torch.autograd.gradcheck(
        lambda *of: large_softmax.log_prob(*of, codes), (query, table, bias)
    )
    assert torch.autograd.gradcheck(large_softmax.entropy, (query, table, bias))


def test_autocast_rounds_products_of_the_gradient_only() -> None:
    of = problem(20, torch.float32)
    codes = torch.arange(20) * 5
    plain = large_softmax.log_prob(*of, codes)
    exact = torch.autograd.grad(plain.sum(), of)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = large_softmax.log_prob(*of, codes)
    assert torch.equal(plain, rounded)
    gradients = torch.autograd.grad(rounded.sum(), of)
    for found, expected in zip(gradients, exact, strict=True):
        assert (found - expected).norm() < 0.01 * expected.norm()
