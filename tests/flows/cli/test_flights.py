"""The demo's dataset."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flows.cli import flights


def test_the_flights_of_2013_are_written_by_month_once(tmp_path: Path) -> None:
    folder = tmp_path / "flights"
    first = flights.write(str(folder))
    assert (first["rows_out"], first["done"]) == (336_776, False)
    months = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert months == sorted(f"month={month}" for month in range(1, 13))
    table = pa.concat_tables(
        pq.ParquetFile(path).read() for path in sorted(folder.glob("*/*.parquet"))
    )
    assert table.num_columns == 18  # The month is in the path.
    assert sum(column.null_count for column in table.columns) == 46_595
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert flights.write(str(folder)) == first | {"done": True}
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
