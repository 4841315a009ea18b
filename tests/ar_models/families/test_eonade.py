"""What is particular to EoNADE: random splits, any order, any given variables."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from ar_models.families.base import AutoregressiveModel
from ar_models.families.eonade import EoNADE
from ar_models.layers.order_masks import group_positions, sample_known
from ar_models.variables import Variable, binary_variables

CHAINED = (
    Variable("a", "binary", 0, size=2),
    Variable("b", "binary", 1, size=2),
    Variable("b.next", "categorical", 1, size=3),
)


PAIRS = (
    ((0.9, 0.9), 1 / 3),
    ((0.1, 0.9), 1 / 6),
    ((0.9, 0.1), 1 / 6),
    ((0.1, 0.1), 1 / 3),
)
"""Keys of two variables, taken below 0.5, and the odds of such a set."""


EVERY_ORDER = list(itertools.permutations(range(4)))
"""Of four single variables."""


def build(
    variables: tuple[Variable, ...], seed: int = 0, **arguments: object
) -> EoNADE:
    """Return a small model of float64 in eval mode, with random weights."""
    torch.manual_seed(seed)
    model = EoNADE(variables, EoNADE.Settings(hidden=20, **arguments))  # type: ignore[arg-type] # tests
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.double().eval()


def every(*sizes: int) -> Tensor:
    """Return all vectors of codes, float64."""
    codes = list(itertools.product(*map(range, sizes)))
    return torch.tensor(codes, dtype=torch.float64)


def log_prob_along(model: EoNADE, x: Tensor, order: tuple[int, ...]) -> Tensor:
    """Sum the conditionals of the variables in any order."""
    known = torch.zeros_like(x, dtype=torch.bool)
    total = x.new_zeros(len(x))
    for i in order:
        total = total + model.conditionals_given(x, known).log_prob(x)[:, i]
        known[:, i] = True
    return total


def test_two_binary_variables_by_hand() -> None:
    model = EoNADE(
        binary_variables(2),
        EoNADE.Settings(
            hidden=1, layers=1, residual=False, orderings=1, ordering=[[1, 0]]
        ),
    ).eval()
    with torch.no_grad():
        # Weights of x0, x1, of x0 being known and of x1 being known.
        model.first.weight.copy_(torch.tensor([[9.0, 2.0, 9.0, 0.5]]))
        model.first.bias.copy_(torch.tensor([0.1]))
        model.last.weight.copy_(torch.tensor([[1.0], [-3.0]]))
        model.last.bias.copy_(torch.tensor([0.0, 0.2]))

    def log_sigmoid(a: float) -> float:
        return -math.log(1 + math.exp(-a))

    by_hand = log_sigmoid(-3 * 0.1 + 0.2) + log_sigmoid(-(0.1 + 2 + 0.5))

    log_prob = model.log_prob(torch.tensor([[0.0, 1.0]]))

    assert log_prob.item() == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize(
    "variables", [binary_variables(3), CHAINED], ids=["single", "chained"]
)
def test_the_estimate_is_unbiased_over_orders_and_points(
    variables: tuple[Variable, ...],
) -> None:
    model = build(variables)
    x = every(2, 2, variables[2].size)
    total = torch.zeros(len(x), dtype=torch.float64)
    # One variable stays free, and among the two others every set has its probability.
    cases = list(itertools.product((0.1, 0.5, 0.9), PAIRS))
    for free, ((first, second), odds) in cases:
        keys = torch.tensor([first, second])
        at = int(free * 3)
        keys = torch.cat([keys[:at], torch.zeros(1), keys[at:]])
        known, weight = sample_known(
            group_positions(variables) if variables is CHAINED else None,
            keys.expand(len(x), -1),
            torch.full((len(x),), 0.5),
            torch.full((len(x),), free),
        )
        terms = model.conditionals_given(x, known).log_prob(x) * weight
        total += terms.sum(-1) * odds / 3

    orders = [
        order
        for order in itertools.permutations(range(3))
        if variables is not CHAINED or order.index(1) < order.index(2)
    ]
    mean = sum(log_prob_along(model, x, order) for order in orders) / len(orders)
    torch.testing.assert_close(total, mean)


def test_training_estimates_what_all_orderings_give() -> None:
    model = build(binary_variables(4), orderings=24, ordering=EVERY_ORDER)
    x = torch.tensor([[1.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    exact = torch.stack(
        [model.conditionals(x, k).log_prob(x).sum() for k in range(24)]
    ).mean()

    torch.manual_seed(0)
    with torch.no_grad():
        estimates = model.train()(x.expand(20_000, -1))

    # Five standard errors: odds of 1e-6 by chance; batches are spread, so it is less.
    error = 5 * float(estimates.std()) / math.sqrt(20_000)
    assert estimates.mean().item() == pytest.approx(exact.item(), abs=error)
    assert error < 0.2


def test_the_estimate_follows_the_global_random_numbers() -> None:
    model = build(binary_variables(6)).train()
    x = torch.ones(9, 6, dtype=torch.float64)

    torch.manual_seed(1)
    one, other = model(x), model(x)
    torch.manual_seed(1)

    assert model(x).equal(one)
    assert not other.equal(one)


def test_the_quick_estimate_is_repeatable_and_near() -> None:
    model = build(binary_variables(4), orderings=24, ordering=EVERY_ORDER)
    x = model.sample(2000, generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()

    quick = model.estimate_variable_log_prob(x).sum(-1).detach()

    assert quick.equal(model.estimate_variable_log_prob(x).sum(-1))
    assert torch.get_rng_state().equal(state)
    each = [model.conditionals(x, k).log_prob(x).sum(-1).mean() for k in range(24)]
    mean = torch.stack(each).mean().item()
    # Five standard errors, as above.
    error = 5 * float(quick.std()) / math.sqrt(2000)
    assert quick.mean().item() == pytest.approx(mean, abs=error)
    assert error < 0.2


def test_absent_variables_are_marginalised() -> None:
    model = build(CHAINED, orderings=1, ordering=[[1, 0]])
    x = every(2, 2, 3)

    observed = x.clone()
    observed[:, 0] = math.nan
    both = torch.stack([model.log_prob(x), model.log_prob(flip(x, 0))])
    torch.testing.assert_close(model.log_prob(observed), both.logsumexp(0))

    known = ~observed.isnan()
    torch.testing.assert_close(model.marginal_log_prob(x, known), both.logsumexp(0))

    # With the first variable of a group alone, the rest of it is marginalised too.
    observed[:, 2] = math.nan
    alone = model.conditionals_given(x, torch.zeros_like(x, dtype=torch.bool)).log_prob(
        x
    )
    torch.testing.assert_close(model.log_prob(observed), alone[:, 1])


def test_marginals_in_few_passes_are_those_variable_by_variable() -> None:
    model = build(CHAINED, orderings=2, ordering=[[0, 1], [1, 0]])
    x = every(2, 2, 3)
    known = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    known[:, 2] &= known[:, 1]

    by_steps = AutoregressiveModel.marginal_log_prob(model, x, known)

    torch.testing.assert_close(
        model.marginal_log_prob(x, known), by_steps, check_dtype=False
    )


def flip(x: Tensor, i: int) -> Tensor:
    """Return `x` with the other code of binary variable `i`."""
    flipped = x.clone()
    flipped[:, i] = 1 - flipped[:, i]
    return flipped


def test_a_conditional_sees_what_is_known_and_nothing_else() -> None:
    model = build(binary_variables(5))
    torch.manual_seed(0)
    x = (torch.rand(50, 5) < 0.5).double()
    known = torch.rand(50, 5) < 0.5
    before = model.conditionals_given(x, known).parameters

    elsewhere = model.conditionals_given(torch.where(known, x, 1 - x), known).parameters
    there = model.conditionals_given(torch.where(known, 1 - x, x), known).parameters

    assert elsewhere.equal(before)
    some = known.any(-1)
    assert bool((there != before)[some].any(-1).all())


def test_samples_follow_any_given_variables() -> None:
    model = build(binary_variables(3), orderings=1, ordering=[[0, 1, 2]])
    given = torch.full((20_000, 3), math.nan)
    given[:, 1] = 1.0

    x = model.sample(20_000, given=given, generator=torch.Generator().manual_seed(0))

    rest = every(2, 2)
    vectors = torch.stack([rest[:, 0], torch.ones(4), rest[:, 1]], 1)
    known = torch.tensor([[False, True, False]]).expand(4, -1)
    first = model.conditionals_given(vectors, known).log_prob(vectors)[:, 0]
    both = torch.tensor([[True, True, False]]).expand(4, -1)
    second = model.conditionals_given(vectors, both).log_prob(vectors)[:, 2]
    expected = (first + second).exp().detach() * 20_000
    observed = (x[:, None] == vectors).all(-1).sum(0)
    # Chi-square with 3 degrees of freedom: above 33 with odds of 3e-7.
    assert float(((observed - expected).square() / expected).sum()) < 33


def test_given_variables_of_single_rows_differ() -> None:
    model = build(CHAINED)
    given = torch.full((3, 3), math.nan)
    given[0, 0], given[1, 1], given[2, 1:] = 1.0, 0.0, torch.tensor([1.0, 2.0])

    x = model.sample(3, given=given, generator=torch.Generator().manual_seed(0))

    assert not bool(x.isnan().any())
    assert bool((given.isnan() | (x == given)).all())


def test_a_given_variable_needs_those_before_it_in_its_column() -> None:
    model = build(CHAINED)
    given = torch.full((2, 3), math.nan)
    given[1, 2] = 0.0

    with pytest.raises(ValueError, match=r"given row 1 fixes b\.next, but not what"):
        model.sample(2, given=given)


def test_learning_serves_every_order() -> None:
    # The second bit repeats the first with odds of 9 to 1, the third is their parity.
    torch.manual_seed(0)
    first = torch.rand(4000) < 0.5
    second = first ^ (torch.rand(4000) < 0.1)
    x = torch.stack([first, second, first ^ second], 1).float()
    orders = list(itertools.permutations(range(3)))
    model = EoNADE(
        binary_variables(3),
        EoNADE.Settings(hidden=32, layers=1, orderings=6, ordering=orders),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 400)
    for _ in range(400):
        loss = -model(x[torch.randint(4000, (256,))]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    model.eval()
    # Independent bits would cost 1.71 nats.
    entropy = math.log(2) - 0.1 * math.log(0.1) - 0.9 * math.log(0.9)
    for which in range(6):
        nll = -model.conditionals(x, which).log_prob(x).sum(-1).mean().item()
        assert nll == pytest.approx(entropy, abs=0.03), orders[which]
