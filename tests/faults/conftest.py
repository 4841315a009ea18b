"""A scored dataset that the tests of faults share; all jobs run in this process."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.faults import rows_of, score_rows
from tests.support.local_jobs import local_jobs


@pytest.fixture(autouse=True)
def in_process() -> Iterator[None]:
    """Run pieces of jobs in this process, without Ray."""
    with local_jobs():
        yield


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write a file of 600 rows in six row groups."""
    path = tmp_path / "rows.parquet"
    pq.write_table(rows_of(seed=7), path, row_group_size=100)
    return path


@pytest.fixture(scope="session")
def undisturbed(
    small_model: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Return the files of an undisturbed scoring job of `source`, by name."""
    folder = tmp_path_factory.mktemp("undisturbed")
    pq.write_table(rows_of(seed=7), folder / "rows.parquet", row_group_size=100)
    with local_jobs():
        score_rows(small_model, folder / "rows.parquet", folder / "output")
    files = (folder / "output").glob("part-*.parquet")
    return {path.name: path.read_bytes() for path in files}
