import json
import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from ar_models.families.independent import Independent
from ar_models.tables.columns import IN_SUPPORT, MISSING, UNSEEN, VIOLATION
from ar_models.tables.derived_column import Candidate, DerivedColumn, derived_column
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.formulas.arithmetic import LinearFormula
from ar_models.tables.formulas.date_part import DatePart
from ar_models.tables.formulas.equality import Equality
from ar_models.tables.formulas.formula import Formula
from tests.support.columns import fit_columns
from tests.support.constraints import (
    SETTINGS,
    constrained_encoder,
    fares,
    fares_density,
    fares_encoder,
)
from tests.support.models import perturbed

EXACT = ("paid", "grade", "total", "fare", "note", "again", "level", "kind")


def gate(encoder: TableEncoder, x: np.ndarray, name: str) -> np.ndarray:
    """Return the variable that says which constraint of a column holds."""
    found: np.ndarray = x[:, encoder.span(encoder.names.index(name)).start]
    return found


def test_rows_come_back_with_their_nulls_and_violations() -> None:
    table = fares()
    encoder = fares_encoder(table)
    again = encoder.decode(encoder.encode(table).x)
    assert again.schema.equals(table.schema)
    for name in EXACT:
        assert again[name].equals(table[name]), name
    copied = np.asarray(table["copy"]) == np.asarray(table["distance"])
    still = np.asarray(again["copy"]) == np.asarray(again["distance"])
    assert np.array_equal(copied, still)
    np.testing.assert_allclose(again["copy"], table["copy"], rtol=1e-4)


def test_parts_of_dates_are_derived_and_dates_are_derived_from_them() -> None:
    rng = np.random.default_rng(0)
    when = pa.array(rng.integers(1_300_000_000, 1_500_000_000, 900), pa.timestamp("s"))
    day = DatePart("when", "date").evaluate({"when": when}, pa.date32())
    number = day.cast(pa.int32()).to_numpy()
    late = np.where(rng.random(900) < 0.1, number + 3, number).astype(np.int32)
    due = (number + 30).astype(np.int32)
    table = pa.table(
        {
            "due": pa.array(due, pa.date32()),
            "paid": pa.array(late, pa.date32()),
            "day": day,
            "when": when,
        }
    )
    constraints: dict[str, list[Formula]] = {
        "day": [DatePart("when", "date")],
        "due": [LinearFormula((("day", 1.0),), 30.0, decimals=0)],
        "paid": [Equality("day")],
    }
    encoder = constrained_encoder(table, constraints)
    assert [c.form for c in encoder.columns] == ["derived"] * 3 + ["calendar"]
    assert encoder.decode(encoder.encode(table).x).equals(table)


def test_the_gate_has_the_codes_of_the_training_rows_only() -> None:
    encoder = fares_encoder(fares())
    columns = {c.name: c for c in encoder.columns if isinstance(c, DerivedColumn)}
    assert len(columns) == 6
    for name in ("grade", "total", "again", "level"):
        assert not columns[name].has_exceptions
        assert [v.size for v in columns[name].variables] == [1]
    paid = columns["paid"]
    assert paid.gate_labels == ["no constraint", "total", "fare"]
    assert paid.variables[0].size == 3
    assert paid.variables[1].parent == 0
    assert encoder.variables[encoder.value_variable(0)].name == "paid"
    assert 0.8 < paid.rate(0) < 0.9


def test_a_violation_follows_the_gate_or_is_out_of_support() -> None:
    encoder = fares_encoder(fares())
    row = fares().slice(0, 1).to_pylist()[0] | {"fare": 5, "tip": 2, "total": 7}
    rows = [row | {"paid": 7}, row | {"paid": 5}, row | {"paid": 6}, row | {"total": 8}]
    encoded = encoder.encode(pa.Table.from_pylist(rows, fares().schema))
    assert gate(encoder, encoded.x, "paid")[:3].tolist() == [1, 2, 0]
    total = encoder.names.index("total")
    assert encoded.out_of_support[:, total].tolist() == [IN_SUPPORT] * 3 + [VIOLATION]
    rows = encoder.columns[total].rows
    assert encoded.log_abs_det[3, total] == pytest.approx(-2 * math.log(rows + 2))


def test_where_no_constraint_is_defined_nothing_is_violated() -> None:
    encoder = fares_encoder(fares())
    row = fares().slice(0, 1).to_pylist()[0]
    rows = [row | {"fare": None}, row | {"total": None}]
    encoded = encoder.encode(pa.Table.from_pylist(rows, fares().schema))
    total = encoder.names.index("total")
    assert encoded.out_of_support[:, total].tolist() == [UNSEEN, MISSING]


def test_all_reasons_together_have_probability_one() -> None:
    for column in fares_encoder(fares()).columns:
        inside, *reasons = np.exp(column.log_masses).tolist()
        assert inside + sum(reasons) == pytest.approx(1, abs=1e-15)


