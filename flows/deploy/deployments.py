"""Create, update and delete the Prefect deployments that a configuration describes.

A deployment has the name of its dataset, such as `scheduled-retrain/orders`, and the
tags `chainrule` and the name of the dataset, by which it is found again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.utilities.asyncutils import run_coro_as_sync
from prefect.workers.utilities import (
    get_default_base_job_template_for_infrastructure_type,
)

from flows.deploy import automations, dataset_lock, scheduled
from flows.deploy.specs import DeploymentSpec, deployment_fields, deployment_specs
from flows.outcomes import Outcome
from tasks.config.root import Config


@dataclass(frozen=True)
class Change:
    """A change to one object of the Prefect server.

    Attributes:
        kind: Kind of object: deployment, work pool or automation.
        name: Full name of the object.
        change: What is done to it.
        fields: Names of the fields that an update changes.
    """

    kind: Literal["deployment", "work pool", "automation"]
    name: str
    change: Literal["create", "update", "delete", "unchanged"]
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DeployOutcome(Outcome):
    """Result of deploying or undeploying a configuration.

    Attributes:
        changes: Changes to the Prefect server.
        pool: Name of the work pool whose workers run the deployments, if there are any.
        dry_run: Whether the changes were only listed.
    """

    changes: tuple[Change, ...]
    pool: str | None = None
    dry_run: bool


def deploy(config: Config, *, dry_run: bool = False) -> DeployOutcome:
    """Bring the deployments of a dataset up to date with its configuration.

    Args:
        config: Configuration whose section `schedules` describes the deployments.
        dry_run: Whether to list the changes only.

    Raises:
        ValueError: The configuration has no schedule, a schedule cannot be parsed, or a
            notification block is missing.
    """
    specs = deployment_specs(config)
    if not specs:
        raise ValueError(
            f"{config.name}: the configuration has no schedules; add some, such as "
            'schedules: {retrain: {cron: "0 3 * * *"}}'
        )
    with get_client(sync_client=True) as client:
        check_blocks(client, "schedules.notify", config.schedules.notify)
        check_blocks(client, "alerts.blocks", config.alerts.blocks)
        existing = existing_deployments(client, config.name)
        changes = [
            *pool_changes(client, config),
            *deployment_changes(specs, existing),
            *automation_changes(client, config),
        ]
        if not dry_run:
            apply(client, config, specs, changes)
    return DeployOutcome(
        changes=tuple(changes), pool=config.schedules.work_pool, dry_run=dry_run
    )


def undeploy(name: str, *, dry_run: bool = False) -> DeployOutcome:
    """Delete the deployments of a dataset; its work pool and queue remain.

    Args:
        name: Name of the dataset.
        dry_run: Whether to list the changes only.
    """
    with get_client(sync_client=True) as client:
        existing = existing_deployments(client, name)
        changes = tuple(Change("deployment", full, "delete") for full in existing)
        if not dry_run:
            for deployment in existing.values():
                client.delete_deployment(deployment.id)
            automations.delete_automation(client, name)
            if existing:
                limit = dataset_lock.limit_name(name)
                client.delete_global_concurrency_limit_by_name(limit)
    return DeployOutcome(changes=changes, dry_run=dry_run)


def apply(
    client: SyncPrefectClient,
    config: Config,
    specs: Mapping[str, DeploymentSpec],
    changes: list[Change],
) -> None:
    """Make the changes to the deployments of a dataset.

    The automation is created anew, since the deployment that it runs may be a new one.

    Args:
        client: Client of the Prefect server.
        config: Configuration of the dataset.
        specs: Deployments that the configuration describes, by full name.
        changes: Changes to make.
    """
    create_pool(client, config)
    client.upsert_global_concurrency_limit_by_name(
        dataset_lock.limit_name(config.name), 1
    )
    existing = existing_deployments(client, config.name)
    for change in changes:
        if change.kind != "deployment":
            continue
        if change.change in ("create", "update"):
            create_deployment(client, config.name, specs[change.name])
        elif change.change == "delete":
            client.delete_deployment(existing[change.name].id)
    automations.delete_automation(client, config.name)
    if config.schedules.retrain_after_drift is not None:
        deployments = existing_deployments(client, config.name)
        retrain = deployments[f"{scheduled.retrain.name}/{config.name}"]
        automations.create_automation(client, config.name, retrain.id)


def existing_deployments(
    client: SyncPrefectClient, name: str
) -> dict[str, DeploymentResponse]:
    """Return the existing deployments of a dataset by their full names."""
    found = client.read_deployments(
        deployment_filter=dataset_lock.dataset_deployments(name)
    )
    return {f"{client.read_flow(d.flow_id).name}/{d.name}": d for d in found}


def deployment_changes(
    specs: Mapping[str, DeploymentSpec], existing: Mapping[str, DeploymentResponse]
) -> Iterator[Change]:
    """Yield the changes that turn existing deployments into those described."""
    for name, spec in specs.items():
        if name not in existing:
            yield Change("deployment", name, "create")
            continue
        fields = deployment_fields(existing[name])
        changed = tuple(k for k in spec.fields if spec.fields[k] != fields[k])
        yield Change("deployment", name, "update" if changed else "unchanged", changed)
    for name in sorted(existing.keys() - specs.keys()):
        yield Change("deployment", name, "delete")


def automation_changes(client: SyncPrefectClient, config: Config) -> list[Change]:
    """Return the change to the automation of a dataset, if it has or needs one."""
    exists = automations.automation_exists(client, config.name)
    wanted = config.schedules.retrain_after_drift is not None
    name = automations.automation_name(config.name)
    if exists and wanted:
        return [Change("automation", name, "unchanged")]
    if exists:
        return [Change("automation", name, "delete")]
    return [Change("automation", name, "create")] if wanted else []


def create_deployment(
    client: SyncPrefectClient, name: str, spec: DeploymentSpec
) -> None:
    """Create a deployment, or update the existing one.

    Args:
        client: Client of the Prefect server.
        name: Name of the dataset and the deployment.
        spec: The deployment.
    """
    client.create_deployment(
        client.create_flow(spec.flow),
        name,
        schedules=[spec.schedule],
        **{key: spec.fields[key] for key in spec.fields if key != "schedules"},
        **spec.options,
    )


def pool_changes(client: SyncPrefectClient, config: Config) -> list[Change]:
    """Return the creation of the work pool, if it does not exist."""
    pool = config.schedules.work_pool
    return [] if pool_exists(client, pool) else [Change("work pool", pool, "create")]


def pool_exists(client: SyncPrefectClient, name: str) -> bool:
    """Return whether the Prefect server has a work pool of a name."""
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        return False
    return True


def create_pool(client: SyncPrefectClient, config: Config) -> None:
    """Create the work pool of a configuration, unless it exists.

    Raises:
        ValueError: Prefect has no job template for the type of the pool.
    """
    pool, kind = config.schedules.work_pool, config.schedules.work_pool_type
    if pool_exists(client, pool):
        return
    template = run_coro_as_sync(
        get_default_base_job_template_for_infrastructure_type(kind)
    )
    if template is None:
        raise ValueError(
            f"schedules.work_pool_type: Prefect has no job template for {kind!r}; "
            f"create the work pool {pool!r} yourself"
        )
    client.create_work_pool(
        WorkPoolCreate(name=pool, type=kind, base_job_template=template)
    )


def check_blocks(client: SyncPrefectClient, key: str, slugs: tuple[str, ...]) -> None:
    """Raise ValueError if a notification block does not exist.

    Args:
        client: Client of the Prefect server.
        key: Key of the configuration that names the blocks.
        slugs: Blocks as TYPE/NAME.
    """
    for slug in slugs:
        kind, slash, name = slug.partition("/")
        if not slash:
            raise ValueError(
                f"{key}: must be TYPE/NAME, such as slack-webhook/team; got {slug!r}"
            )
        try:
            run_coro_as_sync(read_block(kind, name))
        except ObjectNotFound as error:
            raise ValueError(
                f"{key}: the block {slug!r} does not exist at "
                f"{client.api_url}; create it in the Prefect UI or with `prefect block "
                "create`"
            ) from error


async def read_block(kind: str, name: str) -> None:
    """Read the document of a block; raise ObjectNotFound if it does not exist."""
    async with get_client() as client:
        await client.read_block_document_by_name(name, kind)
