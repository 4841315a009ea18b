"""Tests of log-probabilities of models that know different values."""

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from ar_models.density.table_density import TableDensity
from ar_models.families.independent import Independent
from ar_models.families.registry import build
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.formulas.equality import Equality
from ar_models.tables.formulas.formula import Formula
from ar_models.tables.real_column import RealColumn
from ar_models.variables import Variable
from tasks.evaluation.comparable import Comparable, check_same_columns, comparable
from tasks.runtime.model_store import load
from tests.support.columns import fit_columns
from tests.support.constraints import constrained_encoder, fares, fares_encoder
from tests.support.model_pair import ModelPair
from tests.support.tables import TRAINED, code

SHARES = {"a": 0.5, "b": 0.25, "c": 0.15, "d": 0.1}
"""Shares of the words in the training rows of both models."""


def words(*known: str, spare: tuple[str, ...] = ()) -> CodeColumn:
    """Return a column that knows some words; the others of `SHARES` are rare."""
    rare = tuple(word for word in SHARES if word not in known)
    shares = [SHARES.get(word, 0.0) for word in known]
    specials = spare + (("rare",) if rare else ())
    shares += [0.0] * len(spare) + ([1 - sum(shares)] if rare else [])
    shares = [max(share, 1e-6) for share in shares]
    return CodeColumn(
        "word",
        "categorical",
        "string",
        TRAINED,
        (code("word", len(shares), frequencies=tuple(shares)),),
        values=known,
        specials=specials,
        rare=rare,
        rare_counts=(1,) * len(rare),
    )


def amounts(*atoms: float) -> RealColumn:
    """Return a column from 1 to 100 with atoms of a tenth of the rows each."""
    codes = 2 + len(atoms)
    shares = (1 - 0.1 * len(atoms) - 1e-6, 1e-6, *[0.1] * len(atoms))
    return RealColumn(
        "amount",
        "real",
        "double",
        TRAINED,
        (
            code("amount.state", codes, frequencies=shares),
            Variable("amount", "real", group=0, parent=0, knots=(-2, -1, 0, 1, 2)),
        ),
        states=("regular", "missing"),
        atoms=atoms,
        knots=(1, 2, 5, 20, 100),
        scores=(-2, -1, 0, 1, 2),
    )


def density(*columns: CodeColumn | RealColumn, family: str = "") -> TableDensity:
    """Return a model of the columns, of independent columns if there is no family."""
    torch.manual_seed(0)
    types = {"string": pa.string(), "double": pa.float64()}
    schema = pa.schema([(column.name, types[column.type]) for column in columns])
    encoder = TableEncoder(columns, (), schema)
    if not family:
        return TableDensity(
            encoder, Independent(encoder.variables, Independent.Settings())
        )
    model = build(family, encoder.variables, hidden=16)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return TableDensity(encoder, model)


def log_prob(view: Comparable, rows: pa.Table) -> np.ndarray:
    ((part, encoded),) = view.density.batches(rows)
    return view.column_log_prob(part, encoded)


def of_words(*cells: str | None) -> pa.Table:
    return pa.table({"word": pa.array(cells, pa.string())})


def test_rare_values_that_are_not_told_apart_are_no_merit() -> None:
    coarse, fine = density(words("a", "b")), density(words("a", "b", "c", "d"))
    rows = of_words("a", "b", "c", "d", "c")
    own = [each.column_log_prob(rows) for each in (coarse, fine)]
    assert (own[0] - own[1])[2:].min() > 0.4
    first, second = comparable(coarse, fine)
    assert first.adjusted_columns == second.adjusted_columns == ("word",)
    found = log_prob(first, rows), log_prob(second, rows)
    np.testing.assert_allclose(*found, atol=0.01)
    np.testing.assert_allclose(found[1][2:, 0], math.log(0.25), atol=0.01)
    np.testing.assert_allclose(found[1][:2], own[1][:2])


@pytest.mark.parametrize("family", ["made", "eonade", "transformer"])
def test_what_is_told_apart_has_probability_one_in_all(family: str) -> None:
    """Over each value that both know, any other one, and a missing one."""
    both = density(words("a", "b", "e"), family=family), density(words("b", "c", "a"))
    for view in (*comparable(*both), *comparable(*both[::-1])):
        events = log_prob(view, of_words("a", "b", "never", None))
        # What else is out of support has the last third of its own mass.
        rest = view.density.encoder.columns[0].out_of_support_mass / 3
        assert np.exp(events).sum() + rest == pytest.approx(1, abs=1e-5)
        other = log_prob(view, of_words("c", "d", "e", "never"))
        np.testing.assert_allclose(other, other[0, 0], rtol=1e-6)


def test_a_missing_value_is_told_apart_by_who_never_saw_one() -> None:
    knows = words("a", "b", "c", "d", spare=("missing",))
    first, second = comparable(density(knows), density(words("a", "b", "c", "d")))
    assert first.adjusted_columns == ()
    mass = second.density.encoder.columns[0].out_of_support_mass
    found = second.density.column_log_prob(of_words(None))
    assert found[0, 0] == pytest.approx(math.log(mass / 3))


