"""Embedding jobs: the features of every row once, in order, resumable."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ar_models.density.saved_form import load_density
from tasks.config.embed import EmbedConfig
from tasks.config.resources import Resources
from tasks.inference import embed
from tests.support.scoring import pop_source, read_entries, read_rows
from tests.support.tables import small_table

CONFIG = EmbedConfig(rows_per_fragment=40)

Job = Callable[..., embed.EmbedResult]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write a file of 100 rows."""
    path = tmp_path / "rows.parquet"
    pq.write_table(small_table(100, seed=7), path)
    return path


@pytest.fixture
def job(small_model: str, source: Path, tmp_path: Path, in_process: None) -> Job:
    """Return `embed` with default arguments."""

    def run(**changes: Any) -> embed.EmbedResult:
        arguments: dict[str, Any] = {
            "source": pop_source(changes, source),
            "output": str(tmp_path / "output"),
            **changes,
        }
        return embed.embed(
            small_model, config=CONFIG, resources=Resources(), **arguments
        )

    return run


def test_every_row_has_its_features_in_order(
    job: Job, small_model: str, source: Path
) -> None:
    result = job()

    rows = pq.read_table(source)
    expected = load_density(Path(small_model)).features(rows)
    found = read_rows(result.path)
    assert found.column_names == ["id", "features"]
    assert found["id"].equals(rows["id"])
    values = found["features"].combine_chunks().flatten().to_numpy()
    np.testing.assert_allclose(values.reshape(100, -1), expected, atol=1e-5)
    assert (result.rows_in, result.rows_out) == (100, 100)
    assert result.features == expected.shape[1]


def test_a_lost_part_alone_is_made_again(job: Job, tmp_path: Path) -> None:
    job()
    before = read_entries(tmp_path / "output")
    kept = tmp_path / "output" / "part-00001.parquet"
    time = kept.stat().st_mtime_ns
    (tmp_path / "output" / "part-00000.parquet").unlink()

    assert not job().done

    after = read_entries(tmp_path / "output")
    assert after == before
    assert kept.stat().st_mtime_ns == time
    assert job().done


def test_a_damaged_file_goes_to_quarantine_whole(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    table = small_table(100, seed=7)
    pq.write_table(table, folder / "a.parquet")
    path = folder / "b.parquet"
    pq.write_table(table, path)
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)

    with pytest.raises(ValueError, match="b.parquet.*on_bad_file: quarantine"):
        job(source=str(folder), output=str(tmp_path / "stopped"))
    result = job(source=str(folder), on_bad_file="quarantine")

    assert result.rows_quarantined == 100
    assert read_rows(result.path).num_rows == 100


def test_a_column_named_features_cannot_be_carried(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    table = small_table(20).append_column("features", pa.array(range(20)))
    pq.write_table(table, path)

    with pytest.raises(ValueError, match="'features' has the name of a column"):
        job(source=str(path), id_columns=("features",))


def test_a_dataset_that_the_model_cannot_read_is_named(
    job: Job, tmp_path: Path
) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(small_table(20).drop_columns(["kind"]), path)

    with pytest.raises(ValueError, match="other.parquet: column 'kind' is missing"):
        job(source=str(path))
