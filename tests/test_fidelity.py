"""Synthetic against real rows: measures with known answers, the job and its page."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import small_table

from ar_models.columns import CodeColumn
from ar_models.density import TableDensity
from ar_models.encoder import Image, TableEncoder
from ar_models.made import MADE
from ar_models.variables import Variable
from tasks import fidelity, fidelity_page, storage
from tasks.config import FidelityConfig
from tasks.fidelity import Tables


def table(rows: int, seed: int, **changes: Any) -> pa.Table:
    """Dependent columns of every kind; `changes` replace some."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, rows)
    names = np.array(["a", "b", "c"])
    columns = {
        "kind": pa.array(names[kind]),
        "code": pa.array(kind * 10),
        "size": pa.array(rng.normal(kind, 1.0), mask=rng.random(rows) < 0.1),
        "flag": pa.array(rng.random(rows) < 0.2 + 0.3 * kind),
        "day": pa.array(19000 + rng.integers(0, 500, rows), pa.int32()).cast(
            pa.date32()
        ),
    }
    return pa.table({**columns, **changes})


def test_equal_tables_are_perfectly_accurate() -> None:
    real = table(500, 0)
    one, two = fidelity.accuracies(real, real)

    assert set(one) == set(real.column_names)
    assert len(two) == 10
    assert all(value == pytest.approx(1) for value in [*one.values(), *two.values()])


def test_accuracy_is_one_minus_the_total_variation() -> None:
    real = pa.table({"a": ["x"] * 60 + ["y"] * 40, "b": ["u"] * 50 + ["v"] * 50})
    other = pa.table({"a": ["x"] * 30 + ["z"] * 20, "b": [None] * 25 + ["v"] * 25})

    one, two = fidelity.accuracies(real, other)

    # a: x 0.6 against 0.6, y 0.4 against 0, z 0 against 0.4.
    assert one["a"] == pytest.approx(0.6)
    # b: u 0.5 against 0, v 0.5 against 0.5, null 0 against 0.5.
    assert one["b"] == pytest.approx(0.5)
    # xu 0.5, xv 0.1, yv 0.4 against x-null 0.5, xv 0.1, zv 0.4: 0.1 in common.
    assert two["a", "b"] == pytest.approx(0.1)


def test_numbers_are_compared_by_deciles_and_the_rest_by_frequency() -> None:
    real = pa.table({"n": np.arange(1000.0), "w": [f"w{k % 20}" for k in range(1000)]})
    upper = pa.table({"n": np.arange(500.0, 1000.0), "w": ["w19"] * 500})

    one, _ = fidelity.accuracies(real, upper)

    assert one["n"] == pytest.approx(0.5, abs=0.002)
    # Of 20 equally frequent words ten are told apart, and w19 is one of the others.
    assert one["w"] == pytest.approx(0.5)


def test_shuffled_columns_keep_marginals_and_lose_pairs() -> None:
    real = table(4000, 0)
    rng = np.random.default_rng(1)
    shuffled = pa.table(
        {n: real[n].take(pa.array(rng.permutation(4000))) for n in real.column_names}
    )

    one, two = fidelity.accuracies(real, shuffled)

    assert min(one.values()) == pytest.approx(1)
    assert two["kind", "code"] == pytest.approx(1 / 3, abs=0.03)
    assert fidelity.two_sample_auc(real, shuffled) > 0.8


def test_rows_of_one_source_cannot_be_told_apart() -> None:
    # The AUC of 2,000 against 2,000 rows has a standard error of about 0.009.
    auc = fidelity.two_sample_auc(table(2000, 0), table(2500, 1))
    assert 0.45 < auc < 0.55


def test_the_target_is_learned_from_synthetic_rows() -> None:
    tables = Tables(table(1500, 0), table(1500, 1), table(1500, 2))
    rng = np.random.default_rng(3)
    noise = pa.array(rng.random(1500) < 0.5)
    useless = Tables(tables.train, tables.held_out, table(1500, 2, flag=noise))

    for target, measure, floor in (("kind", "auc", 0.99), ("size", "r2", 0.2)):
        found = fidelity.downstream(tables, target)
        assert found["measure"] == measure
        assert found["synthetic"] > floor
        assert found["synthetic"] == pytest.approx(found["train"], abs=0.1)
    assert fidelity.downstream(tables, "flag")["synthetic"] > 0.6
    assert fidelity.downstream(useless, "flag")["synthetic"] < 0.6
    single = Tables(tables.train, tables.held_out, table(99, 2, kind=["a"] * 99))
    assert fidelity.downstream(single, "kind")["synthetic"] == 0.5


def test_copies_of_train_rows_are_nearer_to_them() -> None:
    train, held_out = table(800, 0), table(800, 1)

    fresh = fidelity.closest(Tables(train, held_out, table(800, 2)))
    copied = fidelity.closest(Tables(train, held_out, train))

    assert fresh["share"] == pytest.approx(0.5, abs=0.07)
    assert copied["share"] > 0.95
    assert copied["copies"] == 1
    assert fresh["copies"] < 0.2


