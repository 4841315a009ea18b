"""Networks over the places of a sequence: the laws, and what is particular."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from ar_models.families.base import ancestral_sample
from ar_models.families.registry import build
from ar_models.layers.sequence_tokens import group_order, split_list_variables
from ar_models.variables import Variable
from tests.support.models import (
    SEQUENCE_KINDS,
    SMALL_SEQUENCE_MODELS,
    check_gradients,
    draw,
    random_sequence_model,
)

CASES = [
    pytest.param(family, kind, id=f"{family}-{kind}")
    for family, kind in itertools.product(SMALL_SEQUENCE_MODELS, SEQUENCE_KINDS)
]
every_case = pytest.mark.parametrize(("family", "kind"), CASES)


def every_row(variables: tuple[Variable, ...]) -> Tensor:
    """All values that discrete variables can take together."""
    rows: list[list[float]] = [[]]
    for v in variables:
        longer = []
        for row in rows:
            absent = v.parent is not None and not bool(
                v.is_present(torch.tensor(row[v.parent]))
            )
            codes = range(v.size) if v.size else range(int(v.upper or 0) + 1)
            values = [math.nan] if absent else [float(code) for code in codes]
            longer += [[*row, value] for value in values]
        rows = longer
    return torch.tensor(rows)


@every_case
def test_probabilities_sum_to_one(family: str, kind: str) -> None:
    model = random_sequence_model(family, kind)
    total = model.log_prob(every_row(SEQUENCE_KINDS[kind])).logsumexp(0)
    torch.testing.assert_close(total, torch.tensor(0.0), atol=1e-5, rtol=0)


@every_case
def test_a_conditional_sees_only_the_past(family: str, kind: str) -> None:
    model = random_sequence_model(family, kind)
    x = draw(model, 64)
    other = draw(model, 64, seed=1)
    order = model.ordering().tolist()
    before = model.conditionals(x).parameters
    for rank, i in enumerate(order):
        later = order[rank:]
        changed = x.clone()
        changed[:, later] = other[:, later]
        after = model.conditionals(changed).parameters
        own = model.conditionals(x).layout.variable_index == i
        # How long the batch is may change sums in the last digits.
        torch.testing.assert_close(after[:, own], before[:, own], atol=1e-5, rtol=0)


@every_case
def test_a_conditional_sees_the_past(family: str, kind: str) -> None:
    model = random_sequence_model(family, kind)
    x = draw(model, 256)
    order = model.ordering().tolist()
    owner = model.conditionals(x).layout.variable_index
    for one, other in itertools.pairwise(order):
        present = ~(x[:, one].isnan() | x[:, other].isnan())
        if not bool(present.any()):
            continue
        # Any other value: of a length one that leaves the next variable there.
        changed = x[present].clone()
        changed[:, one] = torch.where(changed[:, one] == 1, 2, 1)
        before = model.conditionals(x[present]).parameters[:, owner == other]
        after = model.conditionals(changed).parameters[:, owner == other]
        assert not torch.equal(before, after), (one, other)


@every_case
def test_fast_samples_equal_plain_ones(family: str, kind: str) -> None:
    model = random_sequence_model(family, kind)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(40, model.dim, 2, generator=generator)
    given = torch.full((40, model.dim), math.nan)

    fast, plain = model.draw(noise, given), ancestral_sample(model, noise, given)

    assert torch.equal(fast.nan_to_num(-1), plain.nan_to_num(-1))


@every_case
def test_sample_frequencies_follow_the_probabilities(family: str, kind: str) -> None:
    # Odds of a false alarm below 1e-6: a chi-square of the commonest rows.
    model = random_sequence_model(family, kind)
    x = draw(model, 20_000).nan_to_num(-1)
    rows = every_row(SEQUENCE_KINDS[kind])
    expected = model.log_prob(rows).exp().detach() * len(x)
    seen, counts = x.unique(dim=0, return_counts=True)
    table = {tuple(r): int(c) for r, c in zip(seen.tolist(), counts, strict=True)}
    found = torch.tensor([table.get(tuple(r), 0) for r in rows.nan_to_num(-1).tolist()])
    common = expected > 20
    square = ((found - expected) ** 2 / expected)[common].sum()
    degrees = int(common.sum())
    assert float(square) < degrees + 6 * math.sqrt(2 * degrees)
    assert int(found.sum()) == len(x)


@every_case
def test_every_parameter_gets_a_gradient(family: str, kind: str) -> None:
    model = random_sequence_model(family, kind)
    x = draw(model, 256)
    check_gradients(model, x)


@every_case
def test_a_value_does_not_depend_on_the_batch(family: str, kind: str) -> None:
    model = random_sequence_model(family, kind)
    x = draw(model, 32)
    alone = torch.cat([model.log_prob(row.unsqueeze(0)) for row in x])
    torch.testing.assert_close(model.log_prob(x), alone, atol=1e-5, rtol=1e-5)
    features = torch.cat([model.features(row.unsqueeze(0)) for row in x])
    torch.testing.assert_close(model.features(x), features, atol=1e-5, rtol=1e-5)


@every_case
def test_config_and_weights_rebuild_the_model(family: str, kind: str) -> None:
    model = random_sequence_model(family, kind)
    x = draw(model, 16)
    other = build(family, SEQUENCE_KINDS[kind], **model.config()).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.log_prob(x), model.log_prob(x))


def test_what_stands_before_the_places_is_taken_first() -> None:
    head, places = split_list_variables(SEQUENCE_KINDS["letters"])
    assert head == [4, 0]
    assert places == [[1], [2], [3]]
    assert group_order(SEQUENCE_KINDS["letters"]) == [1, 0]


@pytest.mark.parametrize("family", SMALL_SEQUENCE_MODELS)
def test_a_table_without_lists_has_no_places(family: str) -> None:
    with pytest.raises(ValueError, match="exactly one column of lists, got 0"):
        build(family, (Variable("a", "binary", 0, size=2),), steps="places")


@pytest.mark.parametrize("family", SMALL_SEQUENCE_MODELS)
def test_places_have_one_order(family: str) -> None:
    with pytest.raises(ValueError, match="ordering 'natural'"):
        build(family, SEQUENCE_KINDS["letters"], steps="places", ordering="random")
