"""What compiled loops give is what operations on whole batches give."""

import numpy as np
import pytest
import scipy.special
import torch
from torch import Tensor

from ar_models.distributions import softmax
from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.kernels import compiled, elementary
from ar_models.kernels.compiled import jit, use_kernel
from ar_models.layers.features import InputFeatures
from ar_models.variables import Variable

ROWS = 700

VARIABLES = (
    Variable("a", "real", 0, location=10.0, scale=4.0, knots=(0.0, 8.0, 10.0, 15.0)),
    Variable("b", "real", 1, scale=1e-3),
    Variable("c", "integer", 2, atoms=(0.0, 2.0), lower=-3.0),
    Variable("d", "integer", 3, scale=30.0, lower=-5.0, upper=400.0),
    Variable("e", "integer", 4, scale=1e5, atoms=(7.0, 900.0)),
    Variable("f", "integer", 5, scale=0.01, upper=4.0),
    Variable("g", "integer", 6, lower=3.0, upper=3.0, atoms=(3.0,)),
    Variable("h", "binary", 7, size=2),
    Variable("i", "categorical", 8, size=5),
    Variable("j", "categorical", 9, size=40),
    Variable("k", "categorical", 10, size=1100),
)


def conditionals(size: float) -> tuple[Conditionals, Tensor]:
    """Return random conditionals, with values that are likely, far and absent."""
    torch.manual_seed(0)
    layout = ParameterLayout.of(VARIABLES, components=5).requires_grad_(False)
    parameters = layout.initial_bias() + size * torch.randn(ROWS, layout.size)
    x = Conditionals(layout, parameters).sample(torch.rand(ROWS, len(VARIABLES), 2))
    for i, variable in enumerate(VARIABLES):
        if variable.kind == "real":
            x[:99, i] = x[:99, i] * 1e4
        elif variable.kind == "integer":
            lower = -(2**24) if variable.lower is None else variable.lower
            upper = 2**24 if variable.upper is None else variable.upper
            x[:30, i], x[30:60, i], x[60:80, i] = lower, upper, (lower + upper) // 2
    x[90:95] = torch.nan
    return Conditionals(layout, parameters), x


def everything(given: Conditionals, x: Tensor) -> list[Tensor]:
    """Return log-probabilities, tails and entropies."""
    return [given.log_prob(x), given.log_tail_probs(x), given.entropy()]


@pytest.mark.parametrize("size", [0.3, 3.0, 30.0])
def test_loops_are_as_exact_as_operations(
    size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, x = conditionals(size)
    by_kernel = everything(given, x)
    monkeypatch.setattr(compiled, "MIN_ELEMENTS", 10**9)
    by_operations = everything(given, x)
    exact = everything(
        Conditionals(given.layout.double(), given.parameters.double()), x.double()
    )

    for ours, theirs, true in zip(by_kernel, by_operations, exact, strict=True):
        assert (ours.isfinite() == true.isfinite()).all()
        torch.testing.assert_close(ours.isnan(), true.isnan())
        off, usual = error(ours, true), error(theirs, true)
        assert (off <= 1.3 * usual + 1e-5).all(), (off, usual)
        assert off.max() < 1e-4 * size


def error(found: Tensor, true: Tensor) -> Tensor:
    """Return the greatest relative error of each variable, or absolute if less."""
    share = (found.double() - true).abs() / (1 + true.abs())
    share = torch.where(true.isfinite(), share, 0.0)
    return share.reshape(len(share), len(VARIABLES), -1).amax((0, 2))


def test_the_value_of_a_row_does_not_depend_on_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiled, "MIN_ELEMENTS", 0)
    given, x = conditionals(1.0)
    some = torch.arange(0, ROWS, 3)

    alone = everything(Conditionals(given.layout, given.parameters[some]), x[some])

    for part, whole in zip(alone, everything(given, x), strict=True):
        torch.testing.assert_close(part, whole[some], atol=0, rtol=0, equal_nan=True)


