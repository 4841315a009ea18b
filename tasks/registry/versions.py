"""Versions of registered models in MLflow: their tags, and how to find them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tasks.runtime import manifest
from tasks.runtime.deferred import DeferredModule

if TYPE_CHECKING:
    import mlflow
    from mlflow import MlflowClient, exceptions
    from mlflow.entities.model_registry import ModelVersion
else:  # Most users of this module want the names of tags only.
    mlflow = DeferredModule("mlflow")
    exceptions = DeferredModule("mlflow.exceptions")

MODEL_FINGERPRINT = "model_fingerprint"
"""Tag with the fingerprint of the model; finds a model that is already registered."""

VALIDATION_STATUS = "validation_status"
"""Tag with the outcome of the promotion gate, or of a manual decision after it."""

VALIDATION_REASON = "validation_reason"
"""Tag with the reason for the validation status."""

P_VALUE_FAULT = "p_value_fault"
"""Tag with what is wrong with the p-values of the test rows; absent if nothing is."""

PARENT_VERSION = "parent_version"
"""Tag with the number of the champion at the time of registration."""

CALIBRATED_FROM = "calibrated_from"
"""Tag with the number of the version that this one is, but for its calibration rows."""

PREVIOUS_CHAMPION = "previous_champion"
"""Tag with the number of the champion that this version replaced."""

PROMOTION_BLOCKED = "promotion_blocked"
"""Tag of a version that was rolled back, with the time and the reason; the gate does
not promote a version that has it."""

MAX_TAG_LENGTH = 5000
"""Maximum length of a tag or description in MLflow, in characters."""


def version_uri(name: str, version: str) -> str:
    """Return the URI of a version of a registered model, models:/NAME/VERSION."""
    return f"models:/{name}/{version}"


def version_exists(client: MlflowClient, name: str, version: str) -> bool:
    """Return whether a registered model has a version with this number."""
    versions = client.search_model_versions(f"name = '{name}'")
    return any(str(found.version) == version for found in versions)


def get_version(client: MlflowClient, name: str, version: str) -> ModelVersion:
    """Return a version of a registered model by its number.

    Raises:
        ValueError: The model has no such version; the message lists the versions.
    """
    if not version_exists(client, name, version):
        raise ValueError(
            f"{name} has no version {version!r}; {list_versions(client, name)}"
        )
    return client.get_model_version(name, version)


def list_versions(client: MlflowClient, name: str) -> str:
    """Return a message that lists the versions of a model, or else all models."""
    versions = client.search_model_versions(f"name = '{name}'")
    if versions:
        numbers = sorted(int(found.version) for found in versions)
        return f"available versions: {', '.join(map(str, numbers))}"
    models = [model.name for model in client.search_registered_models()]
    return (
        f"no model named {name!r} is registered; "
        f"registered models: {', '.join(models) or 'none'}"
    )


def find_version(
    client: MlflowClient, name: str, fingerprint: str
) -> ModelVersion | None:
    """Return the newest version of `name` with this model fingerprint, or None."""
    versions = client.search_model_versions(
        f"name = '{name}' and tag.{MODEL_FINGERPRINT} = '{fingerprint}'"
    )
    return max(versions, key=lambda found: int(found.version), default=None)


def resolve_uri(client: MlflowClient, model_uri: str) -> ModelVersion:
    """Return the version that a model URI refers to at present.

    Args:
        client: The MLflow client.
        model_uri: models:/NAME@ALIAS or models:/NAME/VERSION.

    Raises:
        ValueError: The URI is malformed, or there is no such version or alias.
    """
    path = model_uri.removeprefix("models:/")
    name, _, alias = path.partition("@")
    version = ""
    if not alias:
        name, _, version = path.partition("/")
    if not name or not (alias or version):
        raise ValueError(
            f"model URI without a version or alias: {model_uri!r}; expected "
            "models:/NAME@champion or models:/NAME/1"
        )
    try:
        if version:
            return client.get_model_version(name, version)
        return client.get_model_version_by_alias(name, alias)
    except exceptions.MlflowException as error:
        raise ValueError(
            f"{model_uri}: no such version in the registry "
            f"{mlflow.get_tracking_uri()}; register one with `chainrule retrain`, list "
            "all with `chainrule status`"
        ) from error


def tag_manual_action(
    client: MlflowClient, name: str, version: str, action: str, reason: str
) -> None:
    """Record on a version who did what to it, when and why.

    Args:
        client: The MLflow client.
        name: Name of the registered model.
        version: Number of the version.
        action: What was done, such as "promoted"; the prefix of the tags.
        reason: Why it was done.
    """
    # A container need not have a user name.
    user = os.environ.get("USER") or f"user {os.getuid()}"
    values = {"reason": reason, "by": user, "at": manifest.now()}
    for key, value in values.items():
        client.set_model_version_tag(
            name, version, f"{action}_{key}", value[:MAX_TAG_LENGTH]
        )