def test_distances_are_sums_over_columns() -> None:
    reference = pa.table({"n": [0.0, 1.0, 2.0, 3.0], "w": ["a", "b", "a", "b"]})
    points = fidelity.positions(reference, [reference])[0]
    squares = ((points[:, None] - points[None]) ** 2).sum(-1)

    # Ranks are 1/8, 3/8, 5/8 and 7/8; words that differ have the distance 1.
    assert squares[0, 1] == pytest.approx(1 / 16 + 1)
    assert squares[0, 2] == pytest.approx(1 / 4)
    found = fidelity.nearest(points[:1], points[1:])
    assert found[0] == pytest.approx(1 / 4)


def test_dependences_that_break_are_told() -> None:
    train, held_out = table(900, 0), table(900, 1)
    kinds = np.array(table(1000, 2)["kind"].to_pylist(), object)
    kinds[:100] = np.where(kinds[:100] == "a", "b", "a")
    synthetic = table(1000, 2, kind=pa.array(kinds))

    found = fidelity.broken_dependences(Tables(train, held_out, synthetic))

    pairs = {(d["column"], d["determines"]): d for d in found}
    assert set(pairs) == {("kind", "code"), ("code", "kind")}
    for each in pairs.values():
        assert each["held_out"] == 0
        assert each["synthetic"] == pytest.approx(0.1)


# --- the job --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared(
    small_model: str, prepared: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the job says of rows that the model draws."""
    config = FidelityConfig(samples="auto", target="late", rows=600)
    output = str(tmp_path_factory.mktemp("fidelity") / "{key}")
    return fidelity.fidelity(small_model, prepared, output, config)


def test_the_job_measures_rows_drawn_now(compared: dict[str, Any]) -> None:
    found = storage.read_json(storage.join(compared["path"], fidelity.FIDELITY))

    assert found["rows"]["synthetic"] == 600
    assert found["rows"]["held_out"] > 100
    assert set(compared["metrics"]) == {
        "samples/univariate_accuracy",
        "samples/bivariate_accuracy",
        "samples/two_sample_auc",
        "samples/closest_record_share",
        "samples/wrong_rows",
        "samples/wrong_combinations",
        "samples/log_prob_gap",
        "samples/downstream_auc",
    }
    assert all(math.isfinite(value) for value in compared["metrics"].values())
    assert compared["metrics"]["samples/univariate_accuracy"] > 0.6
    assert compared["metrics"]["samples/wrong_rows"] == 0
    low, high = found["log_prob"]["held_out_interval"]
    assert low < found["log_prob"]["held_out"] < high
    assert not compared["done"]


def test_the_page_needs_nothing_else(compared: dict[str, Any]) -> None:
    page = Path(compared["page"]).read_text()

    assert page.startswith("<!doctype html>")
    assert "Two-sample AUC" in page and "data:image/png;base64," in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


def test_a_block_of_pixels_is_a_row_and_a_picture() -> None:
    pixels = [f"x{i}" for i in range(4)]
    columns = tuple(coded(name) for name in pixels)
    schema = pa.schema([pa.field(name, pa.int64()) for name in pixels])
    encoder = TableEncoder(columns, (), schema, (Image(tuple(pixels), (2, 2, 1)),))
    density = TableDensity(encoder, MADE(encoder.variables, hidden=8).eval())
    real = density.sample(200, seed=1)
    tables = Tables(real, real, real.slice(0, 100))
    found = fidelity.measure(tables, density, FidelityConfig())

    page = fidelity_page.render("key", "shapes", density, real, real, found)

    assert "<title>shapes: synthetic rows</title>" in page
    assert "<h2>Images</h2>" in page and page.count("<img") == 1
    (named,) = (line for line in page.splitlines() if "least alike: x" in line)
    assert "x0 … x3" in named


def coded(name: str) -> CodeColumn:
    """A column of noughts and ones."""
    variable = Variable(name, "binary", 0, size=2)
    return CodeColumn(name, "binary", "int64", 10, (variable,), (0, 1))


def test_samples_of_a_file_are_compared_and_not_twice(
    small_model: str, prepared: str, tmp_path: Path
) -> None:
    rows = TableDensity.load(Path(small_model)).sample(300, seed=3)
    broken = rows.set_column(0, "kind", pa.array(["new"] * 300))
    pq.write_table(broken, tmp_path / "samples.parquet")
    config = FidelityConfig(samples=str(tmp_path / "samples.parquet"))

    result = fidelity.fidelity(small_model, prepared, str(tmp_path / "out"), config)

    assert result["metrics"]["samples/wrong_rows"] == 1
    found = storage.read_json(storage.join(result["path"], fidelity.FIDELITY))
    assert found["support"]["wrong_cells"]["kind"]["unseen"] == 300
    assert found["downstream"] is None
    again = fidelity.fidelity(small_model, prepared, str(tmp_path / "out"), config)
    assert again["done"] and again["metrics"] == result["metrics"]


def test_what_cannot_be_compared_is_named(
    small_model: str, prepared: str, tmp_path: Path
) -> None:
    pq.write_table(small_table(5).drop_columns(["paid"]), tmp_path / "few.parquet")
    output = str(tmp_path / "out")
    few = FidelityConfig(samples=str(tmp_path / "few.parquet"))
    with pytest.raises(ValueError, match="few.parquet: column 'paid' is missing"):
        fidelity.fidelity(small_model, prepared, output, few)
    wrong = FidelityConfig(samples="auto", target="lat")
    with pytest.raises(ValueError, match="target: 'lat' is no modelled column"):
        fidelity.fidelity(small_model, prepared, output, wrong)
    assert not Path(output).exists()
