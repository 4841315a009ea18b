"""MLflow runs: one per job, resumed when the job is repeated."""

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
from tasks.runtime.redaction import redact

JOB_KEY = "chainrule.job_key"
"""Tag of a run with the key of its job."""

EPOCH_METRICS = {
    "train_nll": "train/nll",
    "valid_nll": "valid/nll",
    "rows_per_s": "throughput/rows_per_s",
}
"""MLflow's names of metrics of an epoch; all others get the prefix `train/`."""

BATCH = 100
"""Maximum number of params or metrics per call; MLflow takes at most 100 params."""

NAME = re.compile(r"\w[\w. -]*", re.ASCII)
"""Names of params that MLflow accepts on every operating system."""

USER_INFO = re.compile(r"//[^/@]*@")
"""User name and password in a URL."""

Item = TypeVar("Item")
Status = Literal["FINISHED", "FAILED", "KILLED"]


def start(
    name: str,
    key: str,
    config: Mapping[str, Any],  # nested JSON-able values
    fingerprints: Mapping[str, str],
) -> str:
    """Start the MLflow run of a job, or resume the run that it has; return its id.

    A new SQLite store is initialised here, so call it in one process before others use
    the store.

    Args:
        name: Name of the experiment, the same as that of the model.
        key: The job key.
        config: Logged as params, with nested keys joined by dots.
        fingerprints: Logged as tags, such as `fingerprint.dataset`.
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
    # A param cannot change, but the resources may have since the first attempt.
    params = {k: v for k, v in flatten(config).items() if k not in logged}
    for part in batches([Param(k, v) for k, v in params.items()]):
        client.log_batch(run_id, params=part)
    tags = [RunTag(f"fingerprint.{k}", v) for k, v in fingerprints.items()]
    client.log_batch(run_id, tags=tags)
    return run_id


def experiment_id(client: MlflowClient, name: str) -> str:
    """Return the id of an experiment, which is created if it does not exist.

    Raises:
        ValueError: The experiment is deleted.
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
    """Return the URI for the artifacts of an experiment; None lets MLflow choose.

    With an SQLite store they are beside the database, not in the current directory.
    """
    uri = mlflow.get_tracking_uri()
    if not uri.startswith("sqlite:///"):
        return None
    database = Path(uri.removeprefix("sqlite:///")).resolve()
    return (database.parent / "mlflow" / name).as_uri()


def metrics_logger(run_id: str) -> Callable[[Mapping[str, float]], None]:
    """Return a function that logs the metrics of an epoch to a run.

    Epochs that are logged already are skipped: training may resume before them.
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
    """Log final metrics and artifacts to a run.

    Args:
        run_id: The run.
        metrics: Metrics by name, such as `test/nll`.
        artifacts: Files or folders, local or S3.
    """
    log_metrics(run_id, metrics)
    for path in artifacts:
        log_artifact(MlflowClient(), run_id, path)


def log_metrics(run_id: str, metrics: Mapping[str, float]) -> None:
    """Log final metrics to a run."""
    for part in batches(metric_entities(metrics, step=0)):
        MlflowClient().log_batch(run_id, metrics=part)


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
    """Log a finished job as an MLflow run; return the id of the run.

    Args:
        name: Name of the experiment, the same as that of the model.
        job: Kind of the job, the tag `chainrule.job` of the run.
        key: The job key.
        config: Logged as params.
        metrics: Metrics by name.
        artifacts: Files or folders, local or S3.
        tags: Further tags of the run; None is left out.
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
    """Log a file, or a folder with its content, under its own name."""
    filesystem, inner = storage.resolve(path)
    name = Path(inner).name
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / name
        if filesystem.get_file_info(inner).is_file:
            pafs.copy_files(inner, str(copy), source_filesystem=filesystem)
            client.log_artifact(run_id, str(copy))
        else:
            client.log_artifacts(run_id, str(storage.fetch(path, copy)), name)


def set_tags(run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run, in one call."""
    if tags:
        MlflowClient().log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])


def run_page(run_id: str) -> str | None:
    """Return the address of a run's page; None if there is no MLflow server."""
    server = USER_INFO.sub("//", mlflow.get_tracking_uri().rstrip("/"))
    if not server.startswith("http"):
        return None
    experiment = MlflowClient().get_run(run_id).info.experiment_id
    return f"{server}/#/experiments/{experiment}/runs/{run_id}"


def git_sha() -> str | None:
    """Return the git commit of the current directory, or None outside of a repository.

    The environment variable `CHAINRULE_GIT_SHA` takes precedence, as in an image.
    """
    configured, git = os.environ.get("CHAINRULE_GIT_SHA"), shutil.which("git")
    if configured or git is None:
        return configured
    command = [git, "rev-parse", "HEAD"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stdout.strip() or None


def finish(run_id: str, status: Status = "FINISHED") -> None:
    """End a run with a status."""
    MlflowClient().set_terminated(run_id, status)


def metric_entities(metrics: Mapping[str, float], step: int) -> list[Metric]:
    """Convert metrics to entities of MLflow with the current time."""
    milliseconds = int(time.time() * 1000)
    return [Metric(k, float(v), milliseconds, step) for k, v in metrics.items()]


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten a nested mapping to params: {"a": {"b": 1}} becomes {"a.b": "1"}.

    A mapping with a key that is not a valid name of a param becomes a JSON value.
    """
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and all(map(NAME.fullmatch, value)):
            flat |= flatten(value, f"{prefix}{key}.")
        elif isinstance(value, Mapping):
            flat[f"{prefix}{key}"] = redact(json.dumps(value, ensure_ascii=False))
        else:
            flat[f"{prefix}{key}"] = redact(str(value))
    return flat


def batches(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Divide items into batches of at most `BATCH`."""
    return [items[i : i + BATCH] for i in range(0, len(items), BATCH)]
