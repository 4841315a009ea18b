"""A scored dataset that the tests of scoring share."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.config.resources import Resources
from tasks.inference import score
from tasks.inference.source import Source
from tests.support.scoring import CONFIG, ROWS, Job
from tests.support.tables import small_table


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 1000 rows, one of which is anomalous."""
    table = small_table(ROWS, seed=7)
    count = table["count"].to_pylist()
    count[123] = 500
    table = table.set_column(2, "count", pa.array(count))
    path = tmp_path_factory.mktemp("source") / "rows.parquet"
    pq.write_table(table, path, row_group_size=200)
    return path


@pytest.fixture
def job(small_model: str, source: Path, tmp_path: Path) -> Job:
    """`score` with what the tests have in common."""

    def run(**changes: Any) -> score.ScoreResult:
        dataset = Source(
            str(changes.pop("source", source)),
            changes.pop("id_columns", ("id",)),
            changes.pop("on_bad_file", "stop"),
        )
        arguments = {
            "model": small_model,
            "source": dataset,
            "output": str(tmp_path / "output"),
            "config": CONFIG,
            "resources": Resources(),
            "model_info": {"name": "small", "version": 3, "run_id": "r1"},
        }
        return score.score(**{**arguments, **changes})

    return run


@pytest.fixture(scope="session")
def undisturbed(
    small_model: str, source: Path, tmp_path_factory: pytest.TempPathFactory, ray: None
) -> Path:
    """The output of a job that nothing happened to, by two actors; not to change."""
    output = tmp_path_factory.mktemp("undisturbed") / "output"
    score.score(
        small_model,
        Source(str(source), ("id",)),
        str(output),
        CONFIG,
        Resources(),
        model_info={"name": "small", "version": 3, "run_id": "r1"},
    )
    return output
