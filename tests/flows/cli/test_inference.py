"""Tests of the commands that apply a registered model."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from flows.cli.execution import ExitCode
from tests.support.project import Project, on_one_line
from tests.support.tables import small_table


@pytest.fixture(scope="module")
def scored(project: Project, retrained: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of scoring the whole dataset."""
    return project.json("score")


def test_every_row_is_scored_with_its_id(
    project: Project, scored: dict[str, Any]
) -> None:
    assert scored["model"]["version"] == "1"
    rows = pq.read_table(scored["score"]["path"])
    assert rows["id"].to_pylist() == [f"row-0-{i}" for i in range(1500)]
    assert pa.compute.is_finite(rows["log_prob"]).to_numpy().all()
    assert project.json("score")["score"]["done"]


def test_incremental_scoring_refuses_to_overwrite(project: Project) -> None:
    ended = project.run("score", "--incremental", "--overwrite")
    assert ended.exit_code == ExitCode.USAGE
    assert "--overwrite cannot be combined with --incremental" in on_one_line(
        ended.stderr.replace("│", " ")
    )


def test_options_of_score_replace_the_rule_of_the_file(
    project: Project, scored: dict[str, Any]
) -> None:
    usual = scored["score"]
    assert usual["rule"] == {"threshold": 99.9}
    found = project.json("score", "--budget", "12", "--set", "score.fdr=0.2")["score"]
    assert found["rule"] == {"budget": 12}
    assert found["anomalies"] == 12
    assert found["path"] != usual["path"]
    assert "the most anomalous 12" in project.run("score", "--budget", "12").stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "score.fdr=0.2", "--set", "score.threshold=99"], "only one of"),
        (["--fdr", "2"], "score.fdr"),
        (["--budget", "many"], "--budget"),
        (["--alias", "champion", "--model-version", "1"], "exclude each other"),
    ],
)
def test_options_of_score_that_cannot_be_are_bad_usage(
    project: Project, options: list[str], message: str
) -> None:
    ended = project.run("score", *options)
    assert ended.exit_code == ExitCode.USAGE
    assert message in ended.stderr


def test_monitor_ends_with_code_3_where_rows_have_drifted(
    project: Project, retrained: dict[str, Any], tmp_path: Path
) -> None:
    content = project.json("monitor")
    assert content["monitor"]["verdict"] == "stable"
    assert content["model"]["version"] == "1"
    table = small_table(1000, seed=4)
    changed = table.set_column(1, "kind", pa.array(["a"] * 1000))
    pq.write_table(changed, tmp_path / "new.parquet")
    options = ["--input", str(tmp_path / "new.parquet"), "--model-version", "1"]
    content = project.json("monitor", *options, code=ExitCode.REFUSED)
    assert content["status"] == "drift"
    assert Path(content["monitor"]["page"]).exists()
    run = MlflowClient().get_run(content["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["drift/found"] == 1.0
    assert run.data.metrics["drift/marginal_ks/kind"] > 0.4
    assert run.data.tags["chainrule.job"] == "monitor"
    shown = project.run("monitor", *options).stdout
    assert "drift" in shown
    assert "marginal distribution of kind" in shown
    assert "already done" in shown


@pytest.mark.parametrize(
    ("command", "options", "code", "message"),
    [
        (
            "impute",
            ["--method", "guess"],
            ExitCode.USAGE,
            "impute.method: input should be 'draw', 'median' or 'mean'",
        ),
        ("sample", ["--top-p", "1.5"], ExitCode.USAGE, "sample.top_p"),
        (
            "sample",
            ["--alias", "nobody"],
            ExitCode.FAILED,
            "models:/small@nobody: no such version",
        ),
        (
            "backfill",
            ["--model-version", "99"],
            ExitCode.FAILED,
            "models:/small/99: no such version in the registry",
        ),
        ("score", ["--set", "name=nobody"], ExitCode.FAILED, "retrain"),
    ],
)
def test_what_cannot_be_done_is_one_message(
    project: Project,
    retrained: dict[str, Any],
    command: str,
    options: list[str],
    code: ExitCode,
    message: str,
) -> None:
    ended = project.run(command, *options)
    assert ended.exit_code == code
    assert message in on_one_line(ended.stderr)


def test_an_output_of_another_job_is_refused_unless_overwritten(
    project: Project, retrained: dict[str, Any], tmp_path: Path
) -> None:
    output = ["--output", str(tmp_path / "out")]
    rows = ["--rows", "50"]
    assert project.run("sample", *output, *rows).exit_code == ExitCode.DONE
    before = sorted(path.read_bytes() for path in (tmp_path / "out").iterdir())
    for command in ("sample", "embed"):
        result = project.run(command, *output)
        assert result.exit_code == ExitCode.FAILED
        assert "holds the output of another job" in result.stderr
        assert "--overwrite" in result.stderr
    assert before == sorted(path.read_bytes() for path in (tmp_path / "out").iterdir())
    replaced = project.run("sample", *output, *rows, "--seed", "1", "--overwrite")
    assert replaced.exit_code == ExitCode.DONE


def test_files_of_the_user_are_never_overwritten(
    project: Project, retrained: dict[str, Any], tmp_path: Path
) -> None:
    precious = tmp_path / "thesis.tex"
    precious.write_text("chapter 1")
    result = project.run("sample", "--output", str(tmp_path), "--overwrite")
    assert result.exit_code == ExitCode.FAILED
    assert precious.read_text() == "chapter 1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]


def test_a_version_is_exported_as_onnx(
    project: Project, retrained: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    content = project.json("export", "--output", str(file))
    assert content["model"]["version"] == "1"
    assert content["export"]["bytes"] == file.stat().st_size


def test_a_version_answers_a_question(
    project: Project, retrained: dict[str, Any]
) -> None:
    content = project.json("ask", "kind = 'a'", "--given", "count >= 0")
    assert content["model"]["version"] == "1"
    (answer,) = content["ask"]["answers"]
    assert 0 <= answer["low"] <= answer["probability"] <= answer["high"] <= 1
    shown = project.run("ask", "kind = 'a'").stdout
    assert "exact" in shown and "kind = 'a'" in shown
    ended = project.run("ask", "speed > 1")
    assert ended.exit_code == ExitCode.FAILED
    assert "column 'speed' is unknown" in on_one_line(ended.stderr)
    assert project.run("ask").exit_code == ExitCode.USAGE
