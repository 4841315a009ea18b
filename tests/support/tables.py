"""Small tables for tests."""

import numpy as np
import pyarrow as pa

from ar_models.tables.code_column import CodeColumn
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.left_out import constant
from ar_models.tables.number_column import NumberColumn
from ar_models.tables.real_column import RealColumn
from ar_models.variables import Variable

TRAINED = 1000
"""Training rows of `table_encoder`: a value out of support has probability 1/1002."""


def small_table(rows: int = 1500, seed: int = 0) -> pa.Table:
    """Return a table of dependent columns with nulls and repeated values."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, rows)
    paid = np.where(rng.random(rows) < 0.4, 0.0, np.exp(kind + rng.normal(size=rows)))
    count = rng.poisson(3 + 5 * kind)
    return pa.table(
        {
            "id": pa.array([f"row-{seed}-{i}" for i in range(rows)]),
            "kind": pa.array(np.array(["a", "b", "c"])[kind]),
            "count": pa.array(count, mask=rng.random(rows) < 0.1),
            "paid": pa.array(paid),
            "late": pa.array(count > 8),
        }
    )


def code(name: str, size: int, **options: object) -> Variable:
    return Variable(name, "categorical", group=0, size=size, **options)  # type: ignore[arg-type]


def table_encoder() -> TableEncoder:
    """Return an encoder of codes, integers, times, reals and a constant."""
    columns = (
        CodeColumn(
            "carrier",
            "categorical",
            "string",
            TRAINED,
            (code("carrier", 3, frequencies=(0.5, 0.3, 0.2)),),
            values=("UA", "AA", "B6"),
        ),
        NumberColumn(
            "delay",
            "integer",
            "int64",
            TRAINED,
            (
                code("delay.state", 2, frequencies=(0.8, 0.2)),
                Variable(
                    "delay",
                    "integer",
                    group=0,
                    parent=0,
                    location=10,
                    scale=20,
                    lower=-60,
                    upper=1000,
                    knots=(-20, 0, 5, 20, 100),
                ),
            ),
            states=("regular", "missing"),
        ),
        NumberColumn(
            "time",
            "timestamp",
            "timestamp[s]",
            TRAINED,
            (
                Variable(
                    "time", "integer", 0, location=15700, scale=50, knots=(15600, 15800)
                ),
                code("time.hour", 24),
                code("time.minute", 60),
                code("time.second", 60),
            ),
            radices=(24, 60, 60),
        ),
        RealColumn(
            "amount",
            "real",
            "double",
            TRAINED,
            (
                code("amount.state", 3, frequencies=(0.5, 0.3, 0.2)),
                Variable("amount", "real", group=0, parent=0, knots=(-2, -1, 0, 1, 2)),
            ),
            states=("regular", "missing"),
            atoms=(0.0,),
            knots=(1, 2, 5, 20, 100),
            scores=(-2, -1, 0, 1, 2),
        ),
    )
    schema = pa.schema(
        [
            ("carrier", pa.string()),
            ("delay", pa.int64()),
            ("time", pa.timestamp("s")),
            ("year", pa.int16()),
            ("amount", pa.float64()),
        ]
    )
    year = constant("year", pa.array([2013], pa.int16()), "constant")
    return TableEncoder(columns, (year,), schema)