@pytest.mark.parametrize("seed", range(3))
def test_a_network_sees_the_same_numbers(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(seed)
    knots = (-3.0, 0.0, 0.5, 20.0, 7000.0)
    numbers = (
        Variable("a", "real", 0, location=10.0, scale=4.0, knots=knots),
        Variable("b", "real", 1, scale=1e-3),
        Variable("c", "integer", 2, atoms=(0.0, 2.0), knots=knots),
        Variable("d", "integer", 3, scale=30.0, knots=(-50.0, 2e6)),
    )
    x = 10 ** (8 * torch.rand(ROWS, 4) - 1) * torch.randn(ROWS, 4).sign()
    x[:, 2:] = x[:, 2:].round()
    x[:200, 2:] = torch.arange(400.0).sub(100).view(200, 2)
    x[torch.rand(ROWS, 4) < 0.1] = torch.nan
    inputs = InputFeatures.of(numbers)
    by_kernel = inputs(x)
    monkeypatch.setattr(compiled, "MIN_ELEMENTS", 10**9)

    by_operations = inputs(x)

    torch.testing.assert_close(by_kernel, by_operations, atol=0, rtol=2e-7)
    assert not by_kernel[0].equal(by_kernel[1])


@pytest.mark.parametrize("huge", [torch.inf, -torch.inf, 3e38, -1e30, 1e19])
def test_digits_of_what_is_too_great_are_left_out(
    huge: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "MIN_ELEMENTS", 0)
    digits = Variable("a", "integer", 0, knots=(-50.0, 2e6))
    inputs = InputFeatures.of([digits])
    x = torch.tensor([[12.0], [huge], [34.0]])

    among, alone = inputs(x), inputs(x[[0, 2]])

    assert torch.equal(among[[0, 2]], alone)
    assert set(among[1, -30:].tolist()) <= {0.0, 1.0}
    assert float(among[1, -30:].sum()) <= 3


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_no_number_comes_of_what_is_none(bad: float) -> None:
    given, x = conditionals(1.0)
    x = torch.nan_to_num(x, 3.0)
    wrong = given.parameters.clone()
    wrong[5] = bad

    log_prob, tails, entropy = everything(Conditionals(given.layout, wrong), x)

    for result in (log_prob, tails, entropy):
        assert not result[5].isfinite().any()
    for result in (log_prob, entropy):
        assert result[:5].isfinite().all()
        assert result[6:].isfinite().all()


def test_loops_are_left_to_what_they_can_do() -> None:
    many = torch.ones(500, 6, 5)
    assert use_kernel(many)
    assert not use_kernel(many[:10])
    assert not use_kernel(many.double())
    assert not use_kernel(many.requires_grad_())
    with torch.no_grad():
        assert use_kernel(many)


@pytest.mark.parametrize("codes", [2, 600])
def test_the_least_likely_codes_have_logarithms_too(
    codes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    logits = 300 * torch.randn(9000, codes)
    own = logits.gather(1, torch.randint(codes, (9000, 1)))
    by_kernel = softmax.log_tail_probs(logits, own)
    monkeypatch.setattr(compiled, "MIN_ELEMENTS", 10**9)

    by_operations = softmax.log_tail_probs(logits, own)

    assert float(by_kernel[by_kernel.isfinite()].min()) < -500
    torch.testing.assert_close(by_kernel, by_operations, atol=1e-3, rtol=1e-6)


def test_elementary_functions_are_exact_to_a_millionth() -> None:
    @jit
    def all_of_them(x: np.ndarray, results: np.ndarray) -> None:
        for r in range(len(x)):
            results[0, r] = elementary.exp2(-x[r])
            results[1, r] = elementary.log(x[r])
            results[2, r] = elementary.softplus(-x[r])
            results[3, r] = elementary.softplus(x[r])
            results[4, r] = elementary.log_2sinh(x[r])
            results[5, r] = elementary.log_erfc(x[r])

    x = np.geomspace(1e-37, 99, 5000, dtype=np.float32)
    results = np.empty((6, len(x)), np.float32)
    all_of_them(x, results)

    wide = x.astype(np.float64)
    expected = [
        np.exp2(-wide),
        np.log(wide),
        np.logaddexp(0, -wide),
        np.logaddexp(0, wide),
        np.log(2 * np.sinh(wide)),
        np.log(2) + scipy.special.log_ndtr(-wide * np.sqrt(2)),
    ]
    np.testing.assert_allclose(results[0], expected[0], rtol=1e-6)
    for ours, theirs in zip(results[1:], expected[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=5e-7)
