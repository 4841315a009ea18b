"""Deployments of a configuration: what should be, what is, and the way from here.

A deployment of a flow has the name of the dataset, so that `scheduled-retrain/orders`
is found at once. All carry the tags `chainrule` and the name, by which they are known.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    WorkPoolCreate,
)
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import (
    CronSchedule,
    IntervalSchedule,
    RRuleSchedule,
)
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import (
    AutomationCore,
    EventTrigger,
    Posture,
)
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.utilities.asyncutils import run_coro_as_sync
from prefect.utilities.callables import parameter_schema
from prefect.workers.utilities import (
    get_default_base_job_template_for_infrastructure_type,
)
from pydantic import ValidationError

from flows import scheduled, turns
from tasks import environment
from tasks.config import Config, Schedule

FLOWS: dict[str, Flow[..., Any]] = {
    "retrain": scheduled.retrain,
    "score": scheduled.score,
    "monitor": scheduled.monitor,
    "sample": scheduled.sample,
}
"""The flow of each kind of deployment, by the key of its schedule."""

ANCHOR = datetime(2020, 1, 1, tzinfo=UTC)
"""From where intervals count; a moving anchor would change at every deployment."""

DTSTART = "DTSTART:20200101T000000"
"""From where an RRULE counts that does not say."""

LOCAL = (
    ("data", "path"),
    ("score", "input"),
    ("score", "output"),
    ("sample", "output"),
    ("resources", "storage"),
)
"""Keys with paths, which a worker would seek in a folder of its own."""

Json = dict[str, Any]  # JSON-able values


@dataclass(frozen=True)
class Wanted:
    """A deployment as it should be.

    Attributes:
        flow: Its flow.
        facts: What is compared with the deployment that is there, JSON-able.
        schedule: When it runs.
        options: What else it is created with.
    """

    flow: Flow[..., Any]
    facts: Json
    schedule: DeploymentScheduleCreate
    options: Json


def deploy(config: Config, *, dry_run: bool = False) -> Json:
    """Makes the deployments of a configuration what they should be.

    Args:
        config: Its `schedules` say which there are.
        dry_run: Only say what would change.

    Returns:
        `changes` (kind, name, change and, for updates, the fields), `pool`, `dry_run`.

    Raises:
        ValueError: There is no schedule, one cannot be read, or a block is missing.
    """
    wanted = wanted_deployments(config)
    if not wanted:
        raise ValueError(
            f"{config.name}: has no schedules; add, say, schedules: "
            '{retrain: {cron: "0 3 * * *"}}'
        )
    with get_client(sync_client=True) as client:
        check_blocks(client, config.schedules.notify)
        there = existing(client, config.name)
        changes = [
            *pool_changes(client, config),
            *differences(wanted, there),
            *automation_changes(client, config),
        ]
        if not dry_run:
            make_pool(client, config)
            client.upsert_global_concurrency_limit_by_name(
                turns.limit_name(config.name), 1
            )
            for name, each in wanted.items():
                if change_of(changes, name) != "unchanged":
                    create(client, config, each)
            for name in there.keys() - wanted.keys():
                client.delete_deployment(there[name].id)
            automate(client, config)
    return {"changes": changes, "pool": config.schedules.pool, "dry_run": dry_run}


def undeploy(name: str, *, dry_run: bool = False) -> Json:
    """Deletes the deployments of a dataset; the work pool and its queues stay.

    Returns:
        `changes` and `dry_run`.
    """
    with get_client(sync_client=True) as client:
        there = existing(client, name)
        if not dry_run:
            for deployment in there.values():
                client.delete_deployment(deployment.id)
            delete_automations(client, name)
            if there:
                limit = turns.limit_name(name)
                client.delete_global_concurrency_limit_by_name(limit)
    changes = [
        {"kind": "deployment", "name": full, "change": "delete"} for full in there
    ]
    return {"changes": changes, "dry_run": dry_run}


# --- what should be -------------------------------------------------------------------


def wanted_deployments(config: Config) -> dict[str, Wanted]:
    """The deployments that a configuration asks for, by their full names."""
    found = {}
    for kind, flow in FLOWS.items():
        schedule = getattr(config.schedules, kind)
        if schedule is not None:
            found[f"{flow.name}/{config.name}"] = wanted(config, kind, flow, schedule)
    return found


def wanted(
    config: Config, kind: str, flow: Flow[..., Any], schedule: Schedule
) -> Wanted:
    """One deployment as it should be."""
    planned = prefect_schedule(kind, schedule)
    facts = {
        "entrypoint": f"{flow.fn.__module__}.{flow.fn.__name__}",
        "parameters": {"config": absolute(config).model_dump(mode="json")},
        "schedules": [described(planned, schedule.active)],
        "tags": sorted([turns.TAG, config.name, kind]),
        "work_pool_name": config.schedules.pool,
        "work_queue_name": config.name,
        # A run would be ended when a restarted server has forgotten its lease; see
        # `flows/turns.py`, which sees to it that there is one at a time.
        "concurrency_limit": None,
        # Prefect reads its settings before any code of ours runs.
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
    return Wanted(flow, facts, created, options)


def prefect_schedule(
    kind: str, schedule: Schedule
) -> CronSchedule | IntervalSchedule | RRuleSchedule:
    """A schedule as Prefect knows it.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        if schedule.cron is not None:
            return CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
        if schedule.rrule is not None:
            # As the server would say it, or else it seems to change each time.
            begin = "" if "DTSTART" in schedule.rrule else f"{DTSTART}\n"
            rrule = f"{begin}{schedule.rrule}"
            return RRuleSchedule(rrule=rrule, timezone=schedule.timezone)
        return IntervalSchedule(
            interval=timedelta(seconds=schedule.interval or 0),
            anchor_date=ANCHOR,
            timezone=schedule.timezone,
        )
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        given = schedule.cron or schedule.rrule
        raise ValueError(f"schedules.{kind}: {given!r}: {said}") from error


