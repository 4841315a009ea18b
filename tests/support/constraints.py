"""Tables whose columns have constraints, and encoders that know them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.density.table_density import TableDensity
from ar_models.tables.columns import Column
from ar_models.tables.derivations import parent_cells
from ar_models.tables.derived_column import Candidate, derived_column
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.formulas.arithmetic import LinearFormula
from ar_models.tables.formulas.equality import Equality
from ar_models.tables.formulas.formula import Formula, first_match, matches
from ar_models.tables.formulas.keys import keys_of
from ar_models.tables.formulas.lookup_formula import lookup_formula
from ar_models.tables.formulas.prefix import PrefixFormula
from ar_models.tables.trained_cells import as_trained
from tests.support.columns import fit_columns
from tests.support.models import perturbed

ROWS = 1500

SETTINGS: dict[str, dict[str, Any]] = {
    "eonade": {"hidden": 24, "components": 2},
    "fvsbn": {"components": 2},
    "independent": {"components": 2},
    "made": {"hidden": 24, "components": 2},
    "nade": {"hidden": 24, "components": 2},
    "rnn": {"hidden": 12, "components": 2},
    "transformer": {"hidden": 16, "layers": 1, "heads": 2, "components": 2},
    "vae": {"latent": 2, "hidden": 16, "samples": 4, "components": 2},
}
"""Arguments with which each family of tables is small."""


def constrained_encoder(
    table: pa.Table, constraints: Mapping[str, Sequence[Formula]], **settings: Any
) -> TableEncoder:
    """Fit an encoder to all rows of a table, with constraints of some columns."""
    plain = fit_columns(table, **settings)
    columns: list[Column] = []
    for j, column in enumerate(plain.columns):
        formulas = constraints.get(column.name, ())
        if formulas:
            type = plain.type_of(j)
            own, _ = as_trained(table[column.name], type)
            every = [Candidate(formula, 1, 1) for formula in formulas]
            parents = parent_cells(derived_column(column, every), table, plain.schema)
            first = first_match(formulas, parents, own, type)
            candidates = []
            for number, formula in enumerate(formulas, start=1):
                found = matches(formula, formula.evaluate(parents, type), own)
                count = int(np.sum(first == number))
                candidates.append(Candidate(formula, int(found.sum()), count))
            column = derived_column(column, candidates)
        columns.append(column)
    return TableEncoder(tuple(columns), (), plain.schema)


def fares(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """Return rows with constraints that hold always, in most rows, or are undefined.

    The column `total` is always fare + tip, `grade` the first character of
    `sub_grade`; `paid` equals total in nine of ten rows and is sometimes null, `again`
    is a copy of a nullable column, `level` is determined by town and kind, and `copy`
    equals a real column in most rows.
    """
    rng = np.random.default_rng(seed)
    fare, tip = rng.integers(3, 60, rows), rng.integers(0, 12, rows)
    paid = np.where(rng.random(rows) < 0.9, fare + tip, rng.integers(3, 90, rows))
    sub_grade = rng.choice(["A1", "A2", "B1", "C3"], rows)
    town = rng.choice(["x", "y", "z"], rows)
    kind = np.where(town == "z", 0, rng.integers(0, 3, rows))
    distance = rng.lognormal(size=rows)
    copy = np.where(rng.random(rows) < 0.8, distance, rng.lognormal(size=rows))
    note = pa.array(rng.integers(0, 9, rows), mask=rng.random(rows) < 0.3)
    return pa.table(
        {
            "paid": pa.array(paid, mask=rng.random(rows) < 0.05),
            "grade": [word[0] for word in sub_grade],
            "total": fare + tip,
            "fare": fare,
            "sub_grade": sub_grade,
            "tip": tip,
            "note": note,
            "again": note,
            "town": town,
            "level": np.char.str_len(town) * 1.5 + (town == "y") + kind * 0.25,
            "kind": kind,
            "copy": copy,
            "distance": distance,
        }
    )


def fares_constraints(table: pa.Table) -> dict[str, list[Formula]]:
    """Return the formulas of the table `fares`."""
    pairs = table.select(["town", "kind", "level"]).group_by(["town", "kind"])
    levels = pairs.aggregate([("level", "min")])
    keys = [keys_of(levels[name]) for name in ("town", "kind")]
    level = lookup_formula(["town", "kind"], keys, keys_of(levels["level_min"]))
    return {
        "total": [LinearFormula((("fare", 1.0), ("tip", 1.0)), decimals=0)],
        "paid": [Equality("total"), Equality("fare")],
        "grade": [PrefixFormula("sub_grade", 1)],
        "again": [Equality("note")],
        "level": [level],
        "copy": [Equality("distance")],
    }


def fares_encoder(table: pa.Table, **settings: Any) -> TableEncoder:
    """Return the encoder of the table `fares`."""
    return constrained_encoder(table, fares_constraints(table), **settings)


def fares_density(family: str, **settings: Any) -> TableDensity:
    """Return a density of the table `fares` with random weights."""
    encoder = fares_encoder(fares())
    more = SETTINGS[family] | settings
    return TableDensity(encoder, perturbed(family, encoder.variables, 0.1, **more))
