"""Networks over the places of a sequence: the laws, and what is particular."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ar_models.autoregressive import AutoregressiveModel, draw_plainly
from ar_models.families import MODELS
from ar_models.steps import divide, head_first
from ar_models.variables import Variable

SMALL: dict[str, dict[str, Any]] = {
    "rnn": {"hidden": 12, "layers": 2},
    "transformer": {"hidden": 12, "layers": 2, "heads": 2},
}


def sequence(
    places: int, place: tuple[Variable, ...], *, shortest: int = 0
) -> tuple[Variable, ...]:
    """A column `a`, and one of lists: a length, then `place` so many times."""
    length = Variable(
        "s.length", "integer", 0, lower=float(shortest), upper=float(places)
    )
    variables = [length]
    for k in range(places):
        first = len(variables)
        for v in place:
            chained = {"parent": 0, "parent_code": k + 1, "at_least": True}
            if v.parent is not None:
                chained = {"parent": first + v.parent, "parent_code": v.parent_code}
            own = {**v.to_dict(), **chained, "name": f"s[{k}].{v.name}", "place": k}
            variables.append(Variable.from_dict(own))
    return (*variables, Variable("a", "binary", 1, size=2))


LETTER = (Variable("letter", "categorical", 0, size=3),)
NOTES = (
    Variable("one", "binary", 0, size=2),
    Variable("state", "categorical", 0, size=2),
    Variable("two", "categorical", 0, size=3, parent=1),
)
KINDS = {
    "letters": sequence(3, LETTER),
    "notes": sequence(2, NOTES),
    "fixed": tuple(
        Variable(f"s[{k}]", "categorical", 0, size=3, place=k) for k in range(4)
    ),
}
CASES = [
    pytest.param(family, kind, id=f"{family}-{kind}")
    for family, kind in itertools.product(SMALL, KINDS)
]
every_case = pytest.mark.parametrize(("family", "kind"), CASES)


def build(family: str, kind: str) -> AutoregressiveModel:
    """A model over places, with weights drawn at random."""
    torch.manual_seed(0)
    model = MODELS[family](KINDS[kind], **SMALL[family], steps="places")
    with torch.no_grad():
        for parameter in model.parameters():
            wide = parameter.dim() > 1
            scale = 1.5 / math.sqrt(parameter.shape[-1]) if wide else 0.5
            parameter.copy_(torch.randn_like(parameter) * scale)
    return model.eval()


def draw(model: AutoregressiveModel, count: int, seed: int = 0) -> Tensor:
    return model.sample(count, generator=torch.Generator().manual_seed(seed))


def every_row(variables: tuple[Variable, ...]) -> Tensor:
    """All values that discrete variables can take together."""
    rows: list[list[float]] = [[]]
    for v in variables:
        longer = []
        for row in rows:
            absent = v.parent is not None and not bool(
                v.present(torch.tensor(row[v.parent]))
            )
            codes = range(v.size) if v.size else range(int(v.upper or 0) + 1)
            values = [math.nan] if absent else [float(code) for code in codes]
            longer += [[*row, value] for value in values]
        rows = longer
    return torch.tensor(rows)


@every_case
def test_probabilities_sum_to_one(family: str, kind: str) -> None:
    model = build(family, kind)
    total = model.log_prob(every_row(KINDS[kind])).logsumexp(0)
    torch.testing.assert_close(total, torch.tensor(0.0), atol=1e-5, rtol=0)


@every_case
def test_a_conditional_sees_only_the_past(family: str, kind: str) -> None:
    model = build(family, kind)
    x = draw(model, 64)
    other = draw(model, 64, seed=1)
    order = model.ordering().tolist()
    before = model.conditionals(x).parameters
    for rank, i in enumerate(order):
        later = order[rank:]
        changed = x.clone()
        changed[:, later] = other[:, later]
        after = model.conditionals(changed).parameters
        own = model.conditionals(x).layout.owner == i
        # How long the batch is may change sums in the last digits.
        torch.testing.assert_close(after[:, own], before[:, own], atol=1e-5, rtol=0)


@every_case
def test_a_conditional_sees_the_past(family: str, kind: str) -> None:
    model = build(family, kind)
    x = draw(model, 256)
    order = model.ordering().tolist()
    owner = model.conditionals(x).layout.owner
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
    model = build(family, kind)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(40, model.dim, 2, generator=generator)
    given = torch.full((40, model.dim), math.nan)

    fast, plain = model.draw(noise, given), draw_plainly(model, noise, given)

    assert torch.equal(fast.nan_to_num(-1), plain.nan_to_num(-1))


@every_case
def test_sample_frequencies_follow_the_probabilities(family: str, kind: str) -> None:
    # Odds of a false alarm below 1e-6: a chi-square of the commonest rows.
    model = build(family, kind)
    x = draw(model, 20_000).nan_to_num(-1)
    rows = every_row(KINDS[kind])
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
    model = build(family, kind)
    x = draw(model, 256)
    model.train()
    model(x).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


@every_case
def test_a_value_does_not_depend_on_the_batch(family: str, kind: str) -> None:
    model = build(family, kind)
    x = draw(model, 32)
    alone = torch.cat([model.log_prob(row.unsqueeze(0)) for row in x])
    torch.testing.assert_close(model.log_prob(x), alone, atol=1e-5, rtol=1e-5)
    features = torch.cat([model.features(row.unsqueeze(0)) for row in x])
    torch.testing.assert_close(model.features(x), features, atol=1e-5, rtol=1e-5)


@every_case
def test_config_and_weights_rebuild_the_model(family: str, kind: str) -> None:
    model = build(family, kind)
    x = draw(model, 16)
    other = MODELS[family](KINDS[kind], **model.config()).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.log_prob(x), model.log_prob(x))


def test_what_stands_before_the_places_is_taken_first() -> None:
    head, places = divide(KINDS["letters"])
    assert head == [4, 0]
    assert places == [[1], [2], [3]]
    assert head_first(KINDS["letters"]) == [1, 0]


@pytest.mark.parametrize("family", SMALL)
def test_a_table_without_lists_has_no_places(family: str) -> None:
    with pytest.raises(ValueError, match="exactly one column of lists, got 0"):
        MODELS[family]((Variable("a", "binary", 0, size=2),), steps="places")


@pytest.mark.parametrize("family", SMALL)
def test_places_have_one_order(family: str) -> None:
    with pytest.raises(ValueError, match="ordering 'natural'"):
        MODELS[family](KINDS["letters"], steps="places", ordering="random")