def described(schedule: Any, active: bool) -> Json:  # one of Prefect's schedules
    """What matters of a schedule; the server writes the rest in its own way."""
    interval = getattr(schedule, "interval", None)
    return {
        "cron": getattr(schedule, "cron", None),
        "rrule": getattr(schedule, "rrule", None),
        "interval": interval.total_seconds() if interval else None,
        "anchor": schedule.anchor_date.timestamp() if interval else None,
        "timezone": schedule.timezone,
        "active": active,
    }


def absolute(config: Config) -> Config:
    """The configuration with absolute local paths: a worker runs elsewhere."""
    content = config.model_dump(mode="json")
    for section, key in LOCAL:
        path = content[section][key]
        if path is not None and "://" not in path:
            content[section][key] = str(Path(path).absolute())
    return Config.model_validate(content)


# --- what is there --------------------------------------------------------------------


def existing(client: SyncPrefectClient, name: str) -> dict[str, DeploymentResponse]:
    """The deployments of a dataset, by their full names."""
    tags = DeploymentFilter(tags=DeploymentFilterTags(all_=[turns.TAG, name]))
    found = client.read_deployments(deployment_filter=tags)
    return {f"{client.read_flow(d.flow_id).name}/{d.name}": d for d in found}


def facts_of(deployment: DeploymentResponse) -> Json:
    """What is compared of a deployment that is there, as `Wanted.facts`."""
    limit = deployment.global_concurrency_limit
    return {
        "entrypoint": deployment.entrypoint,
        "parameters": deployment.parameters,
        "schedules": [
            described(each.schedule, each.active) for each in deployment.schedules
        ],
        "tags": sorted(deployment.tags),
        "work_pool_name": deployment.work_pool_name,
        "work_queue_name": deployment.work_queue_name,
        "concurrency_limit": limit.limit if limit else None,
        "job_variables": deployment.job_variables,
    }


def check_blocks(client: SyncPrefectClient, slugs: tuple[str, ...]) -> None:
    """Raises ValueError where a block that is to be told of failures is not there."""
    for slug in slugs:
        kind, slash, name = slug.partition("/")
        if not slash:
            raise ValueError(
                f"schedules.notify: {slug!r} should be TYPE/NAME, such as "
                "slack-webhook/team"
            )
        try:
            run_coro_as_sync(read_block(kind, name))
        except ObjectNotFound as error:
            raise ValueError(
                f"schedules.notify: there is no block {slug!r} at {client.api_url}; "
                "create it on the page of Prefect, or with `prefect block create`"
            ) from error


