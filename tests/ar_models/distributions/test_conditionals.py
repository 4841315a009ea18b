"""Conditional distributions: exact values, bounds, entropies, quantiles."""

import math

import pytest
import torch
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.logistic_mixture import log_logistic_mass
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.sampling import SamplingParams
from ar_models.layers.features import InputFeatures
from ar_models.layers.heads import Heads
from ar_models.variables import Variable, binary_variables

MIXED = (
    Variable("a", "categorical", 0, size=3),
    Variable("b", "real", 1, location=10.0, scale=4.0, knots=(0.0, 8.0, 10.0, 15.0)),
    Variable("c", "integer", 2, atoms=(0.0, 2.0), lower=-3.0),
    Variable("d", "binary", 3, size=2),
    Variable("e", "categorical", 4, size=100),
    Variable("f", "integer", 5, scale=30.0, lower=-5.0, upper=400.0),
    Variable("g", "real", 6),
    Variable("h", "categorical", 7, size=3),
)


def conditionals(
    variables: tuple[Variable, ...], count: int = 1, components: int = 8
) -> Conditionals:
    """Return conditionals with random parameters, in float64."""
    torch.manual_seed(0)
    layout = ParameterLayout.of(variables, components, 4).double().requires_grad_(False)
    return Conditionals(layout, torch.randn(count, layout.size, dtype=torch.float64))


def along(one: Conditionals, values: Tensor) -> Conditionals:
    """Repeat the conditionals of a single row for all `values`."""
    return Conditionals(one.layout, one.parameters.expand(len(values), -1))


