"""Dropout: what is left out, and by what the rest is scaled."""

import pytest
import torch

from ar_models.layers.dropout import Dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9])
def test_a_share_is_left_out_and_the_rest_scaled(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.full((400, 501), 2.0, dtype=dtype)

    y = Dropout(p)(x)

    kept = y != 0
    # Six standard deviations: odds of 1e-9 by chance.
    spread = 6 * (p * (1 - p) / x.numel()) ** 0.5
    assert abs(float((~kept).double().mean()) - p) < spread + 1 / 2**16
    torch.testing.assert_close(
        y[kept].double(), torch.full_like(y[kept], 2 / (1 - p)).double(),
        rtol=1e-2 if dtype == torch.bfloat16 else 1e-3, atol=0,
    )  # fmt: skip


def test_neighbours_are_left_out_independently() -> None:
    torch.manual_seed(0)
    out = Dropout(0.5)(torch.ones(100_000)) == 0

    # Those that share a random number, and those that follow one another otherwise.
    for lag in (1, 2, 3, 4, 8):
        both = float((out[lag:] & out[:-lag]).double().mean())
        assert abs(both - 0.25) < 6 * (3 / 16 / 100_000) ** 0.5


def test_the_gradient_goes_through_what_is_kept() -> None:
    torch.manual_seed(0)
    x = torch.randn(7, 5, 3, requires_grad=True)

    y = Dropout(0.25)(x)
    y.sum().backward()

    assert x.grad is not None
    torch.testing.assert_close(x.grad, (y / x).detach())
    assert bool((x.grad == 0).any())
    assert bool((x.grad > 1).any())


def test_the_seed_decides() -> None:
    x = torch.ones(50)
    torch.manual_seed(3)
    first, second = Dropout(0.5)(x), Dropout(0.5)(x)
    torch.manual_seed(3)

    assert Dropout(0.5)(x).equal(first)
    assert not second.equal(first)


def test_nothing_is_left_out_in_eval_mode_and_all_of_it_at_one() -> None:
    x = torch.randn(9)

    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x).equal(x)
    assert Dropout(1.0)(x).equal(torch.zeros(9))


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_a_share_beyond_its_range_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Dropout(p)
