"""Aliases of model versions in the MLflow registry: champion, challenger, previous."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.registry.versions import PREVIOUS_CHAMPION
from tasks.runtime.deferred import DeferredModule

if TYPE_CHECKING:
    from mlflow import MlflowClient, exceptions
    from mlflow.entities.model_registry import ModelVersion
else:
    exceptions = DeferredModule("mlflow.exceptions")

CHAMPION = "champion"
"""Alias of the version that jobs use unless another one is named."""

CHALLENGER = "challenger"
"""Alias of the newest version that the promotion gate did not promote."""

PREVIOUS = "previous"
"""Alias of the version that was champion before; rollback restores it."""


def version_by_alias(
    client: MlflowClient, name: str, alias: str
) -> ModelVersion | None:
    """Return the version of `name` that has an alias, or None."""
    try:
        aliases = client.get_registered_model(name).aliases
    except exceptions.MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    if alias not in aliases:
        return None
    return client.get_model_version(name, str(aliases[alias]))


def number_by_alias(client: MlflowClient, name: str, alias: str) -> str | None:
    """Return the number of the version of `name` that has an alias, or None."""
    version = version_by_alias(client, name, alias)
    return None if version is None else str(version.version)


def set_champion(client: MlflowClient, name: str, version: str) -> None:
    """Make a version the champion, and the present champion `previous`."""
    champion = number_by_alias(client, name, CHAMPION)
    if champion not in (None, version):
        # Before the champion changes: if killed in between, no alias is wrong.
        client.set_model_version_tag(name, version, PREVIOUS_CHAMPION, champion)
        client.set_registered_model_alias(name, PREVIOUS, champion)
    client.set_registered_model_alias(name, CHAMPION, version)
    if number_by_alias(client, name, CHALLENGER) == version:
        client.delete_registered_model_alias(name, CHALLENGER)
