"""Tests of the flows that apply a registered model."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.cli.execution import ExitCode
from tests.support.project import Project
from tests.support.receiver import receiving
from tests.support.tables import small_table


def test_only_what_the_champion_has_not_scored_is_scored(
    project: Project, retrained: dict[str, Any], tmp_path: Path
) -> None:
    for day in ("01", "02"):
        folder = tmp_path / "days" / f"day=2026-01-{day}"
        folder.mkdir(parents=True)
        pq.write_table(small_table(80, seed=int(day)), folder / "part.parquet")
    paths = ["--input", str(tmp_path / "days"), "--output", str(tmp_path / "out")]
    one = project.json("backfill", *paths, "--until", "2026-01-01")
    assert one["backfill"]["scored"] == ["day=2026-01-01"]
    rest = project.json("score", "--incremental", *paths)
    assert rest["backfill"]["scored"] == ["day=2026-01-02"]
    again = project.run("score", "--incremental", *paths, "--alias", "champion")
    assert "0 of 2 partitions were new" in again.stdout
    same = project.json("backfill", *paths, "--model-version", "1")
    assert same["model"]["version"] == "1"
    assert same["backfill"]["path"] == f"{tmp_path}/out/version=1"
    assert same["backfill"]["done"]
    none = project.run("backfill", *paths, "--since", "2027")
    assert none.exit_code == ExitCode.FAILED
    assert "no partition lies between 2027" in none.stderr


def test_samples_have_the_original_columns_and_their_seed(
    project: Project, retrained: dict[str, Any]
) -> None:
    tables = []
    for options in (["--rows", "400"], ["--rows", "400", "--seed", "1"]):
        sampled = project.json("sample", *options)["sample"]
        tables.append(pq.read_table(sampled["path"]))
    assert tables[0].schema.remove_metadata() == small_table().schema
    assert [table.num_rows for table in tables] == [400, 400]
    assert tables[0] != tables[1]
    for options in (["--model-version", "1"], ["--alias", "champion"]):
        content = project.json("sample", "--rows", "400", *options)
        assert content["model"]["version"] == "1"
        assert content["sample"]["done"]  # It is the same version.


def test_flagged_rows_and_drift_alert_a_webhook(
    project: Project, retrained: dict[str, Any], tmp_path: Path
) -> None:
    table = small_table(300, seed=9)
    shifted = table.set_column(2, "count", pa.array([90] * 300))
    pq.write_table(shifted, tmp_path / "shifted.parquet")
    with receiving() as receiver:
        options = ["--input", str(tmp_path / "shifted.parquet")]
        assert project.json("score", *options)["alerts"] == []
        options += ["--set", f"alerts.webhook={receiver.url}"]
        assert project.run("score", *options, "--dry-run").exit_code == 0
        assert receiver.got == []
        scored = project.json("score", *options)
        again = project.json("score", *options)
        monitored = project.json("monitor", *options, code=3)
    assert [alert["event"] for alert in receiver.got] == [
        "chainrule.anomalies",
        "chainrule.drift",
    ]
    assert [alert["receiver"] for alert in scored["alerts"]] == ["webhook"]
    assert again["alerts"] == [] and len(monitored["alerts"]) == 1


def test_given_rows_are_completed(
    project: Project, retrained: dict[str, Any], tmp_path: Path
) -> None:
    given = small_table(20, seed=1).select(["kind", "late"])
    pq.write_table(given, tmp_path / "given.parquet")
    options = ["--given", str(tmp_path / "given.parquet"), "--samples-per-row", "2"]
    rows = pq.read_table(project.json("sample", *options)["sample"]["path"])
    assert len(rows) == 40
    assert rows["kind"].to_pylist()[::2] == given["kind"].to_pylist()


def test_every_row_has_features_with_its_id(
    project: Project, retrained: dict[str, Any]
) -> None:
    embedded = project.json("embed")["embed"]
    rows = pq.read_table(embedded["path"])
    assert rows.column_names == ["id", "features"]
    assert rows["id"].to_pylist() == small_table()["id"].to_pylist()
    assert len(rows["features"][0]) == embedded["features"] == 32
