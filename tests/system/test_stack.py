"""Tests of deployments on PostgreSQL, S3, MLflow, Prefect and Ray: `make test-stack`.

They run in order; each one continues where the previous one ended.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.server import get_app_client

from tasks.runtime import manifest, storage
from tests.support.servers import LIMIT, PASSWORD, READER, Stack, running, until
from tests.support.tables import small_table

pytestmark = pytest.mark.stack

ROWS = 600
"""Number of rows of a day."""

DAY = 24 * 3600


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running() as servers, pytest.MonkeyPatch.context() as patch:
        # For the clients in this process.
        for name, value in servers.environment.items():
            if name.startswith(("MLFLOW_", "AWS_")):
                patch.setenv(name, value)
        yield servers


# --- data -----------------------------------------------------------------------------


def a_day(day: int, *, shuffled: bool = False, moved: float = 0.0) -> pa.Table:
    """Return the rows of a day of 2026.

    Args:
        day: Number of the day.
        shuffled: Whether each column is shuffled by itself, which keeps its marginal
            distribution and makes the columns independent.
        moved: Number to add to the column `count`.
    """
    table = small_table(ROWS, seed=day)
    if shuffled:
        rng = np.random.default_rng(day)
        columns = {n: table[n].take(rng.permutation(ROWS)) for n in table.column_names}
        table = pa.table(columns)
    times = (20_454 + day) * DAY + np.arange(ROWS) * (DAY // ROWS)
    return table.append_column("at", pa.array(times, pa.timestamp("s"))).set_column(
        table.column_names.index("count"), "count", pc.add(table["count"], int(moved))
    )


def put(stack: Stack, path: str, table: pa.Table) -> None:
    """Write a Parquet file to S3."""
    pq.write_table(table, path.removeprefix("s3://"), filesystem=stack.s3)


def put_days(stack: Stack, path: str, days: range, **how: Any) -> None:
    """Write days as partitions of a dataset on S3."""
    for day in days:
        table = a_day(day, **how)
        put(stack, f"{path}/day=2026-01-{day:02}/part-0.parquet", table)


def configure(stack: Stack, name: str, **changes: Any) -> Path:
    """Write a configuration and return its path; sections are changed key by key."""
    content: dict[str, Any] = {
        "name": name,
        "data": {
            "path": f"s3://data/{name}",
            "id": ["id", "at", "day"],
            "split": {"by": "time", "column": "at", "test": 0.15},
        },
        "model": {"family": "made", "hidden": 32, "layers": 1, "components": 2},
        "train": {"epochs": 2, "batch_size": 64},
        "evaluate": {"resamples": 100},
        "gate": {"min_rows": 50},
        "score": {"after_retrain": True},
        "resources": {"storage": stack.environment["CHAINRULE_STORAGE"]},
        "schedules": {},
    }
    for section, keys in changes.items():
        content[section] = {**content.get(section, {}), **keys}
    path = stack.folder / "work" / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


EVERY_MINUTE = {"cron": "* * * * *"}
NEVER = {"cron": "0 0 1 1 *", "active": False}


def deploy(stack: Stack, name: str, **changes: Any) -> dict[str, str]:
    """Deploy a configuration and return the changes by name."""
    path = configure(stack, name, **changes)
    said = stack.chainrule("deploy", str(path))
    return {each["name"]: each["change"] for each in said["changes"]}


def aliases(name: str) -> dict[str, str]:
    """Return the versions of a model by alias."""
    found = MlflowClient().get_registered_model(name).aliases
    return {alias: str(version) for alias, version in found.items()}


def retrained(stack: Stack, name: str) -> dict[str, Any]:
    """Start a retraining and return its final state."""
    return stack.result(stack.begin(f"scheduled-retrain/{name}"))


def gate_metrics(name: str, version: str) -> dict[str, float]:
    """Return the metrics that the gate has logged to the run of a version."""
    client = MlflowClient()
    run = client.get_run(client.get_model_version(name, version).run_id)
    return {k: v for k, v in run.data.metrics.items() if k.startswith("gate/")}


# --- the story ------------------------------------------------------------------------


def test_cron_fires_and_two_datasets_get_a_champion_and_scores_at_once(
    stack: Stack,
) -> None:
    for name in ("orders", "trips"):
        put_days(stack, f"s3://data/{name}", range(1, 6))
        made = deploy(stack, name, schedules={"retrain": EVERY_MINUTE})
        assert made[f"scheduled-retrain/{name}"] == "create"
    stack.start_worker()

    first = {}
    for name in ("orders", "trips"):
        first[name] = until(lambda name=name: started(stack, name), LIMIT)
        # From here on runs start when the tests start them.
        deploy(stack, name, schedules={"retrain": NEVER})
    for name in ("orders", "trips"):
        run = first[name]
        state = stack.result(run["id"])
        assert state["name"] == "Completed", (state, stack.say(run["id"]))
        assert run["auto_scheduled"]
        assert run["work_pool_name"] == "chainrule"
        assert aliases(name) == {"champion": "1"}
        version = MlflowClient().get_model_version(name, "1")
        assert version.tags["validation_status"] == "passed"
        assert scored_rows(stack, name, "1") == 5 * ROWS


def scored_rows(stack: Stack, name: str, version: str) -> int:
    """Return the number of rows of all partitions that a version has scored."""
    folder = f"chainrule/{name}/partitions/version={version}"
    scored = pq.read_table(folder, filesystem=stack.s3, partitioning=None)
    return int(scored.num_rows)


def started(stack: Stack, name: str) -> dict[str, Any] | None:
    """Return the first run of a retraining that has started."""
    runs = stack.runs(f"scheduled-retrain/{name}")
    return next((run for run in reversed(runs) if run["start_time"]), None)


def test_a_challenger_that_learned_from_shuffled_columns_is_refused(
    stack: Stack,
) -> None:
    # All days but the newest, whose rows are held out.
    put_days(stack, "s3://data/shuffled", range(1, 6), shuffled=True)
    put_days(stack, "s3://data/shuffled", range(6, 7))
    changes = deploy(
        stack,
        "orders",
        data={"path": "s3://data/shuffled"},
        schedules={"retrain": NEVER},
    )
    assert changes["scheduled-retrain/orders"] == "update"
    state = retrained(stack, "orders")
    assert (state["type"], state["name"]) == ("COMPLETED", "Refused"), state
    assert "models:/orders/2 is challenger" in state["message"]
    assert aliases("orders") == {"champion": "1", "challenger": "2"}
    found = gate_metrics("orders", "2")
    assert found["gate/improvement"] < 0
    assert found["gate/improvement_passed"] == 0
    version = MlflowClient().get_model_version("orders", "2")
    assert version.tags["validation_status"] == "rejected"
    # By hand it is the same verdict, and no work.
    said = stack.chainrule(
        "retrain", str(stack.folder / "work" / "orders.yaml"), code=3
    )
    assert said["status"] == "refused"
    assert said["unchanged"]


def test_a_better_one_passes_though_the_prefect_server_dies_meanwhile(
    stack: Stack,
) -> None:
    put_days(stack, "s3://data/orders", range(6, 7))
    deploy(stack, "orders", train={"epochs": 12}, schedules={"retrain": NEVER})
    run = stack.begin("scheduled-retrain/orders")

    def trains() -> bool:
        under_way = stack.prefect(
            "task_runs/filter",
            {"task_runs": {"state": {"type": {"any_": ["RUNNING"]}}}},
        )
        return any(each["name"].startswith("train") for each in under_way)

    assert until(trains, LIMIT)
    stack.servers["prefect"].kill()
    stack.servers["prefect"].wait()
    stack.start_prefect()
    stack.wait("prefect", f"{stack.url('prefect')}/api/health")
    state = stack.result(run)
    assert (state["type"], state["name"]) == ("COMPLETED", "Completed"), stack.say(run)
    assert aliases("orders") == {"champion": "3", "previous": "1"}
    assert gate_metrics("orders", "3")["gate/improvement"] > 0
    assert scored_rows(stack, "orders", "3") == 6 * ROWS
    # The schedules of the other dataset outlived the server, too.
    assert retrained(stack, "trips")["type"] == "COMPLETED"


def test_a_rollback_is_one_command(stack: Stack) -> None:
    said = stack.chainrule("rollback", "orders", "--reason", "flags half of Sunday")
    assert (said["champion"], said["rolled_back"]) == ("1", "3")
    assert aliases("orders") == {"champion": "1"}
    tags = MlflowClient().get_model_version("orders", "3").tags
    assert tags["rolled_back_reason"] == "flags half of Sunday"
    assert tags["rolled_back_by"] == "tester"
    # It does not come back by itself.
    assert retrained(stack, "orders")["name"] == "Refused"
    assert aliases("orders") == {"champion": "1", "challenger": "3"}


def test_drift_that_lasts_starts_a_retraining(stack: Stack) -> None:
    put_days(stack, "s3://data/orders", range(7, 9), moved=8.0)
    deploy(
        stack,
        "orders",
        monitor={"input": "s3://data/latest"},
        schedules={"retrain": NEVER, "monitor": NEVER, "retrain_after_drift": 2},
    )
    before = {run["id"] for run in stack.runs("scheduled-retrain/orders")}

    def new_runs() -> list[dict[str, Any]]:
        runs = stack.runs("scheduled-retrain/orders")
        return [run for run in runs if run["id"] not in before]

    for day in (7, 8):
        assert new_runs() == []
        put(stack, "s3://data/latest/part-0.parquet", a_day(day, moved=8.0))
        state = stack.result(stack.begin("scheduled-monitor/orders"))
        assert (state["type"], state["name"]) == ("COMPLETED", "Refused"), state
    found = until(new_runs, LIMIT)
    assert found is not None
    (started,) = found
    assert started["created_by"]["type"] == "AUTOMATION"
    assert stack.result(started["id"])["type"] == "COMPLETED"
    assert {str(v.version) for v in versions("orders")} == {"1", "2", "3", "4"}


def versions(name: str) -> list[Any]:  # MLflow's
    """Return the registered versions of a model."""
    return list(MlflowClient().search_model_versions(f"name = '{name}'"))


# MLflow's server of accounts imports what Starlette has deprecated.
@pytest.mark.filterwarnings("ignore:starlette.middleware.wsgi is deprecated")
def test_a_consumer_without_rights_reads_and_cannot_move_an_alias(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = get_app_client("basic-auth", tracking_uri=stack.url("mlflow"))
    client.create_user(READER, PASSWORD)
    account = {
        "MLFLOW_TRACKING_USERNAME": READER,
        "MLFLOW_TRACKING_PASSWORD": PASSWORD,
    }
    before = aliases("orders")
    for name, value in account.items():
        monkeypatch.setenv(name, value)
    assert aliases("orders") == before
    rows = a_day(1).slice(0, 5).to_pandas()
    scored = mlflow.pyfunc.load_model("models:/orders@champion").predict(rows)
    assert len(scored) == 5
    with pytest.raises(MlflowException, match="Permission denied"):
        MlflowClient().set_registered_model_alias("orders", "champion", "2")
    said = stack.chainrule(
        *("promote", "orders", "2", "--reason", "mine"),
        code=1,
        environment=account,
    )
    assert "Permission denied" in said["error"]
    assert aliases("orders") == before


def outcome(stack: Stack, path: Path, **environment: str) -> dict[str, Any]:
    """Retrain, score and sample, and return the files and numbers of rows."""
    done = {
        command: stack.chainrule(command, str(path), environment=environment)
        for command in ("retrain", "score", "sample")
    }
    assert done["retrain"]["train"]["epochs"] == 2
    return {
        "prepared": manifest_of(done["retrain"]["prepare"]["path"])["rows"],
        "scored": files_of(done["score"]["score"]["path"]),
        "sampled": files_of(done["sample"]["sample"]["path"]),
        "model": sorted(storage.list_files(done["retrain"]["train"]["path"])),
    }


def manifest_of(folder: str) -> dict[str, Any]:
    content: dict[str, Any] = storage.read_json(f"{folder}/{manifest.MANIFEST}")
    return content


def files_of(folder: str) -> list[tuple[str, int]]:
    """Return the files of a folder of results with their numbers of rows."""
    named = [(each["path"], each["rows"]) for each in manifest_of(folder)["files"]]
    there = [name for name in storage.list_files(folder) if name.endswith(".parquet")]
    assert sorted(name for name, _ in named if name in there) == there
    return sorted(named)


def test_two_nodes_and_s3_give_what_one_machine_gives(stack: Stack) -> None:
    bulk: dict[str, Any] = {
        "score": {"rows_per_fragment": 500},
        "sample": {"rows": 1000, "rows_per_shard": 300},
    }
    # Each worker takes both processors of a node, so that they stand on two.
    resources = {"workers": 2, "cpus_per_worker": 2}
    pair = configure(
        stack, "pair", data={"path": "s3://data/trips"}, resources=resources, **bulk
    )
    together = outcome(stack, pair)
    assert sum(together["prepared"].values()) == 5 * ROWS
    one = configure(
        stack,
        "one",
        data={"path": "s3://data/trips"},
        resources={"storage": str(stack.folder / "work" / "storage")},
        **bulk,
    )
    assert outcome(stack, one, RAY_ADDRESS="") == together