@pytest.mark.parametrize("scale", [1e-3, 1e-1, 1.0, 1e2, 1e4, 1e7])
@pytest.mark.parametrize("distance", [0.0, 1e-3, 1.0, 30.0])
def test_the_discretised_logistic_is_exact_at_any_width(
    scale: float, distance: float
) -> None:
    u, d = distance, 0.5 / scale
    # The difference of the two sigmoids, with neither cancellation nor overflow.
    if abs(u) < d:
        upper = 1 / (1 + math.exp(-(u + d)))
        lower = math.exp(u - d) / (1 + math.exp(u - d))
        expected = math.log(upper - lower) if d > 1e-3 else math.log(d / 2)
    else:
        ratio = -math.expm1(-2 * d)
        tails = (1 + math.exp(-u - d)) * (1 + math.exp(d - u))
        expected = (d - u) + math.log(ratio / tails)

    value = log_logistic_mass(torch.tensor(u), torch.tensor(d))

    assert float(value) == pytest.approx(expected, rel=2e-6, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
@pytest.mark.parametrize(
    ("lower", "upper"),
    [(None, None), (0.0, None), (None, 7.0), (-2.0, 5.0), (3.0, 3.0)],
)
def test_masses_of_integers_sum_to_one(
    scale: float, lower: float | None, upper: float | None
) -> None:
    variable = Variable(
        "a", "integer", 0, scale=scale, lower=lower, upper=upper, atoms=(3.0,)
    )
    one = conditionals((variable,), components=3)
    first = -60_000 if lower is None else int(lower)
    last = 60_000 if upper is None else int(upper)
    x = torch.arange(first, last + 1, dtype=torch.float64).unsqueeze(-1)

    masses = along(one, x).log_prob(x).exp()

    assert float(masses.sum()) == pytest.approx(1, abs=1e-9)
    cumulative = along(one, x).cdf(x)
    torch.testing.assert_close(masses.cumsum(0), cumulative, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    "variable",
    [
        Variable("a", "integer", 0, scale=0.01),
        Variable("a", "integer", 0, scale=1.0, atoms=(0.0, 1.0)),
        Variable("a", "integer", 0, scale=40.0, lower=0.0, atoms=(0.0, 60.0)),
        Variable("a", "integer", 0, scale=40.0, lower=-30.0, upper=30.0),
        Variable("a", "integer", 0, scale=40.0, lower=4.0, upper=4.0),
        Variable("a", "integer", 0, scale=40.0, lower=4.0, upper=5.0, atoms=(4.0,)),
        Variable("a", "categorical", 0, size=5),
        Variable("a", "categorical", 0, size=70),
        Variable("a", "binary", 0, size=2),
    ],
)
def test_entropies_equal_the_sum_over_all_values(variable: Variable) -> None:
    whole = conditionals((variable,), count=10)
    first, last = (0, variable.size - 1) if variable.size else (-20_000, 20_000)
    first = int(first if variable.lower is None else variable.lower)
    last = int(last if variable.upper is None else variable.upper)
    x = torch.arange(first, last + 1, dtype=torch.float64).unsqueeze(-1)

    errors = []
    for row in range(10):
        one = Conditionals(whole.layout, whole.parameters[row : row + 1])
        log_prob = along(one, x).log_prob(x)
        errors.append(one.entropy().double() + (log_prob.exp() * log_prob).sum())
    check_errors(torch.stack(errors), exact=variable.kind != "integer")


def check_errors(errors: Tensor, *, exact: bool) -> None:
    """Check errors of entropies, in nats; those of mixtures are approximations."""
    assert float(errors.abs().max()) < (1e-5 if exact else 0.15)
    assert float(errors.abs().mean()) < (1e-5 if exact else 0.05)


def test_entropies_of_reals_equal_the_integral() -> None:
    variable = Variable("a", "real", 0, location=5.0, scale=3.0)
    whole = conditionals((variable,), count=10)
    t = torch.linspace(-8, 8, 80_001, dtype=torch.float64)
    x, width = t.sinh().unsqueeze(-1), t.cosh() * 0.0002

    errors = []
    for row in range(10):
        one = Conditionals(whole.layout, whole.parameters[row : row + 1])
        log_prob = along(one, x).log_prob(x).squeeze(-1)
        assert float((log_prob.exp() * width).sum()) == pytest.approx(1, abs=1e-5)
        expected = -(log_prob.exp() * log_prob * width).sum()
        errors.append(one.entropy().double() - expected)
    check_errors(torch.stack(errors), exact=False)


def test_a_gaussian_is_worked_out_by_hand() -> None:
    layout = ParameterLayout.of((Variable("a", "real", 0, location=1.0, scale=2.0),), 1)
    of_two = Conditionals(layout, torch.tensor([[0.0, 3.0, 0.0]]))
    spread = 2.0 * math.exp(layout_log_scale(0.0))

    log_prob = of_two.log_prob(torch.tensor([[4.0]]))

    u = (4.0 - 7.0) / spread
    expected = -0.5 * u * u - math.log(spread * math.sqrt(2 * math.pi))
    assert float(log_prob) == pytest.approx(expected, abs=1e-5)
    assert float(of_two.cdf(torch.tensor([[7.0]]))) == pytest.approx(0.5, abs=1e-6)
    entropy = 0.5 * math.log(2 * math.pi * math.e) + math.log(spread)
    assert float(of_two.entropy()) == pytest.approx(entropy, abs=0.003)


def layout_log_scale(raw: float) -> float:
    """Bend a log-scale between log 5e-3 and log 1e4."""

    def softplus(x: float) -> float:
        return math.log1p(math.exp(x))

    low, high = math.log(5e-3), math.log(1e4)
    return low + softplus(raw - low) - softplus(raw - high)


def test_quantiles_invert_the_cdf() -> None:
    whole = conditionals(MIXED, count=50)
    numbers = torch.tensor([v.kind in ("integer", "real") for v in MIXED])
    for q in (0.001, 0.3, 0.5, 0.99):
        x = whole.quantile(q)
        reached = whole.cdf(x)[:, numbers]
        assert bool((reached >= q - 1e-6).all())
        integers = torch.tensor([v.kind == "integer" for v in MIXED])
        before = whole.cdf(x - 1)[:, integers]
        assert bool((before < q).all())
        reals = torch.tensor([v.kind == "real" for v in MIXED])
        near = whole.cdf(x)[:, reals]
        torch.testing.assert_close(near, torch.full_like(near, q), atol=1e-6, rtol=0)
        assert bool(x[:, ~numbers].isnan().all())


def test_samples_are_integers_within_their_bounds() -> None:
    whole = conditionals(MIXED, count=2000)
    x = whole.sample(torch.rand(2000, len(MIXED), 2, dtype=torch.float64))

    assert torch.equal(x[:, [2, 5]], x[:, [2, 5]].round())
    assert float(x[:, 2].min()) >= -3
    assert -5 <= float(x[:, 5].min()) <= float(x[:, 5].max()) <= 400
    assert bool(whole.log_prob(x).isfinite().all())


def test_uniform_numbers_of_0_and_1_give_finite_samples() -> None:
    whole = conditionals(MIXED, count=2)
    for edge in (0.0, 1.0 - 2**-24):
        x = whole.sample(torch.full((2, len(MIXED), 2), edge))
        assert bool(whole.log_prob(x).isfinite().all())


def test_probabilities_are_those_of_log_prob() -> None:
    whole = conditionals(MIXED, count=7)
    for i in (0, 3, 4):
        probabilities = whole.probabilities(i)
        for code in range(MIXED[i].size):
            x = torch.zeros(7, len(MIXED), dtype=torch.float64)
            x[:, i] = code
            expected = whole.log_prob(x)[:, i].exp()
            torch.testing.assert_close(probabilities[:, code], expected)
    with pytest.raises(ValueError, match="variable 1 has no codes"):
        whole.probabilities(1)


def test_absent_values_count_nothing() -> None:
    whole = conditionals(MIXED, count=3)
    x = torch.full((3, len(MIXED)), math.nan)

    assert torch.equal(whole.log_prob(x), torch.zeros(3, len(MIXED)).double())
    assert bool(whole.cdf(x).isnan().all())


def test_a_selected_block_equals_its_part_of_the_whole() -> None:
    whole = conditionals(MIXED, count=20)
    x = whole.sample(torch.rand(20, len(MIXED), 2, dtype=torch.float64))
    noise = torch.rand(20, len(MIXED), 2, dtype=torch.float64)
    chosen = [7, 4, 1, 2]

    block = whole.layout.select(chosen)
    part = Conditionals(block, whole.parameters[:, block.source_index])

    assert torch.equal(part.log_prob(x[:, chosen]), whole.log_prob(x)[:, chosen])
    assert torch.equal(part.sample(noise[:, chosen]), whole.sample(noise)[:, chosen])
    inner = block.select([3, 0])
    assert torch.equal(inner.source_index, whole.layout.select([2, 7]).source_index)


def test_a_selected_block_of_inputs_equals_its_part_of_the_whole() -> None:
    inputs = InputFeatures.of(MIXED, 4).double()
    whole = conditionals(MIXED, count=20)
    x = whole.sample(torch.rand(20, len(MIXED), 2, dtype=torch.float64))
    chosen = [4, 1, 0]

    block = inputs.select(chosen)

    assert torch.equal(block(x[:, chosen]), inputs(x)[:, block.source_index])
    group, at = inputs.single(4)
    assert torch.equal(group(x[:, 4:5]).squeeze(1), inputs(x)[:, at])


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


def test_heads_give_each_variable_its_own_map() -> None:
    torch.manual_seed(0)
    layout = ParameterLayout.of(MIXED, 3, 4)
    heads = Heads(layout, 6)
    h = torch.randn(9, len(MIXED), 6)

    parameters = heads(h)

    expected = (
        torch.einsum("bph,ph->bp", h[:, layout.variable_index], heads.weight)
        + heads.bias
    )
    torch.testing.assert_close(parameters, expected)
    for i, variable in enumerate(MIXED):
        group, alone = heads.forward_one(h[:, i], i)
        torch.testing.assert_close(alone, parameters[:, layout.variable_index == i])
        assert alone.shape[1] == group.width, variable


def test_a_bias_starts_at_the_marginals() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4000, generator=generator) * 3 + 20
    knots = tuple(values.quantile(torch.linspace(0, 1, 20)).tolist())
    real = Variable("a", "real", 0, location=20.0, scale=3.0, knots=knots)
    layout = ParameterLayout.of((real,))
    start = Conditionals(layout, layout.initial_bias().expand(4000, -1))

    nll = -start.log_prob(values.unsqueeze(-1)).mean()

    exact = 0.5 * math.log(2 * math.pi * math.e * 9)
    assert exact - 0.05 < float(nll) < exact + 0.1


