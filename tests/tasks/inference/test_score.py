"""Scoring jobs: every row once, in order, resumable, the same bytes every time."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ar_models.density.saved_form import load_density
from tasks.data.fragments import Fragment
from tasks.inference import score
from tasks.runtime import storage
from tests.support.densities import score_table
from tests.support.scoring import (
    CONFIG,
    ROWS,
    Job,
    kill_when,
    read_manifest,
    read_rows,
    start,
)
from tests.support.tables import small_table


def times(output: Path) -> dict[str, int]:
    """Return the time of the last change of each file, in nanoseconds."""
    return {str(p): p.stat().st_mtime_ns for p in sorted(output.rglob("*"))}


def test_every_row_is_scored_in_order(
    undisturbed: Path, small_model: str, source: Path
) -> None:
    names = sorted(os.listdir(undisturbed))
    assert names == ["_manifest.json"] + [f"part-0000{i}.parquet" for i in range(3)]
    parts = [pq.read_table(undisturbed / name) for name in names[1:]]
    assert [part.num_rows for part in parts] == [400, 400, 200]
    found = pa.concat_tables(parts)
    rows = pq.read_table(source)
    assert found.column_names[0] == "id" and found["id"].equals(rows["id"])
    expected = score_table(load_density(Path(small_model)), rows, explain="flagged")
    assert found.column_names[1:] == expected.column_names
    for name in ("log_prob", "p_value", "q_value", "severity"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
    assert found["is_anomaly"].equals(expected["is_anomaly"])
    explained = found["explanation"].is_valid()
    assert explained.equals(found["is_anomaly"])


def test_the_footer_tells_what_was_scored_with_what(undisturbed: Path) -> None:
    metadata = pq.read_schema(undisturbed / "part-00001.parquet").metadata
    facts = json.loads(metadata[b"chainrule"])
    model = facts["model"]
    assert (model["name"], model["version"], model["run_id"]) == ("small", 3, "r1")
    assert len(model["fingerprint"]) == 64 and facts["rule"] == {"threshold": 99.9}
    assert facts["rows_in"] == facts["rows_out"] == 400
    assert facts["first_row"] == 400 and facts["rows_quarantined"] == 0
    assert facts["job_key"] == read_manifest(undisturbed)["job_key"]


def test_the_manifest_counts_and_names_the_most_anomalous_rows(
    undisturbed: Path,
) -> None:
    found = read_manifest(undisturbed)
    assert found["rows_in"] == found["rows_out"] == ROWS
    scored = read_rows(undisturbed)
    assert found["anomalies"] == pc.sum(scored["is_anomaly"]).as_py() > 0
    assert found["rule"] == {"threshold": 99.9} and found["segments"] == []
    scores = [row["anomaly_score"] for row in found["most_anomalous"]]
    assert (
        scores == sorted(scored["anomaly_score"].to_pylist())[: -len(scores) - 1 : -1]
    )
    first = found["most_anomalous"][0]
    assert first["ids"] == {"id": "row-7-123"} and first["row"] == 123
    assert first["explanation"][0]["column"] == "count"
    assert first["explanation"][0]["value"] == "500"


def test_nothing_need_be_carried(job: Job, in_process: None) -> None:
    done = job(id_columns=())
    assert done.rows_out == ROWS
    assert [row.ids for row in done.most_anomalous] == [{}] * 5
    assert done.most_anomalous[0].row == 123
    assert read_rows(done.path).column_names[0] == "log_prob"


def test_rows_without_an_id_have_file_and_number(
    job: Job, in_process: None, source: Path, undisturbed: Path, tmp_path: Path
) -> None:
    done = job(id_columns=(), adds_place=True)
    rows, others = read_rows(done.path), read_rows(undisturbed)
    assert rows.column_names[:3] == ["source", "row", "log_prob"]
    assert rows["row"].to_pylist() == list(range(ROWS))
    assert set(rows["source"].to_pylist()) == {source.name}
    assert rows["log_prob"].equals(others["log_prob"])
    assert done.key != read_manifest(undisturbed)["job_key"]
    assert done.key != job(output=str(tmp_path / "plain"), id_columns=()).key


def test_all_columns_can_be_carried(job: Job, in_process: None, source: Path) -> None:
    done = job(copies_all=True)
    rows, original = read_rows(done.path), pq.read_table(source)
    assert rows.column_names[: original.num_columns] == original.column_names
    assert rows.select(original.column_names).equals(original)
    assert rows["log_prob"].null_count == 0
    assert set(done.most_anomalous[0].ids) == {"id"}


def test_a_finished_job_is_left_alone(job: Job, undisturbed: Path) -> None:
    before = times(undisturbed)
    result = job(output=str(undisturbed))
    assert result.done and result.rows_out == ROWS
    assert times(undisturbed) == before


def test_a_lost_part_alone_is_made_again(
    job: Job, in_process: None, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    shutil.copytree(undisturbed, output)
    before = times(output)
    (output / "part-00001.parquet").unlink()
    result = job()
    assert not result.done and result.rows_out == ROWS
    changed = {Path(p).name for p, t in times(output).items() if before[p] != t}
    assert changed == {"_manifest.json", "part-00001.parquet"}
    assert read_manifest(output) == read_manifest(undisturbed)


STALLED = """
write = parts.write
def stall(folder, file, *content, **options):
    if file == "part-00001.parquet" and "_first_pass" not in folder:
        with storage.publish(f"{folder}/{file}") as unfinished:
            unfinished.write_bytes(b"half")
            time.sleep(600)
    return write(folder, file, *content, **options)

