"""Prefect tasks made of the functions of `tasks`, and what all flows share.

Each function of `tasks` finds out by itself what is already done, so Prefect caches
nothing.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from prefect import Flow, flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run
from prefect.tasks import Task

from flows import alerts, links
from tasks.config.data import DataConfig
from tasks.config.root import Config
from tasks.runtime import dry_runs, manifest, storage
from tasks.runtime.deferred import DeferredModule
from tasks.runtime.patience import waiting_for
from tasks.runtime.spans import span

if TYPE_CHECKING:
    from ar_models.tables.encoder import TableEncoder
    from tasks.data import group, prepare
    from tasks.data.prepare import PrepareResult
    from tasks.evaluation import checks, compare, evaluate
    from tasks.evaluation.fidelity import fidelity
    from tasks.evaluation.report import model_report
    from tasks.inference import backfill, embed, impute, sample, score
    from tasks.monitoring import monitor
    from tasks.registry import (
        data_validation,
        downloads,
        promotion,
        registration,
        tracking,
    )
    from tasks.registry.downloads import DownloadedModel
    from tasks.registry.gate import gate
    from tasks.training import recalibrate, train, tuning, warm_start
    from tasks.training.warm_start import StartingPoint
else:  # A step imports its function when it runs.
    group = DeferredModule("tasks.data.group")
    prepare = DeferredModule("tasks.data.prepare")
    checks = DeferredModule("tasks.evaluation.checks")
    compare = DeferredModule("tasks.evaluation.compare")
    evaluate = DeferredModule("tasks.evaluation.evaluate")
    fidelity = DeferredModule("tasks.evaluation.fidelity.fidelity")
    model_report = DeferredModule("tasks.evaluation.report.model_report")
    backfill = DeferredModule("tasks.inference.backfill")
    embed = DeferredModule("tasks.inference.embed")
    impute = DeferredModule("tasks.inference.impute")
    sample = DeferredModule("tasks.inference.sample")
    score = DeferredModule("tasks.inference.score")
    monitor = DeferredModule("tasks.monitoring.monitor")
    data_validation = DeferredModule("tasks.registry.data_validation")
    downloads = DeferredModule("tasks.registry.downloads")
    promotion = DeferredModule("tasks.registry.promotion")
    registration = DeferredModule("tasks.registry.registration")
    tracking = DeferredModule("tasks.registry.tracking")
    gate = DeferredModule("tasks.registry.gate.gate")
    recalibrate = DeferredModule("tasks.training.recalibrate")
    train = DeferredModule("tasks.training.train")
    tuning = DeferredModule("tasks.training.tuning")
    warm_start = DeferredModule("tasks.training.warm_start")

ASKS_MLFLOW = {"register", "decide", "download", "log"}
"""Steps that mostly ask MLflow; if one takes long, the user is told so."""

RECORDS = {"register", "decide", "log", "report", "alert", "drift alert"}
"""Steps that record results elsewhere or send them; a dry run ends before them."""

P = ParamSpec("P")
R = TypeVar("R")

TRANSIENT_S3_ERROR = re.compile(
    r"AWS Error (NETWORK_CONNECTION|REQUEST_TIMEOUT|SLOW_DOWN|SERVICE_UNAVAILABLE"
    r"|INTERNAL_FAILURE|THROTTLING)"
)
"""Messages of pyarrow's S3 file system after which another attempt may succeed."""


