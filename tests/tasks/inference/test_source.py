"""Sources: the columns that are copied to the output, and unreadable files."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.inference.source import Source, carried_columns, unreadable_files
from tasks.runtime import model_store
from tests.support.tables import small_table, table_encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a dataset of one hive partition."""
    (tmp_path / "month=2").mkdir()
    pq.write_table(small_table(20), tmp_path / "month=2" / "a.parquet")
    return tmp_path


def test_id_and_partition_columns_are_carried(small_model: str, folder: Path) -> None:
    source = Source(str(folder), ("id",))
    density = model_store.load(small_model)
    dataset = source.open(100, density.encoder)
    assert carried_columns(density, source, dataset, ()) == ("id", "month")
    with pytest.raises(ValueError, match="column 'month' has the name of a column"):
        carried_columns(density, source, dataset, ("month",))


def test_an_unreadable_file_stops_the_job_or_is_set_aside(folder: Path) -> None:
    encoder = table_encoder()
    (folder / "month=2" / "b.parquet").write_text("no Parquet")
    with pytest.raises(ValueError, match="b.parquet"):
        Source(str(folder)).open(100, encoder)
    source = Source(str(folder), on_bad_file="quarantine")
    (bad,) = unreadable_files(source.open(100, encoder))
    assert bad["name"] == "month=2/b.parquet"
    assert set(bad) == {"name", "reason"}


def test_a_damaged_page_is_an_error_unless_it_goes_to_quarantine() -> None:
    with pytest.raises(ValueError, match="page 3; .* data.on_bad_file: quarantine"):
        Source("x").check_bad_file(OSError("page 3"))
    Source("x", on_bad_file="quarantine").check_bad_file(OSError("page 3"))