parts.write = stall
model, source, output = sys.argv[1:]
score.score(model, Source(source, ("id",)), output,
            ScoreConfig(rows_per_fragment=400), Resources(),
            model_info={"name": "small", "version": 3, "run_id": "r1"})
"""


def test_a_killed_job_is_completed_to_the_same_bytes(
    job: Job,
    in_process: None,
    small_model: str,
    source: Path,
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    output = tmp_path / "output"
    process = start(STALLED, small_model, source, output)
    kill_when(lambda: any(output.glob(".tmp-*part-00001*")), process)
    whole = (output / "part-00000.parquet").stat().st_mtime_ns
    result = job()
    assert not result.done and result.rows_out == ROWS
    assert (output / "part-00000.parquet").stat().st_mtime_ns == whole
    assert sorted(os.listdir(output)) == sorted(os.listdir(undisturbed))
    assert read_manifest(output) == read_manifest(undisturbed)


@pytest.mark.parametrize(
    "stage", ["FirstPass", "selection.select_anomalies", "SecondPass"]
)
def test_a_job_stopped_anywhere_is_completed_to_the_same_bytes(
    job: Job, in_process: None, undisturbed: Path, tmp_path: Path, stage: str
) -> None:
    output = tmp_path / "output"
    log = tmp_path / "asked.txt"  # The class is pickled, and lists would be copied.
    log.touch()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    class Once(score.FirstPass):
        def __call__(self, fragment: Fragment) -> Any:
            with open(log, "a") as file:
                file.write(str(fragment.index))
            if stage == "FirstPass" and log.read_text() == "01":
                raise KeyboardInterrupt
            return super().__call__(fragment)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score, "FirstPass", Once)
        if stage != "FirstPass":
            patch.setattr(f"tasks.inference.score.{stage}", stop)
        with pytest.raises(KeyboardInterrupt):
            job()
        assert not list(output.glob("part-*"))
        if stage != "FirstPass":
            patch.undo()
            patch.setattr(score, "FirstPass", Once)
        result = job()
    # No row that stood in a whole part was shown to the model again.
    assert log.read_text() == ("0112" if stage == "FirstPass" else "012")
    assert result.rows_out == ROWS
    assert sorted(os.listdir(output)) == sorted(os.listdir(undisturbed))
    assert read_manifest(output) == read_manifest(undisturbed)


def test_one_process_gives_the_bytes_of_two(
    job: Job, in_process: None, undisturbed: Path
) -> None:
    assert read_manifest(job().path) == read_manifest(undisturbed)


def test_s3_gives_what_local_folders_give(
    job: Job,
    in_process: None,
    bucket: str,
    small_model: str,
    source: Path,
    undisturbed: Path,
) -> None:
    for path in [source, *Path(small_model).iterdir()]:
        with storage.publish(f"{bucket}/score/{path.parent.name}/{path.name}") as copy:
            shutil.copy(path, copy)
    result = job(
        model=f"{bucket}/score/{Path(small_model).name}",
        source=f"{bucket}/score/{source.parent.name}/rows.parquet",
        output=f"{bucket}/score/output",
    )
    assert result.rows_out == ROWS
    found = read_manifest(f"{bucket}/score/output")["files"]
    local = read_manifest(undisturbed)["files"]
    # Job keys differ, since data on S3 have another fingerprint; they are in footers.
    assert [e["rows"] for e in found] == [e["rows"] for e in local]
    filesystem, inner = storage.resolve(f"{bucket}/score/output/part-00002.parquet")
    assert pq.read_table(inner, filesystem=filesystem).equals(
        pq.read_table(undisturbed / "part-00002.parquet")
    )
    again = job(
        model=f"{bucket}/score/{Path(small_model).name}",
        source=f"{bucket}/score/{source.parent.name}/rows.parquet",
        output=f"{bucket}/score/output",
    )
    assert again.done


def test_another_jobs_output_is_refused_and_overwritten_on_demand(
    job: Job, in_process: None, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    shutil.copytree(undisturbed, output)
    before = times(output)
    other = CONFIG.model_copy(update={"explain": "none", "threshold": 99.0})
    with pytest.raises(FileExistsError, match="another job.*--overwrite"):
        job(config=other)
    assert times(output) == before
    result = job(config=other, overwrite=True)
    assert result.rows_out == ROWS
    found = pq.read_table(output / "part-00000.parquet")
    assert found["explanation"].null_count == 400
    # The most anomalous are explained all the same.
    assert (result.most_anomalous[0].explanation or [])[0]["column"] == "count"


def test_partition_columns_are_carried(
    job: Job, in_process: None, tmp_path: Path
) -> None:
    for month in (2, 10):
        path = tmp_path / "hive" / f"month={month}" / "rows.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(small_table(30 * month, seed=month), path)
    result = job(source=str(tmp_path / "hive"))
    assert result.rows_out == 360
    found = [pq.read_table(p) for p in sorted((tmp_path / "output").glob("*.parquet"))]
    assert [t.column_names[:3] for t in found] == [["id", "month", "log_prob"]] * 2
    assert [t["month"].unique().to_pylist() for t in found] == [[2], [10]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id_columns": ("idd",)}, "no column 'idd'; did you mean 'id'"),
        ({"source": "empty.parquet"}, "empty.parquet: no rows in 1 files"),
        ({"source": "short.parquet"}, "short.parquet: column 'paid' is missing"),
        ({"source": "typed.parquet"}, "typed.parquet: column 'count' is string"),
        (
            {"source": "named.parquet", "id_columns": ("log_prob",)},
            "column 'log_prob' has the name of a column of the output",
        ),
    ],
)
def test_bad_input_is_one_clear_message_and_leaves_no_output(
    job: Job, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    table = small_table(20)
    bad = {
        "empty": table.slice(0, 0),
        "short": table.drop_columns(["paid"]),
        "typed": table.set_column(2, "count", pa.array(["many"] * 20)),
        "named": table.append_column("log_prob", table["paid"]),
    }
    for name, each in bad.items():
        pq.write_table(each, tmp_path / f"{name}.parquet")
    if "source" in change:
        change = {**change, "source": str(tmp_path / change["source"])}
    with pytest.raises(ValueError, match=message):
        job(**change)
    assert not (tmp_path / "output").exists()


def test_a_missing_model_is_named_before_anything_is_written(
    job: Job, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        job(model=str(tmp_path / "nowhere"))
    assert not (tmp_path / "output").exists()