def test_a_bias_starts_at_the_shares_of_atoms() -> None:
    variable = Variable(
        "a", "integer", 0, atoms=(0.0, 500.0), frequencies=(0.25, 0.5, 0.25)
    )
    layout = ParameterLayout.of((variable,))
    start = Conditionals(layout, layout.initial_bias().expand(2, -1))

    share = start.log_prob(torch.tensor([[500.0], [500.0]])).exp()

    assert share[0].item() == pytest.approx(0.5, abs=1e-4)


def test_frequencies_must_match_the_codes() -> None:
    wrong = Variable("hue", "categorical", 0, size=3, frequencies=(0.5, 0.5))

    with pytest.raises(ValueError, match="hue: 3 frequencies are needed, got 2"):
        ParameterLayout.of((wrong,))


def test_equal_variables_share_one_operation() -> None:
    assert len(ParameterLayout.of(binary_variables(784)).groups) == 1
    assert len(InputFeatures.of(binary_variables(784)).groups) == 1


def test_codes_drawn_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = conditionals(MIXED, count=20)
    noise = torch.rand(20, len(MIXED), 2, dtype=torch.float64)
    together = whole.sample(noise)

    monkeypatch.setattr("ar_models.distributions.discrete.MAX_SAMPLING_LOGITS", 300)

    assert torch.equal(whole.sample(noise), together)


