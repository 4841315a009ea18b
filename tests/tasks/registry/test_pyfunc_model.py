"""Tests of the pyfunc: the density's numbers, from any frame."""

import sys
import uuid
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from ar_models.density.saved_form import save_density
from ar_models.density.table_density import TableDensity
from ar_models.families.eonade import EoNADE
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.key_columns import with_new_keys
from ar_models.tables.real_column import RealColumn
from ar_models.variables import Variable
from tasks.registry import (
    pyfunc_logging,
    tracking,
)
from tasks.registry.promotion import Promotion
from tasks.registry.pyfunc_model import (
    check_exact,
    parse_text,
    parse_times,
    to_array,
    to_arrow,
    with_index,
)
from tests.support.densities import sample_table, score_table
from tests.support.model_pair import ModelPair


def test_the_pyfunc_scores_as_the_density_does(
    pyfunc: Any, density: TableDensity, frame: pd.DataFrame
) -> None:
    scored = pyfunc.predict(frame)
    table = score_table(density, pa.Table.from_pandas(frame))
    for name in ("log_prob", "anomaly_score", "p_value", "severity"):
        np.testing.assert_allclose(scored[name], table[name], atol=1e-5)
    assert scored["explanation"][0][0] == table["explanation"][0].as_py()[0]


def test_the_pyfunc_takes_other_orders_extra_columns_and_nulls(
    pyfunc: Any, frame: pd.DataFrame
) -> None:
    usual = pyfunc.predict(frame)["log_prob"]
    other = frame[frame.columns[::-1]].assign(extra=1)
    other["count"] = other["count"].astype("Int64")
    other["kind <b>"] = other["kind <b>"].astype("category")
    np.testing.assert_allclose(pyfunc.predict(other)["log_prob"], usual, atol=1e-5)
    without = frame.assign(count=np.nan, large=None)
    assert np.isfinite(pyfunc.predict(without)["log_prob"]).all()


def test_the_pyfunc_names_a_missing_column(pyfunc: Any, frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"the columns \['count'\] are missing"):
        pyfunc.predict(frame.drop(columns="count"))


def test_the_pyfuncs_params_choose_the_output(
    pyfunc: Any, density: TableDensity, frame: pd.DataFrame
) -> None:
    alone = pyfunc.predict(frame, params={"output": "log_prob"})
    assert list(alone) == ["log_prob"]
    np.testing.assert_allclose(alone["log_prob"], pyfunc.predict(frame)["log_prob"])
    embedded = pyfunc.predict(frame, params={"output": "embed"})
    features = density.features(pa.Table.from_pandas(frame))
    np.testing.assert_allclose(np.stack(embedded["features"]), features, atol=1e-5)
    params = {"output": "sample", "rows": 20, "seed": 3, "log_prob": True}
    drawn = pyfunc.predict(pd.DataFrame(), params=params)
    expected = sample_table(density, 20, seed=3, log_prob=True)
    expected = with_new_keys(expected, density.encoder.keys, "pattern", 0, 20, 3)
    expected = expected.to_pandas()
    pd.testing.assert_frame_equal(drawn, expected, check_exact=False, atol=1e-5)
    columns = pyfunc.predict(frame, params={"output": "column_log_prob"})
    assert list(columns) == density.columns
    np.testing.assert_allclose(columns.sum(axis=1), alone["log_prob"])
    few = pyfunc.predict(
        frame, params={"statistic": "surprisal", "explain": "none", "threshold": 50.0}
    )
    np.testing.assert_allclose(few["anomaly_score"], -few["log_prob"])
    assert [len(reasons) for reasons in few["explanation"]] == [0] * len(frame)
    assert 0.2 < few["is_anomaly"].mean() < 0.8
    with pytest.raises(ValueError, match="output must be"):
        pyfunc.predict(frame, params={"output": "scores"})


