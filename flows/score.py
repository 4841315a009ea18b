"""The probability of every row of a dataset, by the champion."""

from typing import Any

from prefect import flow

from flows import steps
from flows.steps import place
from tasks import group, storage
from tasks.config import Config


@flow(flow_run_name="{config.name}")
def score(
    config: Config, overwrite: bool = False, version: str = steps.CHAMPION
) -> dict[str, Any]:  # JSON-able
    """Scores every row of `score.input`.

    Args:
        config: The configuration.
        overwrite: Whether another job's output may be replaced.
        version: Number of a registered version, or an alias.
    """
    model, about = steps.version_of(config, version)
    source = steps.events_of(config, config.score.input)
    scored = steps.score_rows(
        model,
        source,
        config.score.output or place(config, "scored"),
        config.score,
        config.resources,
        id_columns=group.of_groups(config.data, source).id + config.score.carry,
        model_info=about,
        on_bad_file=config.data.on_bad_file,
        overwrite=overwrite,
    )
    return {"model": about, "score": scored}


@flow(flow_run_name="{config.name}")
def backfill(
    config: Config,
    since: str | None = None,
    until: str | None = None,
    model_version: str | None = None,
) -> dict[str, Any]:  # JSON-able
    """Scores the partitions of `score.input` that a version has not scored yet.

    All of them, or those from `since` to `until`; by the champion, or by
    `model_version`, a number or an alias.
    """
    group.refuse(config.data, "partition by partition")
    model, version = steps.version_of(config, model_version or steps.CHAMPION)
    scored = steps.score_partitions(
        model,
        config.score.input or config.data.path,
        partitions_place(config),
        config.score,
        config.resources,
        model_info=version,
        id_columns=config.data.id + config.score.carry,
        on_bad_file=config.data.on_bad_file,
        since=since,
        until=until,
    )
    return {"model": version, "backfill": scored}


def partitions_place(config: Config) -> str:
    """Where the results of partitions stand."""
    home = storage.join(config.resources.storage, config.name, "partitions")
    return config.score.output or home
