"""The MLflow run of a flow: one per job, resumed rather than repeated."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import mlflow
import pyarrow.fs as pafs
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from tasks.runtime import storage

JOB_KEY = "chainrule.job_key"
EPOCH_METRICS = {
    "train_nll": "train/nll",
    "valid_nll": "valid/nll",
    "rows_per_s": "throughput/rows_per_s",
}
"""MLflow's names of an epoch's figures; others are put below train/."""

BATCH = 100
"""Params and metrics per call: MLflow refuses more than 100 params at once."""

NAME = re.compile(r"\w[\w. -]*", re.ASCII)
"""What MLflow takes as the name of a param on every system."""

Item = TypeVar("Item")
Status = Literal["FINISHED", "FAILED", "KILLED"]


def start(
    name: str,
    key: str,
    config: Mapping[str, Any],  # nested JSON-able values
    fingerprints: Mapping[str, str],
) -> str:
    """The id of the run of the job `key`, now in the state RUNNING.

    A job that has a run already gets the same one, whether it was interrupted or is
    repeated: its key says that its results are the same. A fresh SQLite store is
    initialised here, so call it in one process before others touch the store.

    Args:
        name: Name of the experiment, which is the model's.
        key: Hash of everything that the job's results depend on.
        config: Becomes params, nested keys joined by dots.
        fingerprints: Become tags, such as fingerprint.dataset.
    """
    client = MlflowClient()
    experiment = experiment_id(client, name)
    found = client.search_runs(
        [experiment],
        filter_string=f"tags.`{JOB_KEY}` = '{key}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if found:
        run_id = str(found[0].info.run_id)
        client.update_run(run_id, status="RUNNING")
        logged = found[0].data.params
    else:
        run = client.create_run(experiment, run_name=key, tags={JOB_KEY: key})
        run_id, logged = str(run.info.run_id), {}
    # A param cannot change; where the work runs may have, since the first attempt.
    params = {k: v for k, v in flatten(config).items() if k not in logged}
    for part in batches([Param(k, v) for k, v in params.items()]):
        client.log_batch(run_id, params=part)
    tags = [RunTag(f"fingerprint.{k}", v) for k, v in fingerprints.items()]
    client.log_batch(run_id, tags=tags)
    return run_id


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment `name`, made if there is none.

    With an embedded store its artifacts stand beside the database, below the storage,
    and not in the folder that the command happens to run in.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return str(client.create_experiment(name, artifact_location(name)))
    if experiment.lifecycle_stage != "active":
        raise ValueError(
            f"the MLflow experiment {name!r} is deleted; restore it "
            f"(mlflow experiments restore -x {experiment.experiment_id}) or delete it "
            "for good (mlflow gc)"
        )
    return str(experiment.experiment_id)


def artifact_location(name: str) -> str | None:
    """Where the experiment's artifacts go; None leaves it to the MLflow server."""
    uri = mlflow.get_tracking_uri()
    if not uri.startswith("sqlite:///"):
        return None
    database = Path(uri.removeprefix("sqlite:///")).resolve()
    return (database.parent / "mlflow" / name).as_uri()


def metrics_logger(run_id: str) -> Callable[[Mapping[str, float]], None]:
    """A function that logs an epoch's metrics to the run.

    It takes a dict with the number of the `epoch` and what was measured in it, as
    `tasks.train` gives it. An epoch that the run holds already, because training
    resumed from a checkpoint before it, is not logged again.
    """
    client = MlflowClient()
    history = client.get_metric_history(run_id, "train/nll")
    seen = {metric.step for metric in history}

    def log(metrics: Mapping[str, float]) -> None:
        step = int(metrics["epoch"])
        if step in seen:
            return
        seen.add(step)
        values = {
            EPOCH_METRICS.get(name, f"train/{name}"): value
            for name, value in metrics.items()
            if name != "epoch"
        }
        client.log_batch(run_id, metrics=metric_entities(values, step))

    return log


def log_results(
    run_id: str,
    metrics: Mapping[str, float],
    *,
    artifacts: Sequence[str] = (),
) -> None:
    """Logs final figures and files to the run.

    Args:
        run_id: The run.
        metrics: Figures by name, such as test/nll.
        artifacts: Files or folders, local or S3, which keep their names.
    """
    log_metrics(run_id, metrics)
    for path in artifacts:
        log_artifact(MlflowClient(), run_id, path)


def log_metrics(run_id: str, metrics: Mapping[str, float]) -> None:
    """Logs final figures to the run."""
    client = MlflowClient()
    for part in batches(metric_entities(metrics, step=0)):
        client.log_batch(run_id, metrics=part)


def log_job(
    name: str,
    job: str,
    key: str,
    config: Mapping[str, Any],  # nested JSON-able values
    metrics: Mapping[str, float],
    *,
    artifacts: Sequence[str] = (),
    tags: Mapping[str, str | None] = MappingProxyType({}),
) -> str:
    """The id of a finished run of its own with the figures of a job.

    Args:
        name: Name of the experiment, which is the model's.
        job: What the job did; the run's tag chainrule.job.
        key: Its job key: a repeated job goes on with the run it had.
        config: Becomes params.
        metrics: Figures by name.
        artifacts: Files or folders, local or S3, which keep their names.
        tags: More tags of the run; None is left out.
    """
    run_id = start(name, key, config, {})
    client = MlflowClient()
    more = {"chainrule.job": job, **tags}
    entities = [RunTag(k, v) for k, v in more.items() if v is not None]
    client.log_batch(run_id, tags=entities)
    log_results(run_id, metrics, artifacts=artifacts)
    finish(run_id)
    return run_id


def log_artifact(client: MlflowClient, run_id: str, path: str) -> None:
    """Logs a file, or a folder with all that is in it."""
    filesystem, inner = storage.resolve(path)
    name = Path(inner).name
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / name
        if filesystem.get_file_info(inner).is_file:
            pafs.copy_files(inner, str(copy), source_filesystem=filesystem)
            client.log_artifact(run_id, str(copy))
        else:
            client.log_artifacts(run_id, str(storage.fetch(path, copy)), name)


def git_sha() -> str | None:
    """The commit of the working directory, or None where that is no repository.

    `CHAINRULE_GIT_SHA` says it where the directory cannot, as in a container image.
    """
    told = os.environ.get("CHAINRULE_GIT_SHA")
    git = shutil.which("git")
    if told or git is None:
        return told
    asked = subprocess.run(
        [git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None


def finish(run_id: str, status: Status = "FINISHED") -> None:
    """Ends the run."""
    MlflowClient().set_terminated(run_id, status)


def metric_entities(metrics: Mapping[str, float], step: int) -> list[Metric]:
    """MLflow's form of metrics measured now."""
    milliseconds = int(time.time() * 1000)
    return [Metric(k, float(v), milliseconds, step) for k, v in metrics.items()]


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested keys joined by dots, values as text: {"a": {"b": 1}} -> {"a.b": "1"}.

    A mapping with a key that cannot stand in a param's name is a value: patterns and
    names of columns may hold anything.
    """
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and all(map(NAME.fullmatch, value)):
            flat |= flatten(value, f"{prefix}{key}.")
        elif isinstance(value, Mapping):
            flat[f"{prefix}{key}"] = json.dumps(value, ensure_ascii=False)
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def batches(items: Sequence[Item]) -> list[Sequence[Item]]:
    """`items` in parts of at most `BATCH`."""
    return [items[i : i + BATCH] for i in range(0, len(items), BATCH)]
