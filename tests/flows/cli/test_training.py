"""Tests of the commands from data to a registered model."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from flows.cli.execution import ExitCode
from tests.support.project import Project, run_command
from tests.support.tables import small_table


def test_what_is_done_is_not_done_again(
    project: Project, retrained: dict[str, Any]
) -> None:
    project.run("retrain")  # `evaluate` may have written the report since.
    before = project.files()
    ended = project.run("retrain")
    assert ended.exit_code == ExitCode.DONE
    assert "already done" in ended.stdout
    assert "nothing new" in ended.stdout
    assert project.files() == before


def test_two_versions_are_compared_on_the_test_rows(
    project: Project, retrained: dict[str, Any], challenger: dict[str, Any]
) -> None:
    second = challenger["register"]["version"]
    content = project.json("compare", "champion", second)
    assert [model["version"] for model in content["models"]] == ["1", second]
    compared = content["compare"]
    assert compared["rows_out"] == retrained["prepare"]["rows"]["test"]
    assert compared["difference"] > 0
    metrics = MlflowClient().get_run(content["run_id"]).data.metrics
    assert metrics["compare/difference"] == pytest.approx(compared["difference"])


def test_init_proposes_a_configuration_that_prepare_takes(
    project: Project, tmp_path: Path
) -> None:
    proposed = run_command("init", str(project.data))
    assert proposed.exit_code == ExitCode.DONE
    file = tmp_path / "proposed.yaml"
    file.write_text(proposed.stdout)
    ended = run_command("prepare", str(file), "--storage", str(tmp_path / "storage"))
    assert ended.exit_code == ExitCode.DONE, ended.output
    assert "1,500 rows" in ended.stdout


def not_parquet(folder: Path) -> None:
    (folder / "part-1.parquet").write_text("a,b")


def truncated(folder: Path) -> None:
    whole = (folder / "part-0.parquet").read_bytes()
    (folder / "part-1.parquet").write_bytes(whole[: len(whole) // 2])


def type_changed(folder: Path) -> None:
    table = small_table()
    text = pa.compute.cast(table["count"], pa.string())
    changed = table.set_column(table.schema.get_field_index("count"), "count", text)
    pq.write_table(changed, folder / "part-1.parquet")


def no_rows(folder: Path) -> None:
    pq.write_table(small_table().slice(0, 0), folder / "part-0.parquet")


def no_files(folder: Path) -> None:
    (folder / "part-0.parquet").unlink()


SPOILED: list[tuple[Callable[[Path], object], list[str]]] = [
    (shutil.rmtree, ["data: no such file or directory"]),
    (no_files, ["contains no Parquet file"]),
    (not_parquet, ["part-1.parquet", "Parquet"]),
    (truncated, ["part-1.parquet"]),
    (no_rows, ["no rows"]),
    (type_changed, ["part-1.parquet", "count", "string", "int64"]),
]


@pytest.mark.parametrize("command", ["prepare", "score"])
@pytest.mark.parametrize(
    ("spoil", "parts"), SPOILED, ids=lambda value: getattr(value, "__name__", "")
)
def test_bad_data_is_one_message_and_harms_nothing(
    project: Project,
    retrained: dict[str, Any],
    tmp_path: Path,
    spoil: Callable[[Path], object],
    parts: list[str],
    command: str,
) -> None:
    data = tmp_path / "data"
    shutil.copytree(project.data, data)
    spoil(data)
    before = project.files()
    option = "--input" if command == "score" else "--data"
    result = project.run(command, option, str(data))
    assert result.exit_code == ExitCode.FAILED
    for part in parts:
        assert part in result.stderr
    assert "Traceback" not in result.output
    assert before.items() <= project.files().items()


@pytest.mark.parametrize("command", ["prepare", "score"])
def test_a_column_that_a_file_lacks_is_an_error_if_so_configured(
    project: Project, retrained: dict[str, Any], tmp_path: Path, command: str
) -> None:
    data = tmp_path / "data"
    shutil.copytree(project.data, data)
    pq.write_table(small_table().drop(["paid"]), data / "part-1.parquet")
    option = "--input" if command == "score" else "--data"

    result = project.run(command, option, str(data), "--set", "data.on_missing=error")

    assert result.exit_code == ExitCode.FAILED
    assert "part-1.parquet" in result.stderr
    assert "paid" in result.stderr


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("data.id=[idd]", ["data.id", "idd", "id"]),
        ("data.exclude=[kind, count, paid, late]", ["all columns"]),
        ("data.columns={kind: {kind: real}}", ["kind", "string", "real"]),
    ],
)
def test_a_configuration_that_does_not_fit_the_data_is_one_message(
    project: Project, change: str, parts: list[str]
) -> None:
    result = project.run("prepare", "--set", change)
    assert result.exit_code == ExitCode.FAILED
    for part in parts:
        assert part in result.stderr
    assert "Traceback" not in result.output


def test_a_corrupt_file_among_good_ones_is_put_in_quarantine_on_demand(
    project: Project, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(project.data, data)
    truncated(data)
    options = ["--data", str(data), "--storage", str(tmp_path / "storage")]
    assert project.run("prepare", *options).exit_code == ExitCode.FAILED
    options += ["--set", "data.on_bad_file=quarantine"]
    prepared = project.json("prepare", *options)["prepare"]
    assert [bad["name"] for bad in prepared["bad_files"]] == ["part-1.parquet"]
    assert sum(prepared["rows"].values()) == 1500
