"""The first pass over a dataset: quarantine and damaged or changed files."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.data.datasets import open_dataset
from tasks.inference import score
from tasks.inference.scoring_plan import ScoringPlan
from tasks.inference.source import Source
from tasks.runtime import manifest
from tests.support.scoring import CONFIG, Job
from tests.support.tables import small_table


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Write a good file and one with a damaged page."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    pq.write_table(small_table(50), folder / "a.parquet")
    pq.write_table(small_table(70, seed=1), folder / "b.parquet")
    with open(folder / "b.parquet", "r+b") as file:
        file.seek(4)
        file.write(b"\xff" * 1000)
    return folder


def test_a_damaged_file_stops_the_job_by_its_name(
    job: Job, in_process: None, damaged: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as caught:
        job(source=str(damaged))
    assert type(caught.value) is ValueError
    assert str(caught.value).startswith(f"{damaged}/b.parquet: is damaged (")
    assert "data.on_bad_file: quarantine" in str(caught.value)
    assert not (tmp_path / "output" / manifest.MANIFEST).exists()


@pytest.mark.parametrize("ids", [("id",), ()])
def test_rows_that_cannot_be_read_go_to_quarantine(
    job: Job, in_process: None, damaged: Path, tmp_path: Path, ids: tuple[str, ...]
) -> None:
    (damaged / "c.parquet").write_text("no Parquet")
    changes = {"on_bad_file": "quarantine", "id_columns": ids}
    result = job(source=str(damaged), **changes)
    assert (result.rows_in, result.rows_out) == (120, 50)
    assert result.rows_quarantined == 70
    assert [bad.name for bad in result.bad_files] == ["c.parquet"]
    output = tmp_path / "output"
    assert pq.read_table(output / "part-00001.parquet").num_rows == 0
    bad = pq.read_table(output / "quarantine" / "part-00001.parquet")
    assert bad.column_names == [*ids, "source", "row", "reason"]
    assert bad["row"].to_pylist() == list(range(70))
    assert "b.parquet: is damaged" in bad["reason"][0].as_py()
    assert job(source=str(damaged), **changes).done


def test_a_file_that_changes_while_it_is_scored_is_noticed(
    small_model: str, source: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "rows.parquet"
    shutil.copy(source, copy)
    dataset = open_dataset(str(copy), rows_per_fragment=400)
    pq.write_table(small_table(900), copy, row_group_size=150)
    plan = ScoringPlan(
        small_model, Source(str(copy)), str(tmp_path), CONFIG, ("id",), {}, "k"
    )
    scorer = score.FirstPass(plan)
    with pytest.raises(ValueError, match="rows.parquet: was changed"):
        scorer(dataset.fragments[0])