async def read_block(kind: str, name: str) -> None:
    """Reads a block's description; raises ObjectNotFound if there is none."""
    async with get_client() as client:
        await client.read_block_document_by_name(name, kind)


# --- the way from here ----------------------------------------------------------------


def differences(
    wanted: Mapping[str, Wanted], there: Mapping[str, DeploymentResponse]
) -> Iterator[Json]:
    """What has to change, deployment by deployment."""
    for name, each in wanted.items():
        entry: Json = {"kind": "deployment", "name": name}
        if name not in there:
            yield entry | {"change": "create"}
            continue
        facts = facts_of(there[name])
        fields = [key for key in each.facts if each.facts[key] != facts[key]]
        if fields:
            yield entry | {"change": "update", "fields": fields}
        else:
            yield entry | {"change": "unchanged"}
    for name in sorted(there.keys() - wanted.keys()):
        yield {"kind": "deployment", "name": name, "change": "delete"}


def change_of(changes: list[Json], name: str) -> str:
    """What becomes of a deployment."""
    return str(next(c["change"] for c in changes if c["name"] == name))


def pool_changes(client: SyncPrefectClient, config: Config) -> list[Json]:
    """The work pool, if it has to be made."""
    if pool_exists(client, config.schedules.pool):
        return []
    return [{"kind": "work pool", "name": config.schedules.pool, "change": "create"}]


def pool_exists(client: SyncPrefectClient, name: str) -> bool:
    """Whether there is such a work pool."""
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        return False
    return True


def make_pool(client: SyncPrefectClient, config: Config) -> None:
    """Makes the work pool unless it is there."""
    if pool_exists(client, config.schedules.pool):
        return
    kind = config.schedules.pool_type
    template = run_coro_as_sync(
        get_default_base_job_template_for_infrastructure_type(kind)
    )
    if template is None:
        raise ValueError(
            f"schedules.pool_type: Prefect knows no template for {kind!r}; make the "
            f"work pool {config.schedules.pool!r} by hand"
        )
    client.create_work_pool(
        WorkPoolCreate(
            name=config.schedules.pool, type=kind, base_job_template=template
        )
    )


def create(client: SyncPrefectClient, config: Config, wanted: Wanted) -> None:
    """Creates a deployment, or brings the one that is there up to date."""
    facts = wanted.facts
    client.create_deployment(
        client.create_flow(wanted.flow),
        config.name,
        schedules=[wanted.schedule],
        **{k: facts[k] for k in facts if k != "schedules"},
        **wanted.options,
    )


# --- retraining after drift -----------------------------------------------------------


def automation_name(name: str) -> str:
    """What the automation of a dataset is called."""
    return f"chainrule: retrain {name} after drift"


def automation_changes(client: SyncPrefectClient, config: Config) -> list[Json]:
    """Whether the automation comes or goes."""
    name = automation_name(config.name)
    there = bool(client.read_automations_by_name(name))
    wanted = config.schedules.retrain_after_drift is not None
    if not (there or wanted):
        return []
    change = "unchanged" if there and wanted else "create" if wanted else "delete"
    return [{"kind": "automation", "name": name, "change": change}]


def automate(client: SyncPrefectClient, config: Config) -> None:
    """Makes the automation that retrains when drift lasts, if it is wanted.

    It does not depend on the number of batches, which the monitor counts; but the
    deployment that it starts may be another one than last time.
    """
    delete_automations(client, config.name)
    if config.schedules.retrain_after_drift is None:
        return
    retrain = existing(client, config.name)[f"{scheduled.retrain.name}/{config.name}"]
    client.create_automation(
        AutomationCore(
            name=automation_name(config.name),
            description=f"when the monitor says that drift of {config.name} lasts",
            tags=[turns.TAG, config.name],
            trigger=EventTrigger(
                expect={scheduled.LASTING},
                match=ResourceSpecification(
                    {"prefect.resource.id": scheduled.resource_of(config.name)}
                ),
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[RunDeployment(source="selected", deployment_id=retrain.id)],
        )
    )


def delete_automations(client: SyncPrefectClient, name: str) -> None:
    """Deletes the automation of a dataset, if there is one."""
    for found in client.read_automations_by_name(automation_name(name)):
        client.delete_automation(found.id)
