"""Promotion of a version: by the gate's verdict, by hand, or by a rollback."""

import logging
from dataclasses import dataclass

from mlflow import MlflowClient

from tasks.evaluation.checks import Verdict, to_metrics
from tasks.registry import tracking
from tasks.registry.alias_state import AliasState
from tasks.registry.aliases import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    number_by_alias,
    set_champion,
)
from tasks.registry.versions import (
    MAX_TAG_LENGTH,
    PREVIOUS_CHAMPION,
    PROMOTION_BLOCKED,
    VALIDATION_REASON,
    VALIDATION_STATUS,
    get_version,
    list_versions,
    tag_manual_action,
    version_exists,
    version_uri,
)
from tasks.runtime import manifest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Promotion:
    """The decision, after the gate's verdict, whether a version becomes champion.

    Attributes:
        version: Number of the version.
        uri: URI of the version, models:/NAME/VERSION.
        alias: `champion`, `challenger`, or None for a first version that was rejected.
        promoted: Whether the version is champion now.
        reason: Why it was or was not promoted.
        needs_review: Whether it needs manual approval.
    """

    version: str
    uri: str
    alias: str | None
    promoted: bool
    reason: str
    needs_review: bool


def promote_if_passed(
    name: str, version: str, verdict: Verdict, run_id: str
) -> Promotion:
    """Make a version champion if the gate's verdict allows it; tag it with the verdict.

    The present champion stays champion. A version that was rolled back is never
    promoted here, only by `promote`.

    Args:
        name: Name of the registered model.
        version: Number of the version.
        verdict: Verdict of the gate.
        run_id: MLflow run to which the values of the checks are logged.
    """
    client = MlflowClient()
    champion = number_by_alias(client, name, CHAMPION)
    blocked = client.get_model_version(name, version).tags.get(PROMOTION_BLOCKED)
    passed, reason = verdict.passed, verdict.reason
    needs_review = verdict.needs_review
    if champion == version:
        passed, reason, needs_review = True, "already the champion", False
    elif blocked is not None:
        passed, reason, needs_review = False, f"rolled back before: {blocked}", True
    else:
        refused = "needs manual approval" if needs_review else "rejected"
        status = "passed" if passed else refused
        client.set_model_version_tag(name, version, VALIDATION_STATUS, status)
        client.set_model_version_tag(
            name, version, VALIDATION_REASON, reason[:MAX_TAG_LENGTH]
        )
        if passed:
            set_champion(client, name, version)
    tracking.log_metrics(run_id, to_metrics(verdict.checks))
    logger.info("%s version %s: %s", name, version, reason)
    return Promotion(
        version=version,
        uri=version_uri(name, version),
        alias=CHAMPION if passed else CHALLENGER if champion else None,
        promoted=passed,
        reason=reason,
        needs_review=needs_review,
    )


def promote(name: str, version: str, reason: str) -> AliasState:
    """Make a version champion whatever the gate's verdict; record who did it and why.

    Args:
        name: Name of the registered model.
        version: Number of the version.
        reason: Why it is promoted; recorded as a tag of the version.

    Raises:
        ValueError: There is no such version, or the reason is empty.
    """
    if not reason.strip():
        raise ValueError("--reason is empty; state why the version is promoted")
    client = MlflowClient()
    get_version(client, name, version)
    done = number_by_alias(client, name, CHAMPION) == version
    if not done:
        client.set_model_version_tag(
            name, version, VALIDATION_STATUS, "promoted manually"
        )
        tag_manual_action(client, name, version, "promoted", reason)
        if PROMOTION_BLOCKED in client.get_model_version(name, version).tags:
            client.delete_model_version_tag(name, version, PROMOTION_BLOCKED)
        set_champion(client, name, version)
    return AliasState(name, version, number_by_alias(client, name, PREVIOUS), done=done)


def rollback(name: str, reason: str) -> AliasState:
    """Make the previous champion the champion again; record who did it and why.

    The replaced version is blocked: retraining on the same rows does not promote it
    again. The champion before the restored one becomes `previous`, so that another
    rollback goes back one version further.

    Args:
        name: Name of the registered model.
        reason: Why it is rolled back; recorded as a tag of the replaced version.

    Raises:
        ValueError: The model has no champion or no previous champion.
    """
    client = MlflowClient()
    champion = number_by_alias(client, name, CHAMPION)
    if champion is None:
        raise ValueError(f"{name} has no champion; {list_versions(client, name)}")
    restored = number_by_alias(client, name, PREVIOUS)
    if restored in (None, champion):
        raise ValueError(
            f"{name}: version {champion} is the champion, and there is no previous "
            "champion; choose a version with `chainrule promote`"
        )
    client.set_model_version_tag(name, champion, VALIDATION_STATUS, "rolled back")
    client.set_model_version_tag(
        name, champion, PROMOTION_BLOCKED, f"{manifest.now()}, {reason}"
    )
    tag_manual_action(client, name, champion, "rolled_back", reason)
    client.set_registered_model_alias(name, CHAMPION, restored)
    earlier = client.get_model_version(name, restored).tags.get(PREVIOUS_CHAMPION)
    if earlier not in (None, champion) and version_exists(client, name, earlier):
        client.set_registered_model_alias(name, PREVIOUS, earlier)
    else:
        earlier = None
        client.delete_registered_model_alias(name, PREVIOUS)
    return AliasState(name, restored, earlier, rolled_back=champion)
