"""Prefect tasks made of the functions of `tasks`, and what all flows share.

Each function of `tasks` finds out by itself what is already done, so Prefect caches
nothing.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, cast

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run
from prefect.tasks import Task

from ar_models.tables.encoder import TableEncoder
from tasks.config.data import DataConfig
from tasks.config.root import Config
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
from tasks.runtime import manifest, storage
from tasks.training import train, tuning, warm_start
from tasks.training.warm_start import StartingPoint

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


def local_step(function: Callable[P, R], name: str, **options: Any) -> Callable[P, R]:
    """Make a Prefect task of a function that is not retried.

    Args:
        function: Function of `tasks`.
        name: Name of the task.
        **options: Further options of `prefect.task`.
    """
    decorate: Any = task(  # Prefect's overloads do not keep the types
        name=name, cache_policy=NO_CACHE, persist_result=False, **options
    )
    return cast(Callable[P, R], decorate(function))


def remote_step(function: Callable[P, R], name: str) -> Callable[P, R]:
    """Make a Prefect task of a function that reads or writes remote storage or servers.

    Args:
        function: Function of `tasks`.
        name: Name of the task.
    """
    return local_step(
        function,
        name,
        retries=3,
        retry_delay_seconds=[5, 30, 120],
        retry_condition_fn=is_transient,
    )


group_rows = remote_step(group.group, name="group")
choose_start = local_step(warm_start.choose_start, name="start")
prepare_data = remote_step(prepare.prepare, name="prepare")
validate_data = local_step(data_validation.validate, name="data_validation")
train_model = local_step(train.train, name="train")
tune_model = local_step(tuning.tune, name="tune")
evaluate_model = remote_step(evaluate.evaluate, name="evaluate")
compare_samples = remote_step(fidelity.measure_fidelity, name="compare samples")
write_report = remote_step(model_report.write_report, name="report")
register_model = local_step(registration.register, name="register")
judge_challenger = remote_step(gate.gate, name="gate")
decide_champion = local_step(promotion.promote_if_passed, name="decide")
download_model = remote_step(downloads.download, name="download")
score_rows = remote_step(score.score, name="score")
score_partitions = remote_step(backfill.backfill, name="backfill")
compare_models = remote_step(compare.compare, name="compare")
monitor_rows = remote_step(monitor.monitor, name="monitor")
log_job = remote_step(tracking.log_job, name="log")
sample_rows = remote_step(sample.sample, name="sample")
embed_rows = remote_step(embed.embed, name="embed")
impute_rows = remote_step(impute.impute, name="impute")


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
    return download_model(model_uri(config, version), config.resources.storage)


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
    config: Config, prepared: PrepareResult, start: StartingPoint
) -> Iterator[str]:
    """Open the MLflow run of a retraining and end it with the block.

    A repeated retraining on the same data resumes the run that it had.

    Args:
        config: Configuration that is logged as parameters.
        prepared: Result of preparing the dataset.
        start: Result of choosing the model to start from.

    Yields:
        The id of the run.
    """
    settings = config.model_dump(mode="json", include={"model", "train", "evaluate"})
    key = manifest.job_key(
        job="retrain", prepared=prepared.key, start=start.version, config=settings
    )
    fingerprints = {"fingerprint": prepared.fingerprint, "encoder": prepared.encoder}
    run_id = tracking.start(
        config.name, key, config.model_dump(mode="json"), fingerprints
    )
    try:
        yield run_id
    except Exception:
        tracking.finish(run_id, "FAILED")
        raise
    except BaseException:
        tracking.finish(run_id, "KILLED")
        raise
    tracking.finish(run_id)
