"""Small models with random weights, and the cases over which laws are tested."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

from ar_models.families.base import AutoregressiveModel
from ar_models.families.ensemble import Ensemble
from ar_models.families.made import MADE
from ar_models.families.registry import MODELS, build
from ar_models.variables import Variable, binary_variables
from tests.support.marginal_weights import with_marginal_weights

SMALL: dict[str, dict[str, Any]] = {
    "eonade": {"hidden": 40, "layers": 1, "components": 3, "embedding": 4},
    "fvsbn": {"components": 3, "embedding": 4},
    "independent": {"components": 3, "embedding": 4},
    "made": {"hidden": 40, "components": 3, "embedding": 4, "direct": True},
    "nade": {"hidden": 40, "components": 3, "embedding": 4},
    "pixelcnn": {"hidden": 8, "layers": 3, "kernel": 3, "embedding": 4},
    "rnn": {"hidden": 16, "layers": 2, "components": 3, "embedding": 4},
    "transformer": {
        "hidden": 16,
        "layers": 2,
        "heads": 2,
        "components": 3,
        "embedding": 4,
    },
    "vae": {
        "latent": 3,
        "hidden": 40,
        "samples": 16,
        "components": 3,
        "embedding": 4,
    },
}
"""Arguments with which each family is small enough to test."""

DEAF = {"independent"}
"""Families whose conditionals do not depend on other variables."""

ONE_ORDERING = {"independent", "pixelcnn", "vae"}
"""Families without orderings."""

IMAGES = {"pixelcnn"}
"""Families that require variables of one kind and size."""

BOUNDS = {family for family, model in MODELS.items() if model.is_bound}
"""Families that compute a bound of the density."""

MIXED = with_marginal_weights(
    Variable("a", "binary", 0, size=2, frequencies=(0.6, 0.4)),
    Variable("b.state", "categorical", 1, size=3, frequencies=(0.5, 0.3, 0.2)),
    Variable(
        "b",
        "integer",
        1,
        parent=1,
        location=2.0,
        scale=2.0,
        lower=0.0,
        atoms=(0.0, 3.0),
        frequencies=(0.2, 0.2, 0.6),
        knots=(0.0, 1.0, 2.0, 4.0, 9.0),
    ),
    Variable("c", "categorical", 2, size=4),
    Variable("d", "real", 3, location=1.0, scale=3.0, knots=(-5.0, 0.0, 1.0, 2.0, 6.0)),
    Variable("e", "categorical", 4, size=70),
    Variable("f.state", "categorical", 5, size=2),
    Variable("f", "real", 5, parent=6, parent_code=1),
    Variable("g", "integer", 6, scale=5.0),
)

DISCRETE = with_marginal_weights(
    Variable("a", "binary", 0, size=2),
    Variable("b.state", "categorical", 1, size=3),
    Variable("b", "integer", 1, parent=1, lower=0.0, upper=4.0, atoms=(2.0,)),
    Variable("c", "categorical", 2, size=4),
)

CODES = with_marginal_weights(
    Variable("a", "binary", 0, size=2),
    Variable("b", "categorical", 1, size=4),
    Variable("c", "categorical", 2, size=9),
)

CALENDAR = (
    Variable("a", "categorical", 0, size=3),
    Variable("t.state", "categorical", 1, size=2),
    Variable("t.year", "categorical", 1, size=4, parent=1),
    Variable(
        "t.month",
        "categorical",
        1,
        size=12,
        parent=1,
        cyclic=True,
        location=11_000.0,
        scale=400.0,
        date=(1999, 1, 1),
        date_distances=(1, 0, -1),
    ),
    Variable(
        "t.day",
        "categorical",
        1,
        size=31,
        parent=1,
        location=11_000.0,
        scale=400.0,
        knots=(10_600.0, 11_000.0, 12_000.0),
        date=(1999, 1, 1),
        date_distances=(2, 1, 0),
    ),
    Variable("t.hour", "categorical", 1, size=24, parent=1, cyclic=True),
    Variable("b", "binary", 2, size=2),
)
"""A nullable column of timestamps between two other columns."""

NESTED = (
    Variable("a.state", "categorical", 0, size=2),
    Variable(
        "a",
        "integer",
        0,
        parent=0,
        location=40.0,
        scale=60.0,
        lower=0.0,
        upper=999.0,
        edges=tuple(
            float(edge) for edge in (*range(0, 100, 10), *range(100, 1001, 100))
        ),
        knots=(0.0, 10.0, 50.0, 700.0),
    ),
    Variable("b", "integer", 1, scale=5.0),
    Variable(
        "c",
        "integer",
        2,
        location=3.0,
        scale=4.0,
        edges=tuple(float(edge) for edge in (*range(-10, 11), 20, 30, 40)),
    ),
    Variable("d", "binary", 3, size=2),
    Variable("e", "categorical", 4, size=4),
)

KINDS = {"binary": binary_variables(6), "mixed": MIXED, "nested": NESTED}
ALIKE = {"binary"}

ORDERINGS: dict[str, dict[str, Any]] = {
    "natural": {"ordering": "natural", "orderings": 1},
    "random": {"ordering": "random", "orderings": 3, "seed": 1},
}

CASES = [
    (family, ordering)
    for family, ordering in itertools.product(MODELS, ORDERINGS)
    if ordering == "natural" or family not in ONE_ORDERING
]


def every(names: str, cases: Iterable[tuple[str, ...]]) -> pytest.MarkDecorator:
    """Parametrise a test by the cases that their family supports.

    Args:
        names: Names of the arguments.
        cases: Values of the arguments; the first is the family, and the last one the
            kind of variables where the test has one.
    """
    return pytest.mark.parametrize(
        names.split(),
        [
            pytest.param(*case, id="-".join(case))
            for case in cases
            if case[0] not in IMAGES or case[-1] in ALIKE
        ],
    )


FAMILIES = [(family,) for family in MODELS]
LEARNED = [
    (family, kind)
    for family, kind in itertools.product(MODELS, KINDS)
    if family not in IMAGES or kind in ALIKE
]
KINDS_OF_FAMILIES = list(itertools.product(MODELS, KINDS))
KINDS_OF_CASES = [(*case, kind) for case in CASES for kind in KINDS]


def exact(cases: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the cases of families that compute exact densities."""
    return [case for case in cases if case[0] not in BOUNDS]


