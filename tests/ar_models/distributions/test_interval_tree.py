import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.interval_tree import IntervalTree
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.sampling import SamplingParams
from ar_models.layers.features import InputFeatures
from ar_models.variables import Variable


def tree(
    *edges: int, lower: float | None = None, upper: float | None = None
) -> Variable:
    """Return a variable with these edges."""
    return Variable(
        f"x{len(edges)}",
        "integer",
        0,
        location=50.0,
        scale=40.0,
        lower=lower,
        upper=upper,
        edges=tuple(float(edge) for edge in edges),
    )


HUNDREDS = range(100, 1001, 100)

UNBOUNDED = tree(-100, *range(11), *range(20, 100, 10), *HUNDREDS, 2000)
BOUNDED = tree(*range(0, 100, 10), *HUNDREDS, lower=0.0, upper=1999.0)
CLOSED = tree(0, *range(1, 11), *range(20, 101, 10), lower=0.0, upper=99.0)
TREES = [UNBOUNDED, BOUNDED, CLOSED]

every_tree = pytest.mark.parametrize("variable", TREES)
every_spread = pytest.mark.parametrize("spread", [0.3, 1.0, 2.5])


def random_tree(variable: Variable, spread: float, rows: int = 1) -> Conditionals:
    """Return one tree with random parameters, for a number of rows."""
    layout = ParameterLayout.of((variable,), 3).double()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, layout.size, generator=generator).double()
    parameters = spread * noise + layout.initial_bias()
    return Conditionals(layout, parameters.expand(rows, -1))


def all_values(variable: Variable) -> Tensor:
    """Return all integers that matter, (n, 1)."""
    low = -20_000 if variable.lower is None else int(variable.lower)
    high = 20_000 if variable.upper is None else int(variable.upper)
    return torch.arange(low, high + 1, dtype=torch.float64).unsqueeze(-1)


@every_tree
@every_spread
def test_masses_sum_to_one_and_the_cdf_adds_them_up(
    variable: Variable, spread: float
) -> None:
    x = all_values(variable)
    one = random_tree(variable, spread, len(x))

    mass = one.log_prob(x).exp()

    assert float(mass.sum()) == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close(one.cdf(x), mass.cumsum(0), atol=1e-9, rtol=0)
    tails = one.log_tail_probs(x)
    torch.testing.assert_close(tails.exp().sum(-1), torch.ones_like(x))
    torch.testing.assert_close(tails[..., 1], one.log_prob(x))


def test_outer_leaves_have_tails_that_fall_as_a_power() -> None:
    heavy = replace(UNBOUNDED, tails=(200.0, 0.5, 1000.0, 1.0))
    x = torch.tensor([[-101.0], [-501.0], [2000.0], [10_000.0], [100_000.0]])
    one = random_tree(heavy, 0.3, 5)

    below, equal, above = one.log_tail_probs(x.double()).squeeze(1).exp().unbind(-1)

    # S(t) = (1 + shape t / scale) ** (-1 / shape) of the distance t from the edge.
    low, high = below + equal, above + equal
    assert float(low[1] / low[0]) == pytest.approx(2**-2, rel=1e-9)
    assert float(high[3] / high[2]) == pytest.approx(1 / 9, rel=1e-9)
    assert float(high[4] / high[2]) == pytest.approx(1 / 99, rel=1e-9)


def test_tails_are_accurate_far_out() -> None:
    x = torch.tensor([[-8e6], [8e6]])
    layout = ParameterLayout.of((UNBOUNDED,), 3)
    single = Conditionals(layout, layout.initial_bias().expand(2, -1))
    double = Conditionals(layout.double(), layout.double().initial_bias().expand(2, -1))

    found, expected = single.log_tail_probs(x), double.log_tail_probs(x.double())

    assert float(expected[0, 0, 0]) < -150
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


@every_tree
@every_spread
def test_entropies_are_near_the_sum_over_all_values(
    variable: Variable, spread: float
) -> None:
    x = all_values(variable)
    one = random_tree(variable, spread, len(x))

    log_prob = one.log_prob(x)

    expected = -(log_prob.exp() * log_prob).sum()
    error = float(random_tree(variable, spread).entropy() - expected)
    assert abs(error) < 0.15


def test_the_entropy_of_single_values_is_exact() -> None:
    closed = tree(*range(41), lower=0.0, upper=39.0)
    one = random_tree(closed, 1.0, 40)

    log_prob = one.log_prob(all_values(closed))

    expected = -(log_prob.exp() * log_prob).sum()
    assert float(one.entropy()[0]) == pytest.approx(float(expected), abs=1e-6)


@every_tree
def test_quantiles_invert_the_cdf(variable: Variable) -> None:
    q = torch.linspace(0.001, 0.999, 200, dtype=torch.float64).unsqueeze(-1)
    one = random_tree(variable, 1.0, len(q))

    x = one.quantile(q)

    assert bool((one.cdf(x) >= q - 1e-9).all())
    assert bool((one.cdf(x - 1) < q).all())


@every_tree
@every_spread
def test_samples_follow_the_cdf(variable: Variable, spread: float) -> None:
    # Kolmogorov's statistic exceeds 2.7 with odds of 1e-6.
    count = 20_000
    one = random_tree(variable, spread, count)
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(count, 1, 2, dtype=torch.float64, generator=generator)

    x = one.sample(noise)

    values, counts = x.unique(return_counts=True)
    few = random_tree(variable, spread, len(values))
    expected = few.cdf(values.unsqueeze(-1)).squeeze(-1)
    reached = counts.cumsum(0) / count
    assert float((reached - expected).abs().max()) * math.sqrt(count) < 2.7
    assert bool(one.log_prob(x).isfinite().all())


