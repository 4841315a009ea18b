"""The functions of `tasks` as Prefect runs them: names, retries, MLflow runs.

Every step finds by itself what is done already, so Prefect caches nothing.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run
from prefect.tasks import Task

from tasks import (
    backfill,
    compare,
    contract,
    embed,
    evaluate,
    fidelity,
    gate,
    group,
    impute,
    manifest,
    monitor,
    prepare,
    register,
    report,
    sample,
    score,
    start,
    storage,
    tracking,
    train,
)
from tasks.config import Config

PASSING = re.compile(
    r"AWS Error (NETWORK_CONNECTION|REQUEST_TIMEOUT|SLOW_DOWN|SERVICE_UNAVAILABLE"
    r"|INTERNAL_FAILURE|THROTTLING)"
)
"""What pyarrow says of S3 when another attempt may succeed."""


def may_pass(step: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a failure came from the outside world and may be gone next time."""
    error = state.data
    broken = isinstance(error, ConnectionError | TimeoutError)
    return broken or (isinstance(error, OSError) and bool(PASSING.search(str(error))))


once: Callable[..., Any] = partial(task, cache_policy=NO_CACHE, persist_result=False)
outside: Callable[..., Any] = partial(
    once, retries=3, retry_delay_seconds=[5, 30, 120], retry_condition_fn=may_pass
)
"""For steps that read or write what may be far away."""

group_rows = outside(group.group, name="group")
choose_start = once(start.choose, name="start")
prepare_data = outside(prepare.prepare, name="prepare")
check_contract = once(contract.check, name="contract")
train_model = once(train.train, name="train")
evaluate_model = outside(evaluate.evaluate, name="evaluate")
compare_samples = outside(fidelity.fidelity, name="compare samples")
write_report = outside(report.report, name="report")
register_model = once(register.register, name="register")
judge_challenger = outside(gate.gate, name="gate")
decide_champion = once(register.decide, name="decide")
download_model = outside(register.download, name="download")
score_rows = outside(score.score, name="score")
score_partitions = outside(backfill.backfill, name="backfill")
compare_models = outside(compare.compare, name="compare")
monitor_rows = outside(monitor.monitor, name="monitor")
log_job = outside(tracking.log_job, name="log")
sample_rows = outside(sample.sample, name="sample")
embed_rows = outside(embed.embed, name="embed")
impute_rows = outside(impute.impute, name="impute")


CHAMPION = "champion"
"""The alias of the version that works if no other is asked for."""


def model_uri(config: Config, version: str = CHAMPION) -> str:
    """The URI of a registered version, by its number or by an alias."""
    if version.isdecimal():
        return f"models:/{config.name}/{version}"
    return f"models:/{config.name}@{version}"


def version_of(
    config: Config, version: str = CHAMPION
) -> tuple[str, dict[str, Any]]:  # JSON-able
    """The local folder of a registered version, by number or alias, and about it."""
    found: tuple[str, dict[str, Any]] = download_model(
        model_uri(config, version), config.resources.storage
    )
    return found


def events_of(config: Config, path: str | None = None) -> str:
    """The rows of `path`, or of the data; grouped first where they are of sequences."""
    source = group_rows(config.data, path or config.data.path, place(config, "grouped"))
    return str(source["path"])


def rival_folder(registered: Mapping[str, Any], root: str) -> str | None:
    """The folder of the version that a registered one has to beat, if there is one."""
    if registered["rival"] is None:
        return None
    folder: str = download_model(registered["rival"], root)[0]
    return folder


def version_tags() -> dict[str, str]:
    """What a version says about the run and the commit that made it."""
    found = {"flow_run_id": flow_run.id, "git_sha": tracking.git_sha()}
    return {name: value for name, value in found.items() if value}


def show_checks(name: str, what: str, verdict: Mapping[str, Any]) -> None:
    """Puts what was checked on the page of the flow run, as a table."""
    create_table_artifact(
        gate.as_table(verdict["checks"]),
        key=artifact_key(name, what),
        description=f"{'passed' if verdict['passed'] else 'refused'}: "
        f"{verdict['reason']}",
    )


def artifact_key(*parts: str) -> str:
    """A name as Prefect wants it for artifacts: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def place(config: Config, kind: str) -> str:
    """A folder of results below the storage; `{key}` becomes the key of the job."""
    return storage.join(config.resources.storage, config.name, kind, "{key}")


@contextmanager
def mlflow_run(
    config: Config, prepared: Mapping[str, Any], start: Mapping[str, Any]
) -> Iterator[str]:
    """The id of the MLflow run of a retraining, ended as the block ends.

    A repeated retraining on the same rows goes on with the run it had.
    """
    settings = config.model_dump(mode="json", include={"model", "train", "evaluate"})
    key = manifest.job_key(
        job="retrain",
        prepared=prepared["key"],
        start=start["version"],
        config=settings,
    )
    names = ("fingerprint", "encoder")
    fingerprints = {name: str(prepared[name]) for name in names}
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