every_family = every("family", FAMILIES)
every_exact_family = every("family", exact(FAMILIES))
every_case = every("family ordering", CASES)
every_exact_case = every("family ordering", exact(CASES))
every_kind_of_family = every("family kind", KINDS_OF_FAMILIES)
every_kind_of_case = every("family ordering kind", KINDS_OF_CASES)
every_exact_kind_of_case = every("family ordering kind", exact(KINDS_OF_CASES))


def randomize(model: AutoregressiveModel) -> AutoregressiveModel:
    """Draw all weights of a model at random, so that none is zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            wide = parameter.dim() > 1
            scale = 1.5 / math.sqrt(parameter.shape[-1]) if wide else 0.5
            parameter.copy_(torch.randn_like(parameter) * scale)
    return model


def random_model(
    family: str,
    variables: tuple[Variable, ...],
    ordering: str = "natural",
    seed: int = 0,
) -> AutoregressiveModel:
    """Return a small model with random weights, in eval mode."""
    torch.manual_seed(seed)
    settings = dict(SMALL[family])
    if family in IMAGES:
        height = 2 - len(variables) % 2
        settings |= {"height": height, "width": len(variables) // height}
    if family not in ONE_ORDERING:
        settings |= ORDERINGS[ordering]
    model = randomize(build(family, variables, **settings))
    return model.eval()


MADE_VARIABLES = (
    Variable("a.state", "categorical", 0, size=3),
    Variable("a", "real", 0, parent=0, knots=(-2.0, -1.0, 0.0, 1.0, 2.0)),
    Variable("b", "integer", 1, atoms=(0.0, 1.0), lower=0.0, scale=3.0),
    Variable("c", "categorical", 2, size=80),
    *(Variable(f"x{i}", "binary", 3 + i, size=2) for i in range(20)),
)


def random_made(
    variables: tuple[Variable, ...] = MADE_VARIABLES,
    **settings: Any,  # of the types that the settings have
) -> MADE:
    """Return a MADE with random weights, in eval mode."""
    torch.manual_seed(0)
    model = MADE(variables, MADE.Settings(**settings))
    randomize(model)
    return model.eval()


def perturbed(
    family: str,
    variables: tuple[Variable, ...],
    spread: float = 0.3,
    **settings: Any,  # of the types that the settings have
) -> Any:  # a model of the family's class
    """Return a model with normal noise added to its weights, in eval mode."""
    torch.manual_seed(0)
    model = build(family, variables, **settings)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * spread)
    return model.eval()


def draw(model: AutoregressiveModel, count: int = 32, seed: int = 0) -> Tensor:
    """Draw rows that depend on the seed alone."""
    return model.sample(count, generator=seeded(seed))


def check_gradients(model: AutoregressiveModel, x: Tensor) -> None:
    """Check that every parameter gets a gradient over a step of each ordering."""
    model.train()
    for _ in range(model.orderings):
        model(x).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool(parameter.grad.any()), name


SEQUENCE_ROWS = (
    Variable("a", "binary", 0, size=2),
    Variable("b.state", "categorical", 1, size=3),
    Variable("b", "integer", 1, parent=1),
    Variable("c", "real", 2),
    Variable("d", "categorical", 3, size=70),
)
"""Variables of rows for the networks that read a row as a sequence."""


def seeded(seed: int) -> torch.Generator:
    """Return a generator of random numbers."""
    return torch.Generator().manual_seed(seed)


def every_vector() -> Tensor:
    """Return all values of `DISCRETE`, (count, 4)."""
    rows = itertools.product(range(2), range(3), [*range(5), math.nan], range(4))
    # `b` is absent exactly where its state is not 0.
    return torch.tensor([row for row in rows if (row[1] != 0) == math.isnan(row[2])])


def observations(model: AutoregressiveModel, count: int, seed: int = 0) -> Tensor:
    """Return samples in which a tenth of the values are absent."""
    generator = torch.Generator().manual_seed(seed)
    x = model.sample(count, generator=generator)
    return x.masked_fill(torch.rand(x.shape, generator=generator) < 0.1, math.nan)


ENSEMBLE_FAMILIES = ("made", "eonade", "rnn", "independent")
MEMBERS = 3
"""Number of models in a test ensemble."""


def ensemble(family: str, variables: Any = MIXED) -> Ensemble:
    """Return an ensemble of models with different random weights."""
    torch.manual_seed(1)
    members = []
    for seed in range(MEMBERS):
        ordering = "natural" if family == "independent" else "random"
        members.append(random_model(family, variables, ordering, seed=seed))
    return Ensemble(members).eval()


SMALL_SEQUENCE_MODELS: dict[str, dict[str, Any]] = {
    "rnn": {"hidden": 12, "layers": 2},
    "transformer": {"hidden": 12, "layers": 2, "heads": 2},
}


def sequence(
    places: int, place: tuple[Variable, ...], *, shortest: int = 0
) -> tuple[Variable, ...]:
    """Return the variables of a list column and of a binary column `a`."""
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
SEQUENCE_KINDS = {
    "letters": sequence(3, LETTER),
    "notes": sequence(2, NOTES),
    "fixed": tuple(
        Variable(f"s[{k}]", "categorical", 0, size=3, place=k) for k in range(4)
    ),
}


def random_sequence_model(family: str, kind: str) -> AutoregressiveModel:
    """Return a small model over the places of a list, with random weights."""
    torch.manual_seed(0)
    model = build(
        family, SEQUENCE_KINDS[kind], **SMALL_SEQUENCE_MODELS[family], steps="places"
    )
    return randomize(model).eval()
