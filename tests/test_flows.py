"""The commands on a small table, in this process: results, refusals, bad input."""

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow import MlflowClient
from tables import small_table
from typer.testing import CliRunner, Result

from flows import cli, lifetime
from flows.terminal import Terminal


def call(*arguments: str) -> Result:
    """A command without a configuration."""
    return CliRunner().invoke(cli.app, arguments)


class Job:
    """A configuration in a folder of its own, and the command to run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.storage = folder / "storage"
        self.file = folder / "small.yaml"
        self.data.mkdir()
        self.write(small_table(), "part-0.parquet")
        self.content: dict[str, Any] = {
            "name": "small",
            "data": {"path": str(self.data), "id": ["id"]},
            "model": {"hidden": 16, "layers": 1, "components": 2},
            "train": {"epochs": 2, "batch_size": 128},
            "evaluate": {"bootstrap": 100},
            "score": {"rows_per_fragment": 400},
            "gate": {"load": "none"},
            "monitor": {"max_ks": 0.2, "max_psi": None},
            "sample": {"rows": 500, "rows_per_shard": 200},
            "resources": {"storage": str(self.storage)},
        }

    def write(self, table: pa.Table, name: str) -> None:
        pq.write_table(table, self.data / name)

    def __call__(self, command: str, *arguments: str, **sections: Any) -> Result:
        for section, values in sections.items():
            self.content.setdefault(section, {}).update(values)
        self.file.write_text(yaml.safe_dump(self.content))
        return CliRunner().invoke(cli.app, [command, str(self.file), *arguments])

    def files(self) -> dict[str, int]:
        """Every file of results with its time of change."""
        return {
            str(path.relative_to(self.storage)): path.stat().st_mtime_ns
            for path in sorted((self.storage / "small").rglob("*"))
            if path.is_file()
        }


@pytest.fixture(scope="session")
def job(
    server: None, ray: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Job]:
    """A retrained small table; commands run in this process, loggers are restored."""
    root = logging.getLogger()
    before = (root.handlers, root.level)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifetime, "is_supervised", lambda: True)
        patch.setattr(Terminal, "divert", lambda terminal, log: None)
        folder = tmp_path_factory.mktemp("job")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/storage/mlflow.db")
        yield Job(folder)
    root.handlers, root.level = before
    logging.captureWarnings(False)


@pytest.fixture(scope="session")
def retrained(job: Job) -> dict[str, Any]:
    ended = job("retrain", "--json")
    assert ended.exit_code == 0, ended.output
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def test_retrain_registers_the_first_version_as_champion(
    retrained: dict[str, Any],
) -> None:
    assert retrained["status"] == "done"
    assert retrained["register"]["version"] == "1"
    assert retrained["register"]["alias"] == "champion"
    assert sum(retrained["prepare"]["rows"].values()) == 1500
    assert Path(retrained["report"]).stat().st_size > 1000


def test_what_is_done_is_not_done_again(job: Job, retrained: dict[str, Any]) -> None:
    before = job.files()
    again = job("retrain", "--json")
    assert again.exit_code == 0
    result = json.loads(again.stdout)
    assert all(result[step]["done"] for step in ("prepare", "train", "evaluate"))
    assert result["register"]["version"] == "1"
    assert result["unchanged"]
    assert job.files() == before
    said = job("retrain").stdout
    assert "already done" in said
    assert "nothing new" in said


def test_a_challenger_that_is_not_better_is_refused(
    job: Job, retrained: dict[str, Any]
) -> None:
    result = job("retrain", "--json", "--set", "train.learning_rate=1.0e-9")
    assert result.exit_code == cli.REFUSED
    content = json.loads(result.stdout)
    assert content["status"] == "refused"
    assert content["register"]["alias"] == "challenger"
    assert content["register"]["version"] == "2"
    failed = [
        check["name"] for check in content["gate"]["checks"] if not check["passed"]
    ]
    assert "improvement" in failed
    page = Path(content["report"]).read_text()
    assert "<h2>The gate</h2>" in page
    assert "column/count" in page
    run = MlflowClient().get_run(content["run_id"])
    assert run.data.metrics["gate/improvement_passed"] == 0


def test_a_person_overrules_the_gate_and_takes_it_back(
    job: Job, retrained: dict[str, Any]
) -> None:
    job("retrain", "--set", "train.learning_rate=1.0e-9")
    place = ["--storage", str(job.storage), "--json"]
    refused = call("promote", "small", "2", *place)
    assert refused.exit_code == cli.USAGE  # It asks for the reason.
    moved = call("promote", "small", "2", "--reason", "we know better", *place)
    assert moved.exit_code == 0
    assert json.loads(moved.stdout)["champion"] == "2"
    again = json.loads(job("score", "--json").stdout)
    assert again["model"]["version"] == "2"
    back = call("rollback", "small", "--reason", "we did not", *place)
    content = json.loads(back.stdout)
    assert (content["champion"], content["withdrawn"]) == ("1", "2")
    missing = call("promote", "small", "9", "--reason", "why", *place)
    assert missing.exit_code == cli.FAILED
    assert "there are the versions 1, 2" in missing.stderr


def test_data_that_is_not_as_it_was_is_not_learned_from(
    job: Job, retrained: dict[str, Any], tmp_path: Path
) -> None:
    table = small_table(seed=1)
    place = table.schema.get_field_index("count")
    table = table.set_column(place, "count", pa.nulls(len(table), pa.int64()))
    pq.write_table(table, tmp_path / "bad.parquet")
    before = job.files()
    result = job("retrain", "--data", str(tmp_path / "bad.parquet"), "--json")
    assert result.exit_code == cli.REFUSED
    content = json.loads(result.stdout)
    assert "train" not in content
    assert "column count: 100.0% nulls" in content["contract"]["reason"]
    assert not [f for f in job.files().keys() - before.keys() if "/models/" in f]


def test_retraining_goes_on_from_the_champion(
    job: Job, retrained: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(job.data, tmp_path / "data")
    pq.write_table(small_table(600, seed=2), tmp_path / "data" / "part-1.parquet")
    arguments = ["--data", str(tmp_path / "data"), "--json"]
    arguments += ["--set", "train.start=champion", "--set", "train.old_rows=1.0"]
    result = json.loads(job("retrain", *arguments).stdout)
    begin = result["train"]["start"]
    assert result["start"]["version"] == "1"
    assert result["prepare"]["encoder"] == retrained["prepare"]["encoder"]
    assert 0 < begin["old"] <= begin["new"] < begin["old_of"]
    first = retrained["train"]["history"][0]["valid_nll"]
    assert result["train"]["history"][0]["valid_nll"] < first
    again = json.loads(job("retrain", *arguments).stdout)
    assert again["unchanged"]
    call("rollback", "small", "--storage", str(job.storage))


def test_only_what_the_champion_has_not_scored_is_scored(
    job: Job, retrained: dict[str, Any], tmp_path: Path
) -> None:
    for day in ("01", "02"):
        folder = tmp_path / "days" / f"day=2026-01-{day}"
        folder.mkdir(parents=True)
        pq.write_table(small_table(80, seed=int(day)), folder / "part.parquet")
    place = ["--input", str(tmp_path / "days"), "--output", str(tmp_path / "out")]
    one = job("backfill", *place, "--until", "2026-01-01", "--json")
    assert json.loads(one.stdout)["backfill"]["scored"] == ["day=2026-01-01"]
    rest = job("score", "--incremental", *place, "--json")
    assert json.loads(rest.stdout)["backfill"]["scored"] == ["day=2026-01-02"]
    assert "0 of 2 partitions were new" in job("score", "--incremental", *place).stdout
    for command in (["backfill"], ["score", "--incremental"]):
        same = job(*command, *place, "--model-version", "1", "--json")
        found = json.loads(same.stdout)
        assert found["model"]["version"] == "1"
        assert found["backfill"]["path"] == f"{tmp_path}/out/version=1"
        assert found["backfill"]["done"]
        unknown = job(*command, *place, "--model-version", "99")
        assert unknown.exit_code == cli.FAILED
        assert "models:/small/99: no such version is registered" in unknown.stderr
    none = job("backfill", *place, "--since", "2027")
    assert none.exit_code == cli.FAILED
    assert "no partition lies in 2027" in none.stderr


def test_every_row_is_scored_with_its_id(job: Job, retrained: dict[str, Any]) -> None:
    result = job("score", "--json")
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    assert content["model"]["version"] == "1"
    scored = pq.read_table(content["score"]["path"])
    assert scored["id"].to_pylist() == [f"row-0-{i}" for i in range(1500)]
    assert pa.compute.is_finite(scored["log_prob"]).to_numpy().all()
    assert json.loads(job("score", "--json").stdout)["score"]["done"]


def test_flags_of_score_replace_the_rule_of_the_file(
    job: Job, retrained: dict[str, Any]
) -> None:
    usual = json.loads(job("score", "--json").stdout)["score"]
    assert usual["rule"] == {"threshold": 99.9}
    result = job("score", "--json", "--budget", "12", "--set", "score.fdr=0.2")
    scored = json.loads(result.stdout)["score"]
    assert scored["rule"] == {"budget": 12} and scored["anomalies"] == 12
    assert scored["path"] != usual["path"]
    assert "the strangest 12" in job("score", "--budget", "12").stdout
    bad = job("score", "--set", "score.fdr=0.2", "--set", "score.threshold=99")
    assert bad.exit_code == cli.USAGE
    assert "only one of threshold, fdr, budget" in bad.stderr
    assert job("score", "--fdr", "2").exit_code == cli.USAGE


def test_monitor_is_code_3_where_rows_have_changed(
    job: Job, retrained: dict[str, Any], tmp_path: Path
) -> None:
    result = job("monitor", "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["monitor"]["verdict"] == "stable"
    assert content["model"]["version"] == "1"
    table = small_table(1000, seed=4)
    changed = table.set_column(1, "kind", pa.array(["a"] * 1000))
    pq.write_table(changed, tmp_path / "new.parquet")
    place = ["--input", str(tmp_path / "new.parquet"), "--model-version", "1"]
    result = job("monitor", *place, "--json")
    assert result.exit_code == cli.REFUSED
    content = json.loads(result.stdout)
    assert content["status"] == "drift"
    assert Path(content["monitor"]["page"]).exists()
    run = MlflowClient().get_run(content["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["drift/found"] == 1.0
    assert run.data.metrics["drift/marginal_ks/kind"] > 0.4
    assert run.data.tags["chainrule.job"] == "monitor"
    told = job("monitor", *place).stdout
    assert "drift" in told and "kind by itself" in told and "already done" in told


def test_two_versions_are_compared_on_the_test_rows(
    job: Job, retrained: dict[str, Any]
) -> None:
    job("retrain", "--json", "--set", "train.learning_rate=1.0e-9")
    result = CliRunner().invoke(
        cli.app, ["compare", str(job.file), "champion", "2", "--json"]
    )
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert [model["version"] for model in content["models"]] == ["1", "2"]
    compared = content["compare"]
    assert compared["rows_out"] == retrained["prepare"]["rows"]["test"]
    assert compared["difference"] > 0
    metrics = MlflowClient().get_run(content["run_id"]).data.metrics
    assert metrics["compare/difference"] == pytest.approx(compared["difference"])


def test_samples_have_the_original_columns_and_their_seed(
    job: Job, retrained: dict[str, Any]
) -> None:
    tables = []
    for arguments in (["--rows", "400"], ["--rows", "400", "--seed", "1"]):
        result = job("sample", "--json", *arguments)
        assert result.exit_code == 0
        tables.append(pq.read_table(json.loads(result.stdout)["sample"]["path"]))
    assert tables[0].schema.remove_metadata() == small_table().drop(["id"]).schema
    assert [table.num_rows for table in tables] == [400, 400]
    assert tables[0] != tables[1]


def test_every_row_has_features_with_its_id(
    job: Job, retrained: dict[str, Any]
) -> None:
    result = job("embed", "--json")

    assert result.exit_code == 0, result.output
    embedded = json.loads(result.stdout)["embed"]
    found = pq.read_table(embedded["path"])
    assert found.column_names == ["id", "features"]
    assert found["id"].to_pylist() == small_table()["id"].to_pylist()
    assert len(found["features"][0]) == embedded["features"] == 32
    assert "already done" in job("embed").output


def test_a_version_is_taken_by_number_or_alias(
    job: Job, retrained: dict[str, Any]
) -> None:
    for flags in (["--model-version", "1"], ["--alias", "champion"]):
        result = job("sample", "--json", "--rows", "400", *flags)
        assert json.loads(result.stdout)["model"]["version"] == "1"
        assert json.loads(result.stdout)["sample"]["done"]  # the same as without
    unknown = job("sample", "--alias", "nobody")
    assert unknown.exit_code == cli.FAILED
    assert "models:/small@nobody: no such version" in flatten(unknown.stderr)
    both = job("score", "--alias", "champion", "--model-version", "1")
    assert both.exit_code == cli.USAGE


def flatten(text: str) -> str:
    """A message on one line."""
    return " ".join(text.split())


def test_given_rows_are_completed_and_nulls_need_another_family(
    job: Job, retrained: dict[str, Any], tmp_path: Path
) -> None:
    given = small_table(20, seed=1).select(["kind", "count"])
    pq.write_table(given, tmp_path / "given.parquet")
    file = str(tmp_path / "given.parquet")

    result = job("sample", "--json", "--given", file, "--per-row", "2")

    rows = pq.read_table(json.loads(result.stdout)["sample"]["path"])
    assert len(rows) == 40
    assert rows["kind"].to_pylist()[::2] == given["kind"].to_pylist()
    refused = job("impute", "--json")
    assert refused.exit_code == cli.FAILED
    assert "train with model.family eonade" in flatten(refused.stderr)
    wrong = job("impute", "--method", "guess")
    assert wrong.exit_code == cli.USAGE
    assert "impute.method: input should be 'draw', 'median' or 'mean'" in flatten(
        wrong.stderr
    )
    assert job("sample", "--top-p", "1.5").exit_code == cli.USAGE


def test_synthetic_rows_are_judged_and_logged(
    job: Job, retrained: dict[str, Any]
) -> None:
    flags = ["--samples", "auto", "--target", "late"]

    result = job("evaluate", "--json", *flags, "--set", "fidelity.rows=400")

    content = json.loads(result.stdout)
    metrics = content["fidelity"]["metrics"]
    assert Path(content["fidelity"]["page"]).exists()
    logged = MlflowClient().get_run(retrained["run_id"]).data.metrics
    assert logged["samples/two_sample_auc"] == metrics["samples/two_sample_auc"]
    assert "two sample auc" in job(
        "evaluate", *flags, "--set", "fidelity.rows=400"
    ).stdout.replace("\n", " ")


def test_status_shows_versions_and_results(job: Job, retrained: dict[str, Any]) -> None:
    result = CliRunner().invoke(
        cli.app, ["status", "small", "--storage", str(job.storage), "--json"]
    )
    content = json.loads(result.stdout)
    first = next(v for v in content["versions"] if v["version"] == 1)
    assert first["aliases"] == ["champion"]
    assert first["test_nll"] == retrained["evaluate"]["metrics"]["test/nll"]
    kinds = {found["kind"] for found in content["results"]}
    assert {"prepared", "models", "evaluations"} <= kinds
    text = CliRunner().invoke(cli.app, ["status", "--storage", str(job.storage)])
    assert "champion" in text.stdout


def test_a_scored_file_tells_where_it_comes_from(
    job: Job, retrained: dict[str, Any], tmp_path: Path
) -> None:
    scored = json.loads(job("score", "--json").stdout)["score"]["path"]
    place = ["--storage", str(job.storage)]
    for path in (scored, f"{scored}/part-00001.parquet"):
        found = json.loads(call("status", path, *place, "--json").stdout)
        assert found["model"]["version"] == "1"
        assert found["version"]["aliases"] == ["champion"]
        assert found["training"]["data"] == str(job.data)
        fingerprint = found["version"]["tags"]["dataset_fingerprint"]
        assert fingerprint == retrained["prepare"]["fingerprint"]
    assert "by           small version 1" in call("status", scored, *place).stdout
    for path, said in (("no/such", "no such file"), (job.file, "is no result")):
        ended = call("status", str(path), *place)
        assert ended.exit_code == cli.FAILED
        assert said in ended.stderr


def test_init_proposes_a_configuration_that_retrain_takes(
    job: Job, tmp_path: Path
) -> None:
    result = CliRunner().invoke(cli.app, ["init", str(job.data)])
    assert result.exit_code == 0
    file = tmp_path / "proposed.yaml"
    file.write_text(result.stdout)
    ended = CliRunner().invoke(
        cli.app, ["prepare", str(file), "--storage", str(tmp_path / "s"), "--json"]
    )
    assert ended.exit_code == 0, ended.output
    columns = json.loads(ended.stdout)["prepare"]["columns"]
    assert columns["kind"] == "categorical"


def not_parquet(folder: Path) -> None:
    (folder / "part-1.parquet").write_text("a,b")


def truncated(folder: Path) -> None:
    whole = (folder / "part-0.parquet").read_bytes()
    (folder / "part-1.parquet").write_bytes(whole[: len(whole) // 2])


def column_missing(folder: Path) -> None:
    pq.write_table(small_table().drop(["paid"]), folder / "part-1.parquet")


def type_changed(folder: Path) -> None:
    table = small_table()
    text = pa.compute.cast(table["count"], pa.string())
    changed = table.set_column(table.schema.get_field_index("count"), "count", text)
    pq.write_table(changed, folder / "part-1.parquet")


def no_rows(folder: Path) -> None:
    pq.write_table(small_table().slice(0, 0), folder / "part-0.parquet")


@pytest.mark.parametrize(
    ("spoil", "settings", "said"),
    [
        (shutil.rmtree, [], ["no such file or folder"]),
        (lambda folder: (folder / "part-0.parquet").unlink(), [], ["no"]),
        (not_parquet, [], ["part-1.parquet", "Parquet"]),
        (truncated, [], ["part-1.parquet"]),
        (no_rows, [], ["no rows"]),
        (column_missing, [], ["part-1.parquet", "paid"]),
        (type_changed, [], ["part-1.parquet", "count", "string", "int64"]),
        (lambda folder: None, ["data.id=[idd]"], ["data.id", "idd", "id"]),
        (
            lambda folder: None,
            ["data.exclude=[kind, count, paid, late]"],
            ["all columns"],
        ),
        (
            lambda folder: None,
            ["data.columns={kind: {kind: real}}"],
            ["kind", "string", "real"],
        ),
    ],
    ids=[
        "no such path",
        "empty folder",
        "not Parquet",
        "truncated",
        "zero rows",
        "column missing",
        "type changed",
        "no such column",
        "all left out",
        "kind impossible",
    ],
)
def test_bad_data_is_one_message_and_harms_nothing(
    job: Job,
    retrained: dict[str, Any],
    tmp_path: Path,
    spoil: Callable[[Path], object],
    settings: list[str],
    said: list[str],
) -> None:
    data = tmp_path / "data"
    shutil.copytree(job.data, data)
    spoil(data)
    before = job.files()
    changes = [part for setting in settings for part in ("--set", setting)]
    for command in ("retrain", "score"):
        if command == "score" and settings:
            continue  # They concern preparing only.
        place = ["--input"] if command == "score" else ["--data"]
        result = job(command, *place, str(data), *changes)
        assert result.exit_code == cli.FAILED
        for words in said:
            assert words in result.stderr
        assert "Traceback" not in result.output
        assert before.items() <= job.files().items()


def test_a_corrupt_file_among_good_ones_is_put_in_quarantine_on_demand(
    job: Job, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(job.data, data)
    truncated(data)
    place = ["--data", str(data), "--storage", str(tmp_path / "storage")]
    assert job("prepare", *place).exit_code == cli.FAILED
    result = job("prepare", *place, "--set", "data.on_bad_file=quarantine", "--json")
    assert result.exit_code == 0
    prepared = json.loads(result.stdout)["prepare"]
    assert [bad["name"] for bad in prepared["bad_files"]] == ["part-1.parquet"]
    assert sum(prepared["rows"].values()) == 1500


def test_an_output_of_another_job_is_refused_unless_overwritten(
    job: Job, retrained: dict[str, Any], tmp_path: Path
) -> None:
    output = ["--output", str(tmp_path / "out")]
    assert job("sample", *output, "--rows", "100").exit_code == 0
    before = sorted(path.read_bytes() for path in (tmp_path / "out").iterdir())
    for command in ("sample", "score"):
        result = job(command, *output)
        assert result.exit_code == cli.FAILED
        assert "holds the output of another job" in result.stderr
        assert "--overwrite" in result.stderr
    assert before == sorted(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert job("score", *output, "--overwrite").exit_code == 0


def test_files_of_the_user_are_never_overwritten(
    job: Job, retrained: dict[str, Any], tmp_path: Path
) -> None:
    precious = tmp_path / "thesis.tex"
    precious.write_text("chapter 1")
    result = job("sample", "--output", str(tmp_path), "--overwrite")
    assert result.exit_code == cli.FAILED
    assert precious.read_text() == "chapter 1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EACCES, "a folder you may write to"),
        (errno.EROFS, "a folder you may write to"),
    ],
)
def test_a_disk_that_refuses_is_one_message_and_harms_nothing(
    job: Job,
    retrained: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    said: str,
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number), "part-0")

    before = job.files()
    monkeypatch.setattr(os, "fsync", refuse)
    changes = {"retrain": "data.min_category_count=3", "score": "score.threshold=99"}
    for command, change in changes.items():
        result = job(command, "--set", change)
        assert result.exit_code == cli.FAILED, result.output
        assert said in result.stderr.lower()
        assert "Traceback" not in result.output
    monkeypatch.undo()
    after = job.files()
    assert before.items() <= after.items()
    assert not [name for name in after if ".tmp-" in name]


def test_a_storage_below_a_file_is_one_message(job: Job, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = job("retrain", "--storage", str(tmp_path / "file" / "storage"))
    assert result.exit_code == cli.FAILED
    assert "file" in result.stderr
    assert "Traceback" not in result.output


def test_an_unknown_model_is_one_message(job: Job, tmp_path: Path) -> None:
    result = job("score", "--set", "name=nobody")
    assert result.exit_code == cli.FAILED
    assert "nobody" in result.stderr
    assert "retrain" in result.stderr


def test_one_command_at_a_time_retrains_a_model(
    job: Job, retrained: dict[str, Any]
) -> None:
    name = hashlib.sha256(f"{job.storage}/small".encode()).hexdigest()[:16]
    with lifetime.hold(job.storage / "locks" / f"{name}.lock"):
        result = job("retrain")
    assert result.exit_code == cli.FAILED
    assert "another chainrule command" in result.stderr