@pytest.mark.parametrize("edge", [0.0, 1 - 2**-24])
@every_tree
def test_samples_at_the_ends_of_the_noise_are_possible(
    variable: Variable, edge: float
) -> None:
    for first in (0.0, 0.5, 1 - 2**-24):
        one = random_tree(variable, 1.0, 1)
        noise = torch.tensor([[[first, edge]]], dtype=torch.float64)
        x = one.sample(noise)
        assert float(x) == round(float(x))
        assert bool(one.log_prob(x).isfinite().all())


def test_cold_samples_are_the_likeliest_values() -> None:
    one = random_tree(CLOSED, 2.5, 100)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(100, 1, 2, dtype=torch.float64, generator=generator)

    for sampling in (SamplingParams(temperature=1e-4), SamplingParams(top_p=1e-6)):
        x = one.sample(noise, sampling)
        assert len(x.unique()) == 1


def test_without_free_logits_the_tree_is_the_mixture() -> None:
    smooth = Variable("x", "integer", 0, location=50.0, scale=40.0)
    layouts = [ParameterLayout.of((v,), 3).double() for v in (UNBOUNDED, smooth)]
    x = torch.arange(-99.0, 1000.0, dtype=torch.float64).unsqueeze(-1)
    biases = [layout.initial_bias().expand(len(x), -1) for layout in layouts]

    nested, plain = (
        Conditionals(layout, bias).log_prob(x)
        for layout, bias in zip(layouts, biases, strict=True)
    )

    likely = plain > -10
    torch.testing.assert_close(nested[likely], plain[likely], atol=0.05, rtol=0)


def test_biases_start_at_the_frequencies() -> None:
    leaves, digits = (0.01, 0.3, 0.6, 0.09), [0.91, *[0.01] * 9]
    variable = Variable(
        "x",
        "integer",
        0,
        scale=10.0,
        edges=(0.0, 10.0, 20.0),
        frequencies=(*leaves, *(digits * 4)),
    )
    layout = ParameterLayout.of((variable,))
    start = Conditionals(layout, layout.initial_bias().expand(10, -1))

    mass = start.log_prob(torch.arange(10.0, 20.0).unsqueeze(-1)).exp().squeeze(-1)

    assert float(mass.sum()) == pytest.approx(0.6, abs=1e-4)
    assert float(mass[0]) > 0.5


def test_trees_of_different_sizes_share_one_operation() -> None:
    variables = (UNBOUNDED, BOUNDED)
    layout = ParameterLayout.of(variables, 3).double()
    assert len(layout.groups) == 1
    assert isinstance(layout.groups[0], IntervalTree)
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(500, layout.size, generator=generator).double()
    together = Conditionals(layout, parameters)

    x = together.sample(torch.rand(500, 2, 2, generator=generator).double())

    assert bool(together.log_prob(x).isfinite().all())
    for k in range(2):
        single = layout.select([k])
        alone = Conditionals(single, parameters[:, single.source_index])
        torch.testing.assert_close(
            alone.log_prob(x[:, [k]])[:, 0], together.log_prob(x)[:, k]
        )
        torch.testing.assert_close(alone.entropy()[:, 0], together.entropy()[:, k])


def test_rows_that_share_parameters_have_the_same_probabilities_and_gradients() -> None:
    layout = ParameterLayout.of((UNBOUNDED, CLOSED), 3).double()
    x = torch.arange(50.0, dtype=torch.float64).unsqueeze(-1).expand(-1, 2)
    found = []
    for copied in (False, True):
        bias = layout.initial_bias().requires_grad_()
        rows = bias.expand(len(x), -1)
        log_prob = Conditionals(layout, rows.clone() if copied else rows).log_prob(x)
        found.append((log_prob.detach(), torch.autograd.grad(log_prob.sum(), bias)[0]))

    torch.testing.assert_close(found[0], found[1])


def test_there_may_be_no_rows() -> None:
    layout = ParameterLayout.of((UNBOUNDED, CLOSED), 3)
    nothing = Conditionals(layout, layout.initial_bias().expand(0, -1))
    x = torch.zeros(0, 2)

    assert nothing.log_prob(x).shape == (0, 2)
    assert nothing.cdf(x).shape == (0, 2)
    assert nothing.quantile(x).shape == (0, 2)
    assert nothing.entropy().shape == (0, 2)
    assert nothing.log_tail_probs(x).shape == (0, 2, 3)
    assert nothing.sample(torch.rand(0, 2, 2)).shape == (0, 2)


def test_gradients_are_finite_at_extreme_values() -> None:
    layout = ParameterLayout.of((UNBOUNDED,), 3)
    for spread in (0.1, 5.0, 50.0):
        parameters = (torch.randn(5, layout.size) * spread).requires_grad_()
        x = torch.tensor([[-8e6], [8e6], [0.0], [-101.0], [2000.0]])
        log_prob = Conditionals(layout, parameters).log_prob(x)
        assert bool(log_prob.isfinite().all())
        log_prob.sum().backward()
        assert parameters.grad is not None
        assert bool(parameters.grad.isfinite().all())


def test_features_show_the_leaf_and_the_last_two_digits() -> None:
    inputs = InputFeatures.of([BOUNDED])
    leaves = len(BOUNDED.edges) + 1

    features = inputs(torch.tensor([[-7.0], [25.0], [1905.0], [math.nan]]))

    shown = features[:, -leaves - 100 :]
    assert shown[:3, :leaves].argmax(-1).tolist() == [0, 3, leaves - 1]
    assert shown[:3, leaves:].argmax(-1).tolist() == [93, 25, 5]
    assert shown.sum(-1).tolist() == [2, 2, 2, 0]