def test_a_repeated_value_counts_as_probability_in_both() -> None:
    with_atom, without = density(amounts(0.0, 7.5)), density(amounts(0.0))
    first, second = comparable(with_atom, without)
    assert (first.adjusted_columns, second.adjusted_columns) == ((), ("amount",))
    rows = pa.table({"amount": [0.0, 3.0, 7.5, None]})
    added = log_prob(second, rows) - without.column_log_prob(rows)
    # The least distance of 0, 1, 2, 5, 7.5, 20 and 100.
    np.testing.assert_allclose(added[:, 0], [0, 0, math.log(1.0), 0], atol=1e-6)
    narrow = comparable(with_atom, density(replace(amounts(0.0), atoms=(1.25,))))[1]
    assert narrow.atoms[0].width == 0.25


def test_columns_are_matched_by_name() -> None:
    first, second = comparable(
        density(words("a", "b"), amounts(0.0, 7.5)),
        density(amounts(0.0), words("a", "b", "c", "d")),
    )
    assert (list(first.shared), list(second.shared)) == ([0], [1])
    assert (list(first.atoms), list(second.atoms)) == ([], [0])


def test_models_that_know_the_same_are_left_alone() -> None:
    first, second = comparable(density(words("a", "b")), density(words("b", "a")))
    assert first.adjusted_columns == second.adjusted_columns == ()


def test_models_of_different_columns_ask_for_a_person(pair: ModelPair) -> None:
    strong = load(pair.models["strong"])
    assert check_same_columns(strong, strong).passed
    encoder = strong.encoder
    fewer = type(encoder)(encoder.columns[:-1], encoder.left_out, encoder.schema)
    check = check_same_columns(TableDensity(fewer, strong.model), strong)
    assert (check.passed, check.needs_review) == (False, True)
    gone = encoder.columns[-1]
    assert f"{gone.name} is {gone.type} in the champion" in check.remark
    assert "not modelled in the challenger" in check.remark


def test_rare_codes_are_not_compared_with_numbers(pair: ModelPair) -> None:
    strong = load(pair.models["strong"])
    encoder = strong.encoder
    (j,) = (k for k, c in enumerate(encoder.columns) if c.name == "count")
    number = encoder.columns[j]
    fields = {name: getattr(number, name) for name in ("name", "type", "rows")}
    coded = CodeColumn(
        kind="categorical",
        variables=(code("count", 2),),
        values=(1,),
        specials=("rare",),
        **fields,
    )
    columns = (*encoder.columns[:j], coded, *encoder.columns[j + 1 :])
    other = type(encoder)(columns, encoder.left_out, encoder.schema)
    model = Independent(other.variables, Independent.Settings())
    check = check_same_columns(TableDensity(other, model), strong)
    assert (check.passed, check.needs_review) == (False, True)
    assert f"count is {number.type} in the champion" in check.remark
    assert "with rare values as one in the challenger" in check.remark
    again = check_same_columns(TableDensity(other, model), TableDensity(other, model))
    assert again.passed


def test_a_value_that_one_model_copies_is_a_probability_in_both() -> None:
    table = fares()
    derived = density_of(fares_encoder(table))
    plain = density_of(fit_columns(table))
    first, second = comparable(derived, plain)
    assert first.adjusted_columns == second.adjusted_columns == ("copy",)
    j = derived.columns.index("copy")
    added = [
        log_prob(view, table)[:, j] - view.density.column_log_prob(table)[:, j]
        for view in (first, second)
    ]
    copied = np.asarray(table["copy"]) == np.asarray(table["distance"])
    width = first.constraints[j].width
    gaps = np.diff(np.sort(np.asarray(table["copy"])))
    # Values are as close where they are densest.
    assert gaps.min() < width < np.median(gaps)
    # Both give densities where the value is not a copy.
    np.testing.assert_allclose(added[0], 0, atol=1e-5)
    expected = np.where(copied, math.log(width), 0)
    np.testing.assert_allclose(added[1], expected, atol=1e-5)
    assert check_same_columns(derived, plain).passed


def test_values_that_a_model_calls_rare_are_one_after_the_gate_too() -> None:
    rng = np.random.default_rng(0)
    a = rng.choice(list("abcdefgh"), 500, p=[0.3, 0.3, 0.3, *[0.02] * 5])
    b = np.where(rng.random(500) < 0.5, a, rng.permutation(a))
    table = pa.table({"a": a, "b": b})
    constraints: dict[str, list[Formula]] = {"b": [Equality("a")]}
    fine = constrained_encoder(table, constraints)
    coarse = constrained_encoder(table, constraints, min_category_count=50)
    first, second = comparable(density_of(fine), density_of(coarse))
    assert first.adjusted_columns == second.adjusted_columns == ("a", "b")
    found = [log_prob(view, table)[:, 1] for view in (first, second)]
    # Random weights aside, both tell the same values apart.
    np.testing.assert_allclose(*found, atol=0.05)


def density_of(encoder: TableEncoder) -> TableDensity:
    """Return a model of independent columns with the shares of the training rows."""
    return TableDensity(encoder, Independent(encoder.variables, Independent.Settings()))
