import math

import pytest
import torch

from ar_models.families import base
from ar_models.families.registry import MODELS, build
from ar_models.variables import Variable
from tests.support.models import (
    CODES,
    KINDS,
    MIXED,
    every_exact_family,
    every_kind_of_family,
    observations,
    random_model,
    seeded,
)


@every_kind_of_family
def test_equal_generators_give_equal_samples(family: str, kind: str) -> None:
    model = random_model(family, KINDS[kind])

    one, other = (
        model.sample(100, generator=torch.Generator().manual_seed(3)) for _ in "12"
    )

    assert torch.equal(one.nan_to_num(-1), other.nan_to_num(-1))
    assert one.dtype == torch.float32


@every_exact_family
def test_given_variables_are_kept(family: str) -> None:
    model = random_model(family, MIXED)
    given = torch.full((100, model.dim), math.nan)
    given[:, 0] = 1
    given[:, 1] = torch.arange(100) % 3

    x = model.sample(100, given=given, generator=torch.Generator().manual_seed(0))

    assert torch.equal(x[:, :2], given[:, :2])
    assert not bool(x[:, 3:7].isnan().any())


def test_completions_follow_the_mean_over_orderings_that_fit() -> None:
    # Chi-square with at most 39 degrees of freedom: above 100 with odds of 1e-6.
    torch.manual_seed(0)
    sequences = [[0, 1, 2, 3], [1, 0, 3, 2], [1, 2, 0, 3]]
    codes = (*CODES, Variable("d", "categorical", 3, size=5))
    model = build("made", codes, hidden=40, orderings=3, ordering=sequences).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    vectors = torch.cartesian_prod(*(torch.arange(v.size) for v in codes)).float()
    vectors = vectors[(vectors[:, 0] == 1) & (vectors[:, 1] == 2)]
    count = 20_000
    given = torch.full((count, 4), math.nan)
    given[:, 0], given[:, 1] = 1, 2

    x = model.sample(count, given=given, generator=seeded(0))

    fitting = [model.conditionals(vectors, k).log_prob(vectors) for k in (0, 1)]
    mean = torch.stack([each.sum(-1) for each in fitting]).logsumexp(0)
    expected = mean.softmax(0).detach() * count
    observed = (x[:, None] == vectors).all(-1).sum(0)
    likely = expected >= 5
    off = ((observed - expected).square() / expected)[likely].sum()
    assert int(observed.sum()) == count
    assert float(off) < 100
    found = [float(each[0, :2].sum().detach()) for each in fitting]
    assert abs(found[0] - found[1]) > 0.1  # so they do not count alike


@every_exact_family
def test_given_variables_must_come_first(family: str) -> None:
    if MODELS[family].order_agnostic:
        pytest.skip("takes any")
    model = random_model(family, MIXED)
    given = torch.full((4, model.dim), math.nan)
    given[2, 3] = 1

    with pytest.raises(ValueError, match="row 2 fixes c, which come first in none"):
        model.sample(4, given=given)


def test_training_takes_the_orderings_in_turn() -> None:
    model = random_model("made", MIXED, "random")
    x = observations(model, 16)
    model.train()
    each = [model.conditionals(x, k).log_prob(x).sum(-1) for k in range(3)]

    assert all(torch.equal(model(x), each[k]) for k in (0, 1, 2, 0))
    model.step = 2
    assert torch.equal(model(x), each[2])


def test_several_orderings_are_averaged() -> None:
    model = random_model("made", MIXED, "random")
    x = observations(model, 16)

    each = [model.conditionals(x, k).log_prob(x).sum(-1).exp() for k in range(3)]

    torch.testing.assert_close(model.log_prob(x).exp(), sum(each) / 3)


def test_rows_beyond_the_first_block_are_checked_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "SAMPLE_ROWS", 8)
    model = random_model("made", MIXED, "random")
    first = model.ordering(1)[:2]
    given = torch.full((20, model.dim), math.nan)
    given[:, first] = model.sample(20)[:, first]

    x = model.sample(20, given=given)

    known = ~given.isnan()
    assert torch.equal(x[known], given[known])
    given[17, model.ordering(1)[-1]] = 1
    given[17, model.ordering(1)[0]] = math.nan
    with pytest.raises(ValueError, match="given row 17 fixes"):
        model.sample(20, given=given)
