"""The Prefect automation that retrains a model when drift lasts."""

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from flows.deploy import dataset_lock, scheduled


def automation_name(name: str) -> str:
    """Return the name of the automation of a dataset."""
    return f"chainrule: retrain {name} after drift"


def automation_exists(client: SyncPrefectClient, name: str) -> bool:
    """Return whether a dataset has an automation."""
    return bool(client.read_automations_by_name(automation_name(name)))


def create_automation(client: SyncPrefectClient, name: str, retrain: UUID) -> None:
    """Create the automation of a dataset.

    The monitor counts the batches; the automation waits for its event only.

    Args:
        client: Client of the Prefect server.
        name: Name of the dataset.
        retrain: Id of the deployment that the automation runs.
    """
    client.create_automation(
        AutomationCore(
            name=automation_name(name),
            description=f"Retrain {name} when monitoring finds lasting drift.",
            tags=[dataset_lock.TAG, name],
            trigger=EventTrigger(
                expect={scheduled.LASTING_DRIFT_EVENT},
                match=ResourceSpecification(
                    {"prefect.resource.id": scheduled.resource_id(name)}
                ),
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[RunDeployment(source="selected", deployment_id=retrain)],
        )
    )


def delete_automation(client: SyncPrefectClient, name: str) -> None:
    """Delete the automation of a dataset, if there is one."""
    for automation in client.read_automations_by_name(automation_name(name)):
        client.delete_automation(automation.id)