def is_transient(step: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Return whether a task run failed for a reason that a retry may cure."""
    error = state.data
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and bool(TRANSIENT_S3_ERROR.search(str(error)))


@functools.cache
def as_flow(function: Callable[P, R]) -> Flow[P, R]:
    """Make a Prefect flow of a function whose parameter `config` names its runs.

    Only of the function that runs, since Prefect describes the configuration as a JSON
    schema for each flow, which takes a third of a second.

    Args:
        function: Function that composes steps.
    """
    return flow(flow_run_name="{config.name}")(function)


def local_step(
    find: Callable[[], Callable[P, R]], name: str, **options: Any
) -> Callable[P, R]:
    """Make a Prefect task of a function that is not retried.

    In a dry run, the function is called without Prefect.

    Args:
        find: Returns the function of `tasks`; called when the task runs.
        name: Name of the task.
        **options: Further options of `prefect.task`.
    """

    def step(*args: P.args, **kwargs: P.kwargs) -> R:
        server = os.environ.get("MLFLOW_TRACKING_URI", "")
        with ExitStack() as stack:
            stack.enter_context(span(f"step {name}"))
            if name in ASKS_MLFLOW and server.startswith("http"):
                what = f"the step {name!r}, which asks MLflow at {server},"
                stack.enter_context(waiting_for(what))
            return find()(*args, **kwargs)

    step.__name__ = step.__qualname__ = name  # Prefect makes keys of them.
    decorate: Any = task(  # Prefect's overloads do not keep the types
        name=name, cache_policy=NO_CACHE, persist_result=False, **options
    )
    run = cast(Callable[P, R], decorate(step))

    @functools.wraps(step)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if dry_runs.current() is None:
            return run(*args, **kwargs)
        if name in RECORDS:
            raise dry_runs.DryRunEnd
        return find()(*args, **kwargs)

    return call


def remote_step(find: Callable[[], Callable[P, R]], name: str) -> Callable[P, R]:
    """Make a Prefect task of a function that reads or writes remote storage or servers.

    Args:
        find: Returns the function of `tasks`; called when the task runs.
        name: Name of the task.
    """
    return local_step(
        find,
        name,
        retries=3,
        retry_delay_seconds=[5, 30, 120],
        retry_condition_fn=is_transient,
    )


group_rows = remote_step(lambda: group.group, name="group")
choose_start = local_step(lambda: warm_start.choose_start, name="start")
prepare_data = remote_step(lambda: prepare.prepare, name="prepare")
validate_data = local_step(lambda: data_validation.validate, name="data_validation")
train_model = local_step(lambda: train.train, name="train")
tune_model = local_step(lambda: tuning.tune, name="tune")
recalibrate_model = local_step(lambda: recalibrate.recalibrate, name="calibrate")
evaluate_model = remote_step(lambda: evaluate.evaluate, name="evaluate")
compare_samples = remote_step(lambda: fidelity.measure_fidelity, name="compare samples")
write_report = remote_step(lambda: model_report.write_report, name="report")
register_model = local_step(lambda: registration.register, name="register")
judge_challenger = remote_step(lambda: gate.gate, name="gate")
decide_champion = local_step(lambda: promotion.promote_if_passed, name="decide")
download_model = remote_step(lambda: downloads.download, name="download")
score_rows = remote_step(lambda: score.score, name="score")
score_partitions = remote_step(lambda: backfill.backfill, name="backfill")
compare_models = remote_step(lambda: compare.compare, name="compare")
monitor_rows = remote_step(lambda: monitor.monitor, name="monitor")
alert_of_anomalies = local_step(lambda: alerts.alert_of_anomalies, name="alert")
alert_of_drift = local_step(lambda: alerts.alert_of_drift, name="drift alert")
log_job = remote_step(lambda: tracking.log_job, name="log")
sample_rows = remote_step(lambda: sample.sample, name="sample")
embed_rows = remote_step(lambda: embed.embed, name="embed")
impute_rows = remote_step(lambda: impute.impute, name="impute")


def model_uri(config: Config, version: str) -> str:
    """Return the MLflow URI of a registered version, given by its number or alias."""
    separator = "/" if version.isdecimal() else "@"
    return f"models:/{config.name}{separator}{version}"


def fetch_model(config: Config, version: str) -> DownloadedModel:
    """Download a registered version.

    Args:
        config: Configuration with the model's name and the storage.
        version: Number or alias of the version.
    """
    root = dry_runs.copies_root(config.resources.storage)
    return download_model(model_uri(config, version), root)


def output_path(config: Config, kind: str) -> str:
    """Return the folder of one kind of results below the storage.

    It ends with `{key}`, which the task replaces by the key of the job.
    """
    return storage.join(config.resources.storage, config.name, kind, "{key}")


def input_path(config: Config, path: str | None = None) -> str:
    """Return the dataset to read, with its rows grouped into sequences if configured.

    Args:
        config: Configuration of the dataset.
        path: Dataset in place of `data.path`.
    """
    source = config.data.path if path is None else path
    if config.data.sequence is None:
        return source
    grouped = group_rows(config.data, source, output_path(config, "grouped"))
    return grouped.path


def training_data(config: Config) -> DataConfig:
    """Return the configuration of the dataset to learn from, grouped if configured."""
    return group.grouped_data(config.prepared_data, input_path(config))


def prepared_data(config: Config, encoder: TableEncoder | None = None) -> PrepareResult:
    """Prepare the dataset of a configuration.

    Args:
        config: Configuration of the dataset.
        encoder: Encoder of an earlier model to encode with; by default, a new one is
            fitted.

    Returns:
        The result of `tasks.data.prepare.prepare`.
    """
    return prepare_data(
        training_data(config),
        output_path(config, "prepared"),
        config.resources,
        encoder=encoder,
    )


def resolved_config(
    config: Config, prepared: PrepareResult, start: StartingPoint | None = None
) -> Config:
    """Replace every `auto` in a configuration by the number that training uses.

    Args:
        config: The configuration.
        prepared: Result of preparing the dataset.
        start: Result of choosing the model to start from, if any.
    """
    folder = start.folder if start else None
    model, training = train.resolve_settings(
        prepared.path, config.model, config.train, folder
    )
    return config.model_copy(update={"model": model, "train": training})


def provenance_tags() -> dict[str, str]:
    """Return the tags of a model version that name its flow run and git commit."""
    tags = {"flow_run_id": flow_run.id, "git_sha": tracking.git_sha()}
    return {name: value for name, value in tags.items() if value}


def publish_checks(name: str, kind: str, verdict: checks.Verdict) -> None:
    """Publish the checks of a verdict as a table artifact of the Prefect flow run.

    Args:
        name: Name of the model.
        kind: Kind of verdict, `gate` or `data_validation`.
        verdict: Result of the gate or of data validation.
    """
    outcome = "passed" if verdict.passed else "refused"
    create_table_artifact(
        checks.to_table(verdict.checks),
        key=artifact_key(name, kind),
        description=f"{outcome}: {verdict.reason}",
    )


def artifact_key(*parts: str) -> str:
    """Return a valid key of a Prefect artifact: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


@contextmanager
def mlflow_run(
    config: Config, prepared: PrepareResult, start: str | None, job: str = "retrain"
) -> Iterator[str]:
    """Open the MLflow run of a retraining or calibration and end it with the block.

    The same job, repeated on the same data, resumes the run that it had.

    Args:
        config: Configuration that is logged as parameters.
        prepared: Result of preparing the dataset.
        start: What identifies the model that the job starts from, if there is one.
        job: What the job does; enters the key by which its run is found again.

    Yields:
        The id of the run.
    """
    if dry_runs.current() is not None:
        raise dry_runs.DryRunEnd  # A run would be recorded.
    settings = config.model_dump(mode="json", include={"model", "train", "evaluate"})
    key = manifest.job_key(job=job, prepared=prepared.key, start=start, config=settings)
    fingerprints = {"fingerprint": prepared.fingerprint, "encoder": prepared.encoder}
    run_id = tracking.start(
        config.name, key, config.model_dump(mode="json"), fingerprints
    )
    links.link_pages(run_id)
    try:
        yield run_id
    except Exception:
        tracking.finish(run_id, "FAILED")
        raise
    except BaseException:
        tracking.finish(run_id, "KILLED")
        raise
    tracking.finish(run_id)