def uniform(count: int, dim: int) -> Tensor:
    """Uniform numbers (count, dim, 2), always the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, dim, 2, generator=generator, dtype=torch.float64)


def test_tempered_components_are_powers_of_themselves() -> None:
    # Means over 100,000 draws: off by more than 2 % with odds below 1e-6.
    variables = (Variable("a", "real", 0), Variable("b", "integer", 1, scale=50.0))
    layout = ParameterLayout.of(variables, 1)
    whole = Conditionals(layout, torch.zeros(100_000, layout.size).double())
    noise = uniform(100_000, 2)

    exact, tempered = whole.sample(noise), whole.sample(noise, SamplingParams(0.25))

    # A Gaussian to the power of 4 has half the standard deviation, and the tails of a
    # logistic to the power of 4 are those of one with a quarter of the scale.
    ratio = tempered.abs().mean(0) / exact.abs().mean(0)
    assert ratio.tolist() == pytest.approx([0.5, 0.25], rel=0.02)


def test_top_p_keeps_the_central_share_of_a_component() -> None:
    variables = (Variable("a", "real", 0), Variable("b", "integer", 1, scale=1e4))
    layout = ParameterLayout.of(variables, 1)
    whole = Conditionals(layout, torch.zeros(1000, layout.size).double())
    noise = uniform(1000, 2)

    reached = whole.cdf(whole.sample(noise, SamplingParams(top_p=0.8)))

    expected = 0.1 + 0.8 * noise[:, :, 1]
    torch.testing.assert_close(reached, expected, atol=1e-4, rtol=0)


def test_the_nucleus_holds_the_likeliest_components_and_atoms() -> None:
    variable = Variable("a", "integer", 0, atoms=(3.0, 7.0))
    layout = ParameterLayout.of([variable], 2)
    # Shares 0.4 and 0.1 of the atoms, 0.3 and 0.2 of components at -50 and 50.
    parameters = torch.tensor([0.4, 0.1, 0.3, 0.2]).log().tolist() + [-50, 50, -1, -1]
    whole = Conditionals(layout, torch.tensor([parameters]).expand(2000, -1))

    x = whole.sample(uniform(2000, 1), SamplingParams(top_p=0.65))[:, 0]

    assert bool(((x == 3) | (x < -40)).all())
    assert float((x == 3).float().mean()) == pytest.approx(4 / 7, abs=0.06)
    likeliest = whole.sample(uniform(2000, 1), SamplingParams(top_p=1e-6))
    assert bool((likeliest == 3).all())
    coldest = whole.sample(uniform(2000, 1), SamplingParams(temperature=1e-3))
    assert bool((coldest == 3).all())


def test_the_nucleus_of_a_binary_variable_is_its_likelier_value() -> None:
    layout = ParameterLayout.of(binary_variables(1))
    whole = Conditionals(layout, torch.tensor([[-0.3]]).expand(500, 1))

    assert not bool(whole.sample(uniform(500, 1), SamplingParams(top_p=0.2)).any())
    assert not bool(whole.sample(uniform(500, 1), SamplingParams(top_p=0.5)).any())
    assert bool(whole.sample(uniform(500, 1), SamplingParams(top_p=0.7)).any())


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": 0.0}, {"temperature": math.inf}, {"top_p": 0.0}, {"top_p": 1.1}],
)
def test_impossible_temperatures_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SamplingParams(**wrong)
