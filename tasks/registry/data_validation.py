"""Validation of a dataset before training: schema, size, nulls and distributions.

The dataset is compared with the one that the champion was trained on, by their
profiles, so that a broken export stops a retraining before the hours of training.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient

from ar_models.tables import arrow
from tasks.config.data_validation import DataValidationConfig
from tasks.data.common_types import common_type
from tasks.data.prepared import arrow_schema
from tasks.data.profile import MAX_TOP
from tasks.evaluation import distances
from tasks.evaluation.checks import Check, Verdict, at_least, at_most, conclude
from tasks.registry import aliases
from tasks.registry.versions import CALIBRATED_FROM, version_exists
from tasks.runtime import storage

logger = logging.getLogger(__name__)

UNITLESS = ("text", "bytes", "bool", "integer", "real")
"""Families of types whose values are the same number or text in every type."""

FOLDER = "data"
"""Folder of an MLflow run with the profile and the schema of its dataset."""

FILES = ("profile.json", "schema.json")
"""Files of a prepared dataset that describe it."""

Json = dict[str, Any]  # JSON-able values


@dataclass(frozen=True)
class DatasetDescription:
    """The profile and the schema of the dataset that a version was trained on.

    Attributes:
        version: Number of the version.
        profile: Content of the dataset's profile.json.
        schema: Content of its schema.json.
    """

    version: str
    profile: Json
    schema: Json


@dataclass(frozen=True, kw_only=True)
class ValidationResult(Verdict):
    """The outcome of validating a dataset.

    `passed` says whether training may go on: also where checks failed, if the
    configuration only asks for a warning.

    Attributes:
        valid: Whether all checks passed.
        reference: Number of the version whose dataset it was compared with, or None.
    """

    valid: bool
    reference: str | None


def validate(
    prepared: str, reference: DatasetDescription | None, config: DataValidationConfig
) -> ValidationResult:
    """Validate a prepared dataset against the champion's dataset.

    Args:
        prepared: Folder of the prepared dataset.
        reference: The champion's dataset; None if there is no champion.
        config: Limits of the checks.
    """
    profile, schema = (storage.read_json(storage.join(prepared, f)) for f in FILES)
    checks = [*check_rows(profile, config)]
    if reference is not None:
        checks += [
            check_schema(schema, reference.schema, config),
            check_rows_ratio(profile, reference.profile, config),
            *check_columns(
                profile,
                reference.profile,
                config,
                comparable_columns(schema, reference.schema),
            ),
        ]
    failed = [check.remark for check in checks if not check.passed]
    version = None if reference is None else reference.version
    compared = f" against version {version}" if version else ""
    reason = "; ".join(failed) or f"{len(checks)} checks{compared} passed"
    if failed:
        logger.warning("data validation failed: %s", reason)
    verdict = conclude(checks)
    return ValidationResult(
        passed=verdict.passed or config.on_failure == "warn",
        needs_review=verdict.needs_review,
        reason=reason,
        checks=verdict.checks,
        valid=verdict.passed,
        reference=version,
    )


def log_description(run_id: str, prepared: str) -> None:
    """Log the profile and schema of a dataset to a run, for later comparisons."""
    for file in FILES:
        content = storage.read_json(storage.join(prepared, file))
        MlflowClient().log_dict(run_id, content, f"{FOLDER}/{file}")


def champion_dataset(name: str) -> DatasetDescription | None:
    """Return the description of the dataset that the champion was trained on.

    Args:
        name: Name of the registered model.

    Returns:
        The description, or None if there is no champion or its run has none.
    """
    client = MlflowClient()
    champion = aliases.version_by_alias(client, name, aliases.CHAMPION)
    if champion is not None and CALIBRATED_FROM in champion.tags:
        trained = champion.tags[CALIBRATED_FROM]
        known = version_exists(client, name, trained)
        champion = client.get_model_version(name, trained) if known else None
    if champion is None or champion.run_id is None:
        return None
    logged = MlflowClient().list_artifacts(champion.run_id, FOLDER)
    if {Path(file.path).name for file in logged} < set(FILES):
        logger.warning(
            "the run of %s version %s has no description of its dataset, so new data "
            "is not compared with it",
            name,
            champion.version,
        )
        return None
    root = f"runs:/{champion.run_id}/{FOLDER}"
    profile, schema = (mlflow.artifacts.load_dict(f"{root}/{file}") for file in FILES)
    return DatasetDescription(str(champion.version), profile, schema)


def check_rows(profile: Json, config: DataValidationConfig) -> Iterator[Check]:
    """Check that there are enough rows, and few of them quarantined."""
    rows = sum(profile["rows"].values())
    remark = f"{rows:,} rows, at least {config.min_rows:,} required"
    yield at_least("min_rows", rows, config.min_rows, remark)
    lost = profile["quarantined"] + sum(f["rows"] for f in profile["bad_files"])
    share = lost / max(1, rows + lost)
    remark = f"{lost:,} quarantined rows, {share:.2%} of all"
    yield at_most("quarantined", share, config.max_quarantined, remark)


def check_schema(schema: Json, reference: Json, config: DataValidationConfig) -> Check:
    """Check that columns changed only as the configuration allows.

    Types of the same meaning, such as other widths of integers, count as the same.

    Args:
        schema: Schema of the new dataset.
        reference: Schema of the champion's dataset.
        config: Says which changes are allowed.
    """
    ours, theirs = (
        {field.name: field.type for field in arrow_schema(each)}
        for each in (schema, reference)
    )
    removed = [name for name in theirs if name not in ours]
    added = [name for name in ours if name not in theirs]
    retyped = [
        name
        for name in ours
        if name in theirs and common_type(ours[name], theirs[name]) is None
    ]
    changes = [
        *(f"{name} was removed" for name in removed),
        *(f"{name} changed from {theirs[name]} to {ours[name]}" for name in retyped),
        *(f"{name} ({ours[name]}) was added" for name in added),
    ]
    allowed = {
        "same": not changes,
        "grow": not removed and not retyped,
        "any": True,
    }[config.columns]
    remark = f"columns: {'; '.join(changes) or 'unchanged'}"
    if not allowed:
        remark += "; to accept this, set data_validation.columns: any"
    return Check("columns", len(changes), allowed, remark)


def comparable_columns(schema: Json, reference: Json) -> set[str]:
    """Return the columns of two schemas whose values have the same meaning and unit.

    Args:
        schema: Schema of the new dataset.
        reference: Schema of the champion's dataset.
    """
    ours, theirs = arrow_schema(schema), arrow_schema(reference)
    found = set()
    for name in set(ours.names) & set(theirs.names):
        new, old = ours.field(name).type, theirs.field(name).type
        same = arrow.plain(new) == arrow.plain(old)
        if same or arrow.family(new) in UNITLESS and common_type(new, old) is not None:
            found.add(name)
    return found


def check_rows_ratio(
    profile: Json, reference: Json, config: DataValidationConfig
) -> Check:
    """Check that the dataset has not shrunk.

    Args:
        profile: Profile of the new dataset.
        reference: Profile of the champion's dataset.
        config: The smallest ratio of the numbers of rows.
    """
    ours, theirs = sum(profile["rows"].values()), sum(reference["rows"].values())
    remark = f"{ours:,} rows, the champion's dataset had {theirs:,}"
    ratio = ours / max(1, theirs)
    return at_least("rows_ratio", ratio, config.min_rows_ratio, remark)


def check_columns(
    profile: Json,
    reference: Json,
    config: DataValidationConfig,
    comparable: Collection[str],
) -> Iterator[Check]:
    """Check each column's share of nulls, and the distribution of its values.

    Args:
        profile: Profile of the new dataset.
        reference: Profile of the champion's dataset.
        config: The largest increase of nulls and the largest distance.
        comparable: Columns whose values have the same unit in both.
    """
    earlier = {column["name"]: column for column in reference["columns"]}
    for column in profile["columns"]:
        name = column["name"]
        old = earlier.get(name)
        if old is None or name not in comparable:
            continue
        ours, theirs = (one["missing"] / max(1, one["rows"]) for one in (column, old))
        remark = (
            f"column {name}: {ours:.1%} nulls, {theirs:.1%} in the champion's dataset"
        )
        limit = config.max_null_increase
        yield at_most(f"nulls/{name}", ours - theirs, limit, remark)
        distance = column_distance(column, old)
        if distance is not None:
            remark = (
                f"column {name}: distance {distance:.3f} from its distribution in the "
                "champion's dataset"
            )
            yield at_most(f"drift/{name}", distance, config.max_drift, remark)


def column_distance(
    column: Mapping[str, Any], reference: Mapping[str, Any]
) -> float | None:
    """Return the distance of a column's distribution from an earlier one, 0 to 1.

    It is the Kolmogorov-Smirnov distance of numbers and the total variation of
    categories.

    Args:
        column: Profile of the column.
        reference: Profile of the column in the champion's dataset.

    Returns:
        The distance, or None for columns that are not modelled, and for dates and
        timestamps, which move on.
    """
    if "left out" in (column["kind"], reference["kind"]) or _is_time(column):
        return None
    if "distribution" in column and "distribution" in reference:
        return distances.ks_of_cdfs(column["distribution"], reference["distribution"])
    if "top" in column and "top" in reference:
        return distances.total_variation_of_frequent(
            _shares(column), _shares(reference), MAX_TOP
        )
    return None


def _is_time(column: Mapping[str, Any]) -> bool:
    return bool(
        column["kind"] == "timestamp"
        or column["type"].startswith(("date", "timestamp"))
    )


def _shares(column: Mapping[str, Any]) -> dict[str, float]:
    rows = max(1, column["rows"] - column["missing"])
    return {value: count / rows for value, count in column["top"]}
