"""Several models as one: the contract of a family holds, whatever the members."""

import math
from typing import Any

import pytest
import torch

from ar_models.families import registry
from ar_models.families.base import AutoregressiveModel, ancestral_sample
from ar_models.families.ensemble import Ensemble
from tests.support.models import (
    DISCRETE,
    ENSEMBLE_FAMILIES,
    MEMBERS,
    MIXED,
    SMALL,
    ensemble,
    every_vector,
    random_model,
)


def settings(family: str) -> dict[str, Any]:  # arguments of the family
    """Return settings of a small ensemble with two random orderings each."""
    orders = {} if family == "independent" else {"orderings": 2, "ordering": "random"}
    return {**SMALL[family], **orders, "ensemble": MEMBERS}


every_family = pytest.mark.parametrize("family", ENSEMBLE_FAMILIES)


@every_family
def test_probabilities_sum_to_one(family: str) -> None:
    total = ensemble(family, DISCRETE).log_prob(every_vector()).logsumexp(0)
    torch.testing.assert_close(total, torch.tensor(0.0), atol=1e-5, rtol=0)


@every_family
def test_the_density_is_the_mean_of_the_members(family: str) -> None:
    model = ensemble(family)
    x = model.sample(50, generator=torch.Generator().manual_seed(0))

    each = [model.member(k)[0].log_prob(x) for k in range(MEMBERS)]

    mean = torch.stack(each).logsumexp(0) - math.log(MEMBERS)
    torch.testing.assert_close(model.log_prob(x), mean)
    torch.testing.assert_close(model.variable_log_prob(x).sum(-1), mean)
    orderings = [
        model.conditionals(x, k).log_prob(x).sum(-1) for k in range(model.orderings)
    ]
    over = torch.stack(orderings).logsumexp(0) - math.log(model.orderings)
    torch.testing.assert_close(over, mean)


@every_family
def test_rows_are_drawn_from_the_members_in_turn(family: str) -> None:
    model = ensemble(family).double()
    noise = torch.rand(40, model.noise_dim, 2, dtype=torch.float64)
    given = torch.full((40, model.dim), math.nan, dtype=torch.float64)

    for which in range(model.orderings):
        plain = ancestral_sample(model, noise, given, which)
        torch.testing.assert_close(
            model.draw(noise, given, which), plain, equal_nan=True
        )
    first = [model.draw(noise, given, k) for k in range(MEMBERS)]
    assert not torch.equal(first[0].nan_to_num(), first[1].nan_to_num())


@every_family
def test_it_is_rebuilt_from_its_config(family: str) -> None:
    torch.manual_seed(0)
    model = registry.build(family, MIXED, **settings(family)).eval()
    assert isinstance(model, Ensemble)
    assert registry.family_name(model) == family

    again = registry.build(family, MIXED, **model.config()).eval()
    again.load_state_dict(model.state_dict())

    x = model.sample(20)
    assert torch.equal(again.log_prob(x), model.log_prob(x))
    assert torch.equal(again.ordering_table, model.ordering_table)


def test_members_have_weights_and_orderings_of_their_own() -> None:
    model = registry.build("made", MIXED, **settings("made"))
    assert isinstance(model, Ensemble)
    tables = [model.member(k)[0].ordering_table for k in range(MEMBERS)]
    assert not torch.equal(tables[0], tables[1])
    weights = [model.member(k)[0].state_dict()["first.weight"] for k in range(MEMBERS)]
    assert not torch.equal(weights[0], weights[1])


@every_family
def test_every_member_learns_from_every_batch(family: str) -> None:
    model = ensemble(family).train()
    x = random_model("made", MIXED).sample(32)

    for turn in range(2):
        model.zero_grad()
        model.step = turn
        (-model(x).mean()).backward()
        for k in range(MEMBERS):
            of_member = dict(model.member(k)[0].named_parameters())
            assert any(
                p.grad is not None and bool(p.grad.abs().sum() > 0)
                for p in of_member.values()
            )
    assert model.step == 2


def test_training_takes_the_members_orderings_in_turn() -> None:
    model = ensemble("made")
    x = model.sample(16)
    model.train()
    with torch.no_grad():
        each = [
            torch.stack(
                [
                    model.member(k)[0].conditionals(x, which).log_prob(x).sum(-1)
                    for k in range(MEMBERS)
                ]
            ).mean(0)
            for which in range(3)
        ]
        for turn in (0, 1, 2, 0):
            torch.testing.assert_close(model(x), each[turn])


def test_it_is_not_order_agnostic() -> None:
    model: AutoregressiveModel = ensemble("eonade")
    assert not model.order_agnostic
    with pytest.raises(TypeError, match="an order-agnostic model is needed"):
        model.conditionals_given(
            torch.zeros(1, model.dim), torch.zeros(1, model.dim).bool()
        )


def test_one_member_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 members, got 1"):
        Ensemble([random_model("made", MIXED)])
