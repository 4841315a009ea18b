"""Structs through the jobs: null ones, growing ones, and their names in settings."""

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tasks.config.data import ColumnConfig, DataConfig
from tasks.config.impute import ImputeConfig
from tasks.config.resources import Resources
from tasks.config.sample import SampleConfig
from tasks.config.score import ScoreConfig
from tasks.data import prepare
from tasks.data.datasets import open_dataset
from tasks.data.fragments import read_fragment
from tasks.data.training_data import open_training_data
from tasks.inference import impute, sample, score
from tasks.inference.source import Source
from tasks.registry import pyfunc_logging, tracking
from tasks.runtime import model_store
from tests.support.local_jobs import local_jobs
from tests.support.model_pair import train_small
from tests.support.scoring import read_rows

ROWS = 3000
NULL, EMPTY = 0.2, 0.1
"""Shares of rows without the struct, and with a struct of nulls."""


def orders(rows: int, seed: int) -> pa.Table:
    """Return orders of customers, of which some are unknown and some are empty."""
    rng = np.random.default_rng(seed)
    kind = rng.random(rows)
    old = rng.integers(0, 2, rows)
    customers = [
        None
        if u < NULL
        else {"age": None, "home": None}
        if u < NULL + EMPTY
        else {
            "age": int(20 + 40 * o + n),
            "home": {"city": "old" if o else "new", "zip": f"{10000 + n}"},
        }
        for u, o, n in zip(kind, old, rng.integers(0, 9, rows), strict=True)
    ]
    home = pa.struct([("city", pa.string()), ("zip", pa.string())])
    customer = pa.struct([("age", pa.int64()), ("home", home)])
    amount = rng.normal(size=rows) + 10 * old
    return pa.table(
        {
            "id": pa.array(np.arange(rows)),
            "customer": pa.array(customers, customer),
            "amount": pa.array(amount),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with the orders, and a model of them in `model`."""
    folder = tmp_path_factory.mktemp("structs")
    pq.write_table(orders(ROWS, 0), folder / "orders.parquet")
    pq.write_table(orders(300, 1), folder / "new.parquet")
    with local_jobs():
        data = DataConfig(path=str(folder / "orders.parquet"), id=("id",))
        prepared = prepare.prepare(data, str(folder / "prepared"), Resources()).path
        settings = {"hidden": 32, "components": 2}
        train_small("eonade", prepared, folder / "model", 500, **settings)
        yield folder


def kinds(customers: pa.ChunkedArray) -> tuple[float, float]:
    """Return the shares of null structs and of structs of nulls."""
    there = customers.is_valid()
    empty = pc.and_(there, pc.struct_field(customers, "age").is_null())
    return 1 - pc.mean(there).as_py(), pc.mean(empty).as_py()


def test_samples_have_structs_as_the_data(folder: Path) -> None:
    known = pq.read_table(folder / "orders.parquet")
    config = SampleConfig(rows=2000, log_prob=True)
    output = str(folder / "samples")
    sample.sample(str(folder / "model"), output, config, Resources())
    drawn = read_rows(output)
    names = [n for n in drawn.column_names if n != "log_prob"]
    assert drawn.select(names).schema.remove_metadata().equals(known.schema)
    assert np.isfinite(drawn["log_prob"]).all()
    null, empty = kinds(drawn["customer"])
    assert abs(null - NULL) < 0.05
    assert abs(empty - EMPTY) < 0.05
    # No struct of which one field alone is there, which is nowhere in the data.
    home = pc.struct_field(drawn["customer"], "home")
    assert abs(pc.mean(home.is_null()).as_py() - NULL - EMPTY) < 0.06


def test_imputation_fills_fields_and_keeps_null_structs(folder: Path) -> None:
    new = pq.read_table(folder / "new.parquet")
    output = str(folder / "imputed")
    config = ImputeConfig(details=True)
    path = str(folder / "new.parquet")
    done = impute.impute(str(folder / "model"), path, output, config, Resources())
    filled = read_rows(output)
    customers = filled["customer"]
    assert customers.is_null().to_pylist() == new["customer"].is_null().to_pylist()
    age = pc.struct_field(customers, "age").filter(customers.is_valid())
    assert age.null_count == 0
    _, empty = kinds(new["customer"])
    assert done.filled["customer.age"] == round(empty * len(new))
    for before, after, cells in zip(
        new["customer"].to_pylist(),
        customers.to_pylist(),
        filled["imputed"].to_pylist(),
        strict=True,
    ):
        if before is None or before["age"] is not None:
            assert after == before
            assert not cells


def test_scored_rows_carry_structs_and_name_their_fields(folder: Path) -> None:
    new = pq.read_table(folder / "new.parquet").to_pylist()
    for row in new[:20]:  # the cities of the others' ages
        row["customer"] = {"age": 22, "home": {"city": "old", "zip": "10001"}}
        row["amount"] = 0.0
    schema = orders(1, 0).schema
    pq.write_table(pa.Table.from_pylist(new, schema), folder / "odd.parquet")
    source = Source(str(folder / "odd.parquet"), ("id",), copies_all=True)
    output = str(folder / "scored")
    config = ScoreConfig(explain="all", statistic="leave_one_out")
    score.score(str(folder / "model"), source, output, config, Resources())
    scored = read_rows(output)
    assert scored["customer"].to_pylist() == [row["customer"] for row in new]
    first = [row[0]["column"] for row in scored["explanation"].to_pylist()[:20]]
    assert {"customer.age", "customer.home.city", "amount"} >= set(first)
    part = Source(str(folder / "odd.parquet"), ("customer.age",))
    score.score(str(folder / "model"), part, f"{output}-part", config, Resources())
    ages = read_rows(f"{output}-part")["customer.age"].to_pylist()
    assert ages == [row["customer"] and row["customer"]["age"] for row in new]
    whole = Source(str(folder / "odd.parquet"), ("customer",))
    score.score(str(folder / "model"), whole, f"{output}-whole", config, Resources())
    assert read_rows(f"{output}-whole")["customer"].to_pylist() == [
        row["customer"] for row in new
    ]


def test_the_pyfunc_takes_structs_and_their_fields(folder: Path) -> None:
    model = str(folder / "model")
    density = model_store.load(model)
    run_id = tracking.start("structs", "key", {}, {})
    prepared = str(folder / "prepared")
    logged = pyfunc_logging.log_pyfunc(model, density, prepared, run_id)
    loaded = mlflow.pyfunc.load_model(logged.model_uri)
    new = pq.read_table(folder / "new.parquet")
    expected = density.log_prob(new)
    frame = new.to_pandas()
    params = {"output": "log_prob"}
    found = loaded.predict(frame, params=params)["log_prob"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    flat = density.encoder.flatten(new).to_pandas()
    found = loaded.predict(flat, params=params)["log_prob"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    found = loaded.predict(new, params=params)["log_prob"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    rows = new.to_pylist()
    found = loaded.predict(rows, params=params)["log_prob"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    drawn = loaded.predict(frame, params={"output": "sample", "rows": 50})
    assert {len(row) for row in drawn["customer"] if row is not None} == {2}
    assert drawn["id"].tolist() == list(range(ROWS, ROWS + 50))
    filled = loaded.predict(frame, params={"output": "impute"})
    kept = [row is None for row in filled["customer"]]
    assert kept == [row is None for row in frame["customer"]]
    nothing = frame.assign(customer=None)
    assert np.isfinite(loaded.predict(nothing, params=params)["log_prob"]).all()


def test_fields_may_be_new_or_gone(folder: Path) -> None:
    old = pa.table({"id": [1, 2], "customer": [{"age": 30}, None]})
    later = {"age": 40, "home": {"city": "new"}, "vip": True}
    grown = folder / "grown"
    grown.mkdir()
    pq.write_table(old.slice(0, 0), grown / "0.parquet")
    pq.write_table(old, grown / "1.parquet")
    pq.write_table(pa.table({"id": [3], "customer": [later]}), grown / "2.parquet")
    pq.write_table(pa.table({"id": [4]}), grown / "3.parquet")
    pq.write_table(pa.table({"id": [5], "customer": pa.nulls(1)}), grown / "4.parquet")
    dataset = open_dataset(str(grown), rows_per_fragment=10)
    rows = [row for f in dataset.fragments for row in read_fragment(f).to_pylist()]
    assert [row["customer"] for row in rows] == [True, False, True, False, False]
    assert [row["customer.age"] for row in rows] == [30, None, 40, None, None]
    assert [row["customer.home"] for row in rows] == [False, False, True, False, False]
    assert [row["customer.vip"] for row in rows] == [None, None, True, None, None]
    pq.write_table(pa.table({"id": [6], "customer": ["a"]}), grown / "5.parquet")
    with pytest.raises(
        ValueError, match=r"'customer' is struct in .*0.parquet but string in"
    ):
        open_dataset(str(grown), rows_per_fragment=10)


def test_later_files_may_lack_fields_that_may_be_null(folder: Path) -> None:
    rows = pq.read_table(folder / "new.parquet").to_pylist()
    for row in rows:
        if row["customer"]:
            row["customer"] = {"age": row["customer"]["age"], "vip": True}
    pq.write_table(pa.Table.from_pylist(rows), folder / "later.parquet")
    source = Source(str(folder / "later.parquet"), ("id",))
    output = str(folder / "later")
    score.score(str(folder / "model"), source, output, ScoreConfig(), Resources())
    assert np.isfinite(read_rows(output)["log_prob"]).all()


def test_settings_name_fields_and_structs(folder: Path, tmp_path: Path) -> None:
    data = DataConfig(
        path=str(folder / "orders.parquet"),
        id=("id",),
        exclude=("customer.home",),
        columns={"customer.age": ColumnConfig(kind="categorical")},
    )
    prepared = prepare.prepare(data, str(tmp_path / "prepared"), Resources()).path
    kinds = json.loads(Path(prepared, "_manifest.json").read_text())["columns"]
    assert kinds == {
        "customer": "binary",
        "customer.age": "categorical",
        "amount": "real",
    }
    with pytest.raises(ValueError, match=r"did you mean 'customer\.age'"):
        open_training_data(data.model_copy(update={"exclude": ("customer.ages",)}))


def test_a_field_and_a_column_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.table({"a": [{"b": 1}], "a.b": [2]})
    pq.write_table(table, tmp_path / "clash.parquet")
    message = r"clash\.parquet: column 'a\.b' and field 'b' of the struct 'a'"
    with pytest.raises(ValueError, match=message):
        open_dataset(str(tmp_path), rows_per_fragment=10)
