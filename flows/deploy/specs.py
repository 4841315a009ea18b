"""The Prefect deployments that a configuration describes."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import Flow
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import (
    CronSchedule,
    IntervalSchedule,
    RRuleSchedule,
)
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from flows.deploy import dataset_lock, scheduled
from flows.outcomes import Json
from tasks.config.paths import make_paths_absolute
from tasks.config.root import Config
from tasks.config.schedules import Schedule
from tasks.runtime import environment

FLOWS: dict[str, Flow[..., Any]] = {
    "retrain": scheduled.retrain,
    "score": scheduled.score,
    "monitor": scheduled.monitor,
    "sample": scheduled.sample,
}
"""The deployed flows, by the key of their schedule in the section `schedules`."""

ANCHOR = datetime(2020, 1, 1, tzinfo=UTC)
"""Start of all intervals; the current time would change at every deployment."""

DTSTART = "DTSTART:20200101T000000"
"""Start of an RRULE that names none."""


@dataclass(frozen=True)
class DeploymentSpec:
    """A deployment that a configuration describes.

    Attributes:
        flow: The deployed flow.
        fields: Fields that are compared with an existing deployment, as JSON.
        schedule: The schedule of the deployment.
        options: Further fields that the deployment is created with.
    """

    flow: Flow[..., Any]
    fields: Json
    schedule: DeploymentScheduleCreate
    options: Json


def deployment_specs(config: Config) -> dict[str, DeploymentSpec]:
    """Return the deployments that a configuration describes, by their full names.

    Raises:
        ValueError: A schedule cannot be parsed.
    """
    return {
        f"{flow.name}/{config.name}": deployment_spec(config, kind, flow, schedule)
        for kind, flow in FLOWS.items()
        if (schedule := getattr(config.schedules, kind)) is not None
    }


def deployment_spec(
    config: Config, kind: str, flow: Flow[..., Any], schedule: Schedule
) -> DeploymentSpec:
    """Return the deployment of one flow.

    Args:
        config: Configuration of the dataset.
        kind: Key of the schedule in the section `schedules`.
        flow: The deployed flow.
        schedule: When the flow runs.
    """
    planned = prefect_schedule(kind, schedule)
    fields = {
        "entrypoint": f"chainrule_entry.{flow.fn.__name__}",
        "parameters": {"config": _parameter(config)},
        "schedules": [schedule_fields(planned, schedule.active)],
        "tags": sorted([dataset_lock.TAG, config.name, kind]),
        "work_pool_name": config.schedules.work_pool,
        "work_queue_name": config.name,
        # Prefect would end a run when a restarted server has forgotten its lease;
        # flows/deploy/dataset_lock.py ensures one run at a time instead.
        "concurrency_limit": None,
        # Prefect reads these settings before any code of this project runs.
        "job_variables": {
            "env": dict(environment.PATIENT),
            **config.schedules.job_variables,
        },
    }
    options = {
        "description": flow.description,
        "enforce_parameter_schema": True,
        "parameter_openapi_schema": parameter_schema(flow).model_dump_for_openapi(),
    }
    created = DeploymentScheduleCreate(schedule=planned, active=schedule.active)
    return DeploymentSpec(flow, fields, created, options)


def _parameter(config: Config) -> Json:
    """Return a configuration as a parameter, with the URL that dumps hide."""
    content: Json = make_paths_absolute(config).model_dump(mode="json")
    if config.alerts.webhook is not None:
        content["alerts"]["webhook"] = config.alerts.webhook.get_secret_value()
    return content


def deployment_fields(deployment: DeploymentResponse) -> Json:
    """Return the fields of an existing deployment, as in `DeploymentSpec.fields`."""
    limit = deployment.global_concurrency_limit
    return {
        "entrypoint": deployment.entrypoint,
        "parameters": deployment.parameters,
        "schedules": [
            schedule_fields(each.schedule, each.active) for each in deployment.schedules
        ],
        "tags": sorted(deployment.tags),
        "work_pool_name": deployment.work_pool_name,
        "work_queue_name": deployment.work_queue_name,
        "concurrency_limit": limit.limit if limit else None,
        "job_variables": deployment.job_variables,
    }


def prefect_schedule(
    kind: str, schedule: Schedule
) -> CronSchedule | IntervalSchedule | RRuleSchedule:
    """Convert a schedule of the configuration to one of Prefect.

    Args:
        kind: Key of the schedule in the section `schedules`, for messages.
        schedule: A cron expression, an RRULE or an interval.

    Raises:
        ValueError: Prefect cannot parse the schedule.
    """
    try:
        if schedule.cron is not None:
            return CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
        if schedule.rrule is not None:
            # The server adds a start; without one the rule would seem to change at
            # every deployment.
            start = "" if "DTSTART" in schedule.rrule else f"{DTSTART}\n"
            rrule = f"{start}{schedule.rrule}"
            return RRuleSchedule(rrule=rrule, timezone=schedule.timezone)
        return IntervalSchedule(
            interval=timedelta(seconds=schedule.interval or 0),
            anchor_date=ANCHOR,
            timezone=schedule.timezone,
        )
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        rule = schedule.cron or schedule.rrule
        raise ValueError(f"schedules.{kind}: {rule!r}: {reason}") from error


def schedule_fields(
    schedule: Any,  # one of Prefect's schedules, as a request or as a response
    active: bool,
) -> Json:
    """Return the fields of a schedule that the server does not rewrite."""
    interval = getattr(schedule, "interval", None)
    return {
        "cron": getattr(schedule, "cron", None),
        "rrule": getattr(schedule, "rrule", None),
        "interval": interval.total_seconds() if interval else None,
        "anchor": schedule.anchor_date.timestamp() if interval else None,
        "timezone": schedule.timezone,
        "active": active,
    }
