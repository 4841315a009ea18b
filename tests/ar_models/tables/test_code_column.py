import numpy as np
import pyarrow as pa
import pytest

from ar_models.density.table_density import TableDensity
from ar_models.families import registry
from ar_models.tables.columns import UNSEEN
from ar_models.tables.encoder import TableEncoder
from tests.support.columns import fit_columns
from tests.support.densities import (
    sample_table,
)


def test_rare_categories_share_a_code_that_new_ones_take() -> None:
    words = ["a"] * 50 + ["b"] * 30 + ["r1", "r1", "r2", "r3"]
    encoder = fit_columns(pa.table({"a": words}), min_category_count=3)
    assert encoder.labels(0) == ["a", "b", "rare"]
    encoded = encoder.encode(pa.table({"a": ["b", "r2", "new"]}))
    assert encoded.x[:, 0].tolist() == [1, 2, 2]
    assert not encoded.out_of_support.any()
    x = np.full((4000, 1), 2, np.float32)
    drawn = encoder.decode(x, seed=7).column("a")
    assert drawn.equals(encoder.decode(x, seed=7).column("a"))
    assert not drawn.equals(encoder.decode(x, seed=8).column("a"))
    counts = {v["values"].as_py(): v["counts"].as_py() for v in drawn.value_counts()}
    assert set(counts) == {"r1", "r2", "r3"}
    # r1 has half of the rare rows; 2000 are off by 200 with odds below 1e-9.
    assert abs(counts["r1"] - 2000) < 200


def test_rare_categories_can_be_given_but_unknown_ones_cannot() -> None:
    from ar_models.tables.code_column import CodeColumn
    from ar_models.variables import Variable

    column = CodeColumn(
        "town",
        "categorical",
        "string",
        1000,
        (Variable("town", "categorical", 0, size=3),),
        values=("A", "B"),
        specials=("rare",),
        rare=("C", "D"),
        rare_counts=(1, 1),
    )
    encoder = TableEncoder((column,), (), pa.schema([("town", pa.string())]))
    density = TableDensity(
        encoder, registry.build("eonade", encoder.variables, hidden=4)
    )

    rows = sample_table(density, 30, seed=1, given={"town": "C"})

    assert set(rows["town"].to_pylist()) == {"C"}
    with pytest.raises(ValueError, match="'E' is given"):
        sample_table(density, 3, seed=1, given={"town": "E"})


def test_a_date_soon_after_those_of_training_has_the_code_of_the_last_one() -> None:
    days = pa.array(np.repeat(np.array([19_000, 19_001, 19_002], np.int32), 50))
    encoder = fit_columns(pa.table({"d": days.cast(pa.date32())}))
    given = pa.array([19_002, 19_003, 19_030, 19_090, 18_999], pa.int32())
    encoded = encoder.encode(pa.table({"d": given.cast(pa.date32())}))
    assert encoder.columns[0].kind == "categorical"
    assert encoded.out_of_support[:, 0].tolist() == [0, 0, 0, UNSEEN, UNSEEN]
    assert (encoded.x[:3] == encoded.x[0]).all()
