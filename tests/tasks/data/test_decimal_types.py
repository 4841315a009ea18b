from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ar_models.tables.encoder import TableEncoder
from tasks.data.prepared import read_encoder, read_profile
from tests.support.preparing import run_prepare

ROWS = 600


def prepared(folder: Path, table: pa.Table) -> TableEncoder:
    """Prepare a table in two files and return the encoder, read again."""
    (folder / "raw").mkdir()
    half = len(table) // 2
    for k, part in enumerate((table.slice(0, half), table.slice(half))):
        pq.write_table(part, folder / "raw" / f"{k}.parquet")
    run_prepare(folder / "raw", folder / "out")
    return TableEncoder.from_dict(read_encoder(str(folder / "out")).to_dict())


def test_decimals_of_38_digits_are_counted_in_cents(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    net, fee = (rng.lognormal(6, 1, (2, ROWS)) * 100).astype(int)
    cents = {"net": net, "fee": fee, "total": net + fee}
    table = pa.table(
        {
            name: pa.array(
                [Decimal(int(c)).scaleb(-2) for c in values], pa.decimal128(38, 18)
            )
            for name, values in cents.items()
        }
        | {"kind": rng.choice(["a", "b"], ROWS)}
    )
    encoder = prepared(tmp_path, table)
    encoded = encoder.encode(table)
    assert not encoded.out_of_support.any()
    assert encoder.decode(encoded.x).equals(table)
    entries = {e["name"]: e for e in read_profile(str(tmp_path / "out"))["columns"]}
    assert entries["net"]["kind"] == "integer"
    assert entries["net"]["type"] == "decimal128(38, 18)"
    (constraint,) = read_profile(str(tmp_path / "out"))["constraints"]
    assert {constraint["column"], *constraint["columns"]} == set(cents)
    finer = table.slice(0, 1).set_column(
        0, "net", pa.array([Decimal("1.2345")], pa.decimal128(38, 18))
    )
    assert encoder.encode(finer).out_of_support[0, 0]


def test_decimals_beyond_64_bits_are_reals_on_the_step(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    type = pa.decimal256(76, 18)
    values = [Decimal(int(v)).scaleb(20) for v in rng.lognormal(15, 1, ROWS)]
    table = pa.table({"wei": pa.array(values, type), "kind": ["a", "b"] * (ROWS // 2)})
    encoder = prepared(tmp_path, table)
    found = encoder.decode(encoder.encode(table).x)
    assert found.schema.field("wei").type == type
    restored = found["wei"].to_pylist()
    assert all(value % 10**20 == 0 for value in restored)
    assert all(min(values) <= value <= max(values) for value in restored)
    for value, known in zip(restored, values, strict=True):
        assert abs(value / known - 1) < Decimal("1e-4")


def test_rows_that_differ_beyond_64_bits_are_split_apart(tmp_path: Path) -> None:
    values = [Decimal(10**30 + k) for k in range(ROWS)]
    table = pa.table({"n": pa.array(values, pa.decimal128(38, 0)), "x": [1, 2] * 300})
    (tmp_path / "raw").mkdir()
    pq.write_table(table, tmp_path / "raw" / "a.parquet")
    rows = run_prepare(tmp_path / "raw", tmp_path / "out").rows
    assert rows["train"] in range(360, 480)
    assert rows["test"] in range(30, 90)
