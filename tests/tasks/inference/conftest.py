"""A scored dataset that the tests of scoring share."""

from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.scoring import ROWS, Job, run_score
from tests.support.tables import small_table


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a file of 1000 rows, one of which is anomalous."""
    table = small_table(ROWS, seed=7)
    count = table["count"].to_pylist()
    count[123] = 500
    table = table.set_column(2, "count", pa.array(count))
    path = tmp_path_factory.mktemp("source") / "rows.parquet"
    pq.write_table(table, path, row_group_size=200)
    return path


@pytest.fixture
def job(small_model: str, source: Path, tmp_path: Path) -> Job:
    """Return `score` with default arguments."""
    return partial(run_score, small_model, source, tmp_path / "output")


@pytest.fixture(scope="session")
def undisturbed(
    small_model: str, source: Path, tmp_path_factory: pytest.TempPathFactory, ray: None
) -> Path:
    """Return the output of an undisturbed job by two actors, which tests must keep."""
    output = tmp_path_factory.mktemp("undisturbed") / "output"
    run_score(small_model, source, output)
    return output