def test_the_pyfunc_takes_frames_of_arrow_and_single_rows(
    pyfunc: Any, frame: pd.DataFrame
) -> None:
    usual = pyfunc.predict(frame, params={"output": "log_prob"})["log_prob"]
    arrow = frame.convert_dtypes(dtype_backend="pyarrow")
    found = pyfunc.predict(arrow, params={"output": "log_prob"})["log_prob"]
    np.testing.assert_allclose(found, usual, atol=1e-5)
    one = pyfunc.predict(frame[3:4], params={"output": "log_prob"})["log_prob"]
    np.testing.assert_allclose(one, usual[3:4], atol=1e-5)
    assert len(pyfunc.predict(frame[:0])) == 0


class Stream:
    """Rows that are known by their Arrow stream alone, as Polars' are."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("output", ["score", "log_prob", "embed", "impute"])
def test_the_pyfunc_takes_whatever_holds_rows(
    pyfunc: Any, frame: pd.DataFrame, output: str
) -> None:
    params = {"output": output, "explain": "none"}
    usual = pyfunc.predict(frame, params=params)
    table = pa.Table.from_pandas(frame)
    views = table.cast(
        pa.schema(
            [
                f.with_type(pa.string_view()) if f.type == pa.string() else f
                for f in table.schema
            ]
        )
    )
    given = [table, Stream(views), frame.to_dict("records"), frame.to_dict("list")]
    for rows in given:
        found = pyfunc.predict(rows, params=params)
        assert list(found) == list(usual)
        numbers = usual.select_dtypes("number").columns
        for name in numbers:
            np.testing.assert_allclose(found[name], usual[name], atol=1e-5)
        assert numbers.any() or output == "embed"


def test_the_index_is_that_of_the_frame_alone(pyfunc: Any, frame: pd.DataFrame) -> None:
    shuffled = frame.sample(frac=1, random_state=0)
    params = {"output": "log_prob"}
    found = pyfunc.predict(pa.Table.from_pandas(shuffled), params=params)
    assert found.index.equals(pd.RangeIndex(len(frame)))


@pytest.mark.parametrize("type", [pa.uuid(), pa.binary(16)])
def test_uuids_may_be_text(type: pa.DataType) -> None:
    known = uuid.UUID(int=7)
    found = parse_text(pa.array([str(known), None, known.hex.upper()]), type)
    assert found.type == type
    stored = found.storage if type == pa.uuid() else found
    assert stored.to_pylist() == [known.bytes, None, known.bytes]
    with pytest.raises(pa.ArrowInvalid, match="'no' is not a UUID"):
        parse_text(pa.array(["no"]), type)
    objects = to_array(pd.Series([known, None], dtype=object), type, True)
    assert objects.to_pylist() == [known.bytes, None]


def test_large_integers_with_nulls_are_exact() -> None:
    numbers = pd.Series([2**60 + 1, None], dtype="Int64")
    assert to_array(numbers, pa.int64(), True).to_pylist() == [2**60 + 1, None]


def test_the_types_of_the_columns_are_in_the_metadata(
    pyfunc: Any, density: TableDensity
) -> None:
    types = pyfunc.metadata.metadata["inputs"]
    assert set(types) == set(density.columns)
    assert types["amount"] == "double"
    assert "Any" not in str(pyfunc.metadata.signature)


def test_the_pyfunc_imputes(
    pair: ModelPair, density: TableDensity, frame: pd.DataFrame, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    anyhow = TableDensity(
        density.encoder, EoNADE(density.encoder.variables, EoNADE.Settings(hidden=8))
    )
    save_density(anyhow, tmp_path)
    run_id = tracking.start("imputing", "key", {}, {})
    logged = pyfunc_logging.log_pyfunc(str(tmp_path), anyhow, pair.prepared, run_id)
    model = mlflow.pyfunc.load_model(logged.model_uri)
    gaps = frame[density.columns].assign(amount=np.nan)
    gaps["kind <b>"] = None
    params = {"output": "impute", "method": "median", "details": True}
    filled = model.predict(gaps, params=params)
    assert not filled[density.columns].isna().any(axis=None)
    known = gaps["count"].notna()
    np.testing.assert_array_equal(filled["count"][known], gaps["count"][known])
    assert {cell["column"] for cell in filled["imputed"][0]} >= {"amount", "kind <b>"}
    drawn = [
        model.predict(gaps, params={"output": "impute", "seed": seed})["amount"]
        for seed in (1, 1, 2)
    ]
    assert drawn[0].equals(drawn[1])
    assert not drawn[0].equals(drawn[2])
    unknown = model.predict(
        gaps, params={"output": "log_prob", "missing": "marginalise"}
    )
    expected = anyhow.log_prob(to_arrow(gaps, anyhow.encoder), missing="marginalise")
    np.testing.assert_allclose(unknown["log_prob"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("seen", "nulls"), [(("nan",), 0), (("missing",), 1), (("missing", "nan"), 1)]
)
def test_nan_in_a_frame_means_what_it_meant_in_training(
    seen: tuple[str, ...], nulls: int
) -> None:
    codes = Variable("a.state", "categorical", 0, size=1 + len(seen))
    value = Variable("a", "real", 0, parent=0)
    states = ("regular", *seen)
    column = RealColumn(
        "a", "real", "double", 9, (codes, value), states, (), (0, 1), (0, 1)
    )
    encoder = TableEncoder((column,), (), pa.schema([("a", pa.float64())]))
    table = to_arrow(pd.DataFrame({"a": [1.0, np.nan]}), encoder)
    assert table["a"].null_count == nulls


def test_columns_may_be_the_index(pyfunc: Any, frame: pd.DataFrame) -> None:
    usual = pyfunc.predict(frame, params={"output": "log_prob"})["log_prob"]
    indexed = frame.set_index(["time", "count"])
    found = pyfunc.predict(indexed, params={"output": "log_prob"})
    np.testing.assert_allclose(found["log_prob"], usual, atol=1e-5)
    pd.testing.assert_index_equal(found.index, indexed.index)
    unnamed = pd.DataFrame({"a": [1.0]}, index=[7])
    assert with_index(unnamed, ["__index_level_0__"])["__index_level_0__"][7] == 7


def test_numbers_may_be_words(pyfunc: Any, frame: pd.DataFrame) -> None:
    usual = pyfunc.predict(frame, params={"output": "log_prob"})["log_prob"]
    words = frame.assign(
        count=frame["count"].astype("Float64").astype("string"),
        amount=frame["amount"].map(repr),
        large=frame["large"].astype("string"),
    )
    found = pyfunc.predict(words, params={"output": "log_prob"})["log_prob"]
    np.testing.assert_allclose(found, usual, atol=1e-5)


@pytest.mark.parametrize(
    ("word", "type"),
    [("12.50", pa.decimal128(6, 2)), ("true", pa.bool_()), ("7", pa.uint8())],
)
def test_words_have_the_type_of_training(word: str, type: pa.DataType) -> None:
    found = parse_text(pa.array([word, None]).dictionary_encode(), type)
    assert found.type == type
    assert found.null_count == 1
    with pytest.raises(pa.ArrowInvalid):
        parse_text(pa.array(["x"]), type)


def test_floats_are_no_integers_where_they_are_not_exact() -> None:
    check_exact("a", pa.array([2.0**53, float("nan"), None, np.inf]), pa.int64())
    check_exact("a", pa.array([2.0**60]), pa.float64())
    with pytest.raises(ValueError, match="column 'a': holds 1.15.* pandas' Int64"):
        check_exact("a", pa.array([None, 2.0**60]), pa.int64())


@pytest.mark.parametrize("output", ["score", "log_prob", "column_log_prob", "embed"])
def test_what_is_predicted_of_rows_has_their_index(
    pyfunc: Any, frame: pd.DataFrame, output: str
) -> None:
    shuffled = frame.sample(frac=1, random_state=0)
    found = pyfunc.predict(shuffled, params={"output": output})
    pd.testing.assert_index_equal(found.index, shuffled.index)


def test_moments_may_be_words(pyfunc: Any, frame: pd.DataFrame) -> None:
    usual = pyfunc.predict(frame, params={"output": "log_prob"})["log_prob"]
    for words in (
        frame["time"].astype(str),
        frame["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        frame["time"].dt.strftime("%Y-%m-%dT%H:%M:%S.000+00:00").astype("category"),
    ):
        found = pyfunc.predict(frame.assign(time=words), params={"output": "log_prob"})
        np.testing.assert_allclose(found["log_prob"], usual, atol=1e-5)
    with pytest.raises(ValueError, match="column 'time': cannot be read as timestamp"):
        pyfunc.predict(frame.assign(time="yesterday"))


@pytest.mark.parametrize(
    ("words", "type", "expected"),
    [
        ("2024-02-29", pa.date32(), pa.timestamp("us")),
        ("2024-02-29T12:30:00", pa.timestamp("s"), pa.timestamp("s")),
        ("2024-02-29 12:30:00.5", pa.timestamp("ms"), pa.timestamp("ms")),
        ("2024-02-29T12:30:00Z", pa.timestamp("ns"), pa.timestamp("ns", "UTC")),
        ("12:30", pa.time32("s"), pa.time32("s")),
        ("12:30:00.5", pa.time64("ns"), pa.time64("ns")),
        ("2024-02-29", pa.string(), pa.string()),
        ("2024-02-29", pa.duration("s"), pa.string()),
    ],
)
def test_words_are_moments_where_the_column_was_of_moments(
    words: str, type: pa.DataType, expected: pa.DataType
) -> None:
    found = parse_times(pa.array([words, None]), type)
    assert found.type == expected
    assert found.null_count == 1


def test_a_family_with_an_ordering_imputes(pyfunc: Any, frame: pd.DataFrame) -> None:
    gaps = frame[:20].assign(count=np.nan)
    filled = pyfunc.predict(gaps, params={"output": "impute"})
    assert filled["count"].notna().all()


def test_many_rows_are_worked_on_in_parts(pyfunc: Any, frame: pd.DataFrame) -> None:
    module = sys.modules[type(pyfunc.unwrap_python_model()).__module__]
    many = pd.concat([frame] * 3, ignore_index=True)
    usual = pyfunc.predict(many, params={"output": "log_prob"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS", 70)
        parts = pyfunc.predict(many, params={"output": "log_prob"})
    pd.testing.assert_frame_equal(parts, usual, check_exact=False, atol=1e-5)


def test_two_versions_in_one_process_have_their_own_code(
    first: Promotion, frame: pd.DataFrame, tmp_path: Path
) -> None:
    models = []
    other_code = (
        "TableDensity.column_log_prob = lambda *_, **__: np.full((1, 1), 7.0)\n"
    )
    for number, line in enumerate(["", other_code]):
        folder = tmp_path / str(number)
        mlflow.artifacts.download_artifacts("models:/alone/1", dst_path=str(folder))
        with open(
            folder / "code" / "ar_models" / "density" / "table_density.py", "a"
        ) as file:
            file.write(line)
        models.append(mlflow.pyfunc.load_model(str(folder)))
    before = sys.modules["ar_models.density.table_density"]
    params = {"output": "log_prob"}
    usual, changed = (m.predict(frame[:1], params=params) for m in models)
    assert changed["log_prob"][0] == 7.0
    assert usual["log_prob"][0] != 7.0
    assert sys.modules["ar_models.density.table_density"] is before
    own = [model.unwrap_python_model().density for model in models]
    assert len({TableDensity, *map(type, own)}) == 3
    expected = models[0].predict(frame)
    other = own[1]
    for weight in other.model.parameters():
        weight.data.zero_()
    other.rankings.clear()
    pd.testing.assert_frame_equal(models[0].predict(frame), expected)
