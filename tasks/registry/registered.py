"""Registered versions for `chainrule status`, read from SQLite where MLflow's store is.

MLflow takes seconds to import, and creates a database where there is none. Stores of
other kinds, and databases of another layout, are read by MLflow.
"""

import json
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.registry import versions

PREFIX = "sqlite:///"
"""Start of the URI of a store in an SQLite database."""

QUERY = """
SELECT
    v.name, v.version, v.creation_time,
    (SELECT json_group_array(a.alias) FROM registered_model_aliases a
        WHERE a.name = v.name AND a.version = v.version),
    (SELECT t.value FROM model_version_tags t
        WHERE t.name = v.name AND t.version = v.version AND t.key = :status),
    (SELECT m.value FROM latest_metrics m
        WHERE m.run_uuid = v.run_id AND m.key = 'test/nll' AND NOT m.is_nan)
FROM model_versions v
WHERE v.current_stage <> 'Deleted_Internal' AND (:name IS NULL OR v.name = :name)
ORDER BY v.name, v.version DESC
"""
"""Versions by the name of the model, newest first."""

Json = dict[str, Any]  # JSON values


def list_versions(name: str | None) -> list[Json]:
    """Return the registered versions with their aliases and test NLL, newest first.

    Args:
        name: Name of a model; None for all models.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith(PREFIX) and "?" not in uri:
        database = Path(uri.removeprefix(PREFIX)).absolute()
        if not database.exists():
            return []
        rows = select(database, name)
        if rows is not None:
            return [entry(*row) for row in rows]
    return list_by_client(name)


def select(database: Path, name: str | None) -> list[tuple[Any, ...]] | None:
    """Return the rows of `QUERY`, or None if the database has another layout.

    Args:
        database: The file.
        name: Name of a model; None for all models.
    """
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
    try:
        values = {"name": name, "status": versions.VALIDATION_STATUS}
        return connection.execute(QUERY, values).fetchall()
    except sqlite3.OperationalError:  # a table or column is missing
        return None
    finally:
        connection.close()


def entry(
    name: str,
    version: int,
    milliseconds: int,
    aliases: str,
    status: str | None,
    test_nll: float | None,
) -> Json:
    """Return what is listed of a version.

    Args:
        name: Name of the model.
        version: Number of the version.
        milliseconds: When it was registered, since the epoch.
        aliases: Its aliases, a JSON list.
        status: Its validation status.
        test_nll: Test NLL of its run, in nats per row.
    """
    created = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return {
        "name": name,
        "version": int(version),
        "aliases": sorted(json.loads(aliases)),
        "validation_status": status,
        "test_nll": test_nll,
        "created": created.isoformat(timespec="seconds"),
    }


def list_by_client(name: str | None) -> list[Json]:
    """Return what `list_versions` does, by MLflow's client.

    Args:
        name: Name of a model; None for all models.
    """
    from mlflow import MlflowClient

    client = MlflowClient()
    query = f"name = '{name}'" if name else None
    found = []
    for model in client.search_registered_models(query):
        named: dict[str, list[str]] = {}
        for alias, number in model.aliases.items():
            named.setdefault(str(number), []).append(alias)
        registered = client.search_model_versions(f"name = '{model.name}'")
        for version in sorted(registered, key=lambda v: -int(v.version)):
            run = client.get_run(version.run_id) if version.run_id else None
            found.append(
                entry(
                    version.name,
                    int(version.version),
                    version.creation_timestamp,
                    json.dumps(named.get(str(version.version), [])),
                    version.tags.get(versions.VALIDATION_STATUS),
                    run.data.metrics.get("test/nll") if run else None,
                )
            )
    return found
