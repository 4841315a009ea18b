from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.runtime import manifest, storage
from tests.support.parquet import damage_page
from tests.support.preparing import example_table, read_split, run_prepare, write_files


def test_rows_that_cannot_be_read_are_listed_with_their_reason(tmp_path: Path) -> None:
    table = example_table(300)
    days = table.column("day").to_pylist()
    days[7] = None
    words: list[bytes] = [c.encode() for c in table.column("city").to_pylist()]
    words[210] = b"\xff\xfe"
    broken = pa.array(words, pa.binary()).view(pa.string())
    table = table.set_column(5, "day", pa.array(days, pa.date32()))
    table = table.set_column(1, "city", broken)
    source = write_files(tmp_path / "raw", table, 2)
    split = {"by": "time", "column": "day"}
    result = run_prepare(source, tmp_path / "out", split=split)
    assert result.rows_quarantined == 2
    assert sum(result.rows.values()) == 298
    listed = read_split(tmp_path / "out", "quarantine").to_pylist()
    assert listed == [
        {"file": "0.parquet", "row": 7, "reason": "column 'day': no time to split by"},
        {"file": "1.parquet", "row": 60, "reason": "column 'city': not valid UTF-8"},
    ]


@pytest.mark.parametrize("by", ["hash", "time"])
def test_damage_in_the_data_stops_or_sets_the_file_aside(
    tmp_path: Path, by: str
) -> None:
    source = write_files(
        tmp_path / "raw", example_table(400).select(["day", "city"]), 4
    )
    damage_page(source / "2.parquet")
    split = {"by": by, "column": "day" if by == "time" else None}
    with pytest.raises(ValueError, match="2.parquet: is damaged.*quarantine"):
        run_prepare(source, tmp_path / "stopped", split=split)
    assert not (tmp_path / "stopped" / manifest.MANIFEST).exists()
    result = run_prepare(
        source, tmp_path / "out", split=split, on_bad_file="quarantine"
    )
    (bad,) = result.bad_files
    assert (bad.name, bad.rows) == ("2.parquet", 100)
    assert bad.reason.startswith("is damaged")
    assert result.rows_quarantined == 100
    assert sum(result.rows.values()) == 300
    listed = storage.read_json(str(tmp_path / "out" / "quarantine" / "files.json"))
    assert listed == [asdict(bad)]