def test_a_copy_of_a_real_has_a_probability_and_others_a_density() -> None:
    encoder = fares_encoder(fares())
    encoded = encoder.encode(fares())
    j = encoder.names.index("copy")
    copied = gate(encoder, encoded.x, "copy") == 1
    inside = math.log1p(-encoder.columns[j].out_of_support_mass)
    assert np.allclose(encoded.log_abs_det[copied, j], inside)
    assert np.abs(encoded.log_abs_det[~copied, j] - inside).min() > 1e-9
    at = encoder.span(j)
    assert np.isnan(encoded.x[copied, at.start + 1 : at.stop]).all()


def test_tables_of_other_types_are_encoded_alike() -> None:
    table = fares()
    encoder = fares_encoder(table)
    other = pa.schema(
        [
            ("paid", pa.float64()),
            ("grade", pa.dictionary(pa.int8(), pa.string())),
            ("fare", pa.int32()),
            ("sub_grade", pa.large_string()),
            ("note", pa.float64()),
        ]
    )
    cast = pa.table(
        {
            name: table[name].cast(other.field(name).type)
            if name in other.names
            else table[name]
            for name in table.column_names
        }
    )
    np.testing.assert_array_equal(encoder.encode(cast).x, encoder.encode(table).x)


@pytest.mark.parametrize("family", sorted(SETTINGS))
def test_samples_keep_constraints_at_the_learned_rate(family: str) -> None:
    density = fares_density(family)
    x = density.model.sample(500, generator=torch.Generator().manual_seed(3)).numpy()
    rows = density.encoder.decode(x, seed=1)
    assert np.array_equal(
        np.asarray(rows["total"]), np.asarray(rows["fare"]) + np.asarray(rows["tip"])
    )
    assert rows["again"].equals(rows["note"])
    assert rows["grade"].to_pylist() == [w[0] for w in rows["sub_grade"].to_pylist()]
    held = gate(density.encoder, x, "copy") == 1
    same = np.asarray(rows["copy"]) == np.asarray(rows["distance"])
    assert np.array_equal(held, same)
    assert 0 < held.mean() < 1


def test_an_untrained_model_keeps_the_rates_of_the_training_rows() -> None:
    encoder = fares_encoder(fares())
    model = Independent(encoder.variables, Independent.Settings())
    x = model.sample(3000, generator=torch.Generator().manual_seed(0)).numpy()
    for name in ("copy", "paid"):
        column = encoder.columns[encoder.names.index(name)]
        assert isinstance(column, DerivedColumn)
        held = gate(encoder, x, name) > 0
        share = 1 - column.exceptions / column.rows
        # Above five standard deviations with odds below 1e-6.
        assert abs(held.mean() - share) < 5 * math.sqrt(share * (1 - share) / 3000)


@pytest.mark.parametrize("family", sorted(SETTINGS))
def test_a_column_has_the_log_probability_of_its_variables(family: str) -> None:
    density = fares_density(family)
    rows = density.encoder.decode(density.encoder.encode(fares(40)).x)
    encoded = density.encoder.encode(rows)
    torch.manual_seed(0)
    whole = density.column_log_prob(rows)
    own = density.model.variable_log_prob(torch.from_numpy(encoded.x)).detach().numpy()
    j = density.columns.index("copy")
    span = density.encoder.span(j)
    expected = own[:, span].sum(axis=1) + encoded.log_abs_det[:, j]
    if not density.model.is_bound:
        np.testing.assert_allclose(whole[:, j], expected, rtol=1e-4, atol=1e-4)
    assert np.isfinite(whole).all()


@pytest.mark.parametrize("family", ["made", "eonade", "nade"])
def test_only_the_mass_of_hidden_matches_is_lost(family: str) -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 3, 400)
    b = np.where(rng.random(400) < 0.7, a, rng.integers(0, 3, 400))
    table = pa.table({"b": b, "a": a, "c": rng.integers(0, 2, 400)})
    kinds = {name: {"kind": "categorical"} for name in "abc"}
    encoder = constrained_encoder(table, {"b": [Equality("a")]}, columns=kinds)
    model = perturbed(family, encoder.variables, 0.1, **SETTINGS[family]).eval()
    values = np.meshgrid(range(3), range(3), range(2))
    every = pa.table({n: v.ravel() for n, v in zip("bac", values, strict=True)})
    encoded = encoder.encode(every)
    held = gate(encoder, encoded.x, "b") == 1
    # The same rows with the value after code 0, though it equals the candidate.
    hidden = encoded.x[held]
    hidden[:, 0] = 0
    hidden[:, 1] = encoder.encode_plain(0, every.filter(pa.array(held))).x[:, 0]
    with torch.inference_mode():
        kept = model.log_prob(torch.from_numpy(encoded.x)).exp().sum()
        lost = model.log_prob(torch.from_numpy(hidden)).exp().sum()
    assert 0 < lost < 0.5
    assert float(kept + lost) == pytest.approx(1, abs=1e-5)


def test_an_encoder_with_constraints_survives_its_own_json() -> None:
    encoder = fares_encoder(fares())
    again = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again.columns == encoder.columns
    assert again.fingerprint == encoder.fingerprint


def test_constraints_that_hold_nowhere_or_too_often_are_refused() -> None:
    column = fit_columns(pa.table({"a": [1, 2, 3]})).columns[0]
    for first in (0, 4):
        with pytest.raises(ValueError, match=f"constraints hold in {first} of 3"):
            derived_column(column, [Candidate(Equality("b"), 3, first)])
