"""What there is below a storage: registered versions and finished results."""

from datetime import UTC, datetime
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from tasks import manifest, register, storage

KINDS = (
    "prepared",
    "models",
    "evaluations",
    "gates",
    "scored",
    "samples",
    "embedded",
    "grouped",
)
"""The folders of results below STORAGE/NAME."""


def collect(root: str, name: str | None) -> dict[str, Any]:  # JSON-able values
    """Versions and results of the model `name`, or of all models if it is None.

    Raises:
        ValueError: There is nothing of that name.
    """
    content = {
        "storage": root,
        "tracking": mlflow.get_tracking_uri(),
        "versions": versions(root, name),
        "results": results(root, name),
    }
    if name is not None and not content["versions"] and not content["results"]:
        there = sorted({result["name"] for result in results(root, None)})
        raise ValueError(f"{root}: nothing of the name {name!r}; there is {there}")
    return content


def versions(root: str, name: str | None) -> list[dict[str, Any]]:  # JSON-able
    """The registered versions, newest first, with their aliases."""
    client = MlflowClient()
    query = f"name = '{name}'" if name else None
    found = []
    for model in client.search_registered_models(query):
        aliases: dict[str, list[str]] = {}
        for alias, number in model.aliases.items():
            aliases.setdefault(str(number), []).append(alias)
        for version in client.search_model_versions(f"name = '{model.name}'"):
            found.append(describe(client, version, aliases))
    return found


def describe(
    client: MlflowClient, version: ModelVersion, aliases: dict[str, list[str]]
) -> dict[str, Any]:  # JSON-able values
    """One version, with the figures of its run."""
    metrics = client.get_run(version.run_id).data.metrics if version.run_id else {}
    created = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    return {
        "name": version.name,
        "version": int(version.version),
        "aliases": sorted(aliases.get(str(version.version), [])),
        "validation_status": version.tags.get(register.STATUS),
        "test_nll": metrics.get("test/nll"),
        "created": created.isoformat(timespec="seconds"),
    }


def results(root: str, name: str | None) -> list[dict[str, Any]]:  # JSON-able
    """The folders of results, oldest first, unfinished ones without an end."""
    found = []
    for each in [name] if name else storage.list_folders(root):
        for kind in KINDS:
            place = storage.join(root, each, kind)
            for key in storage.list_folders(place):
                folder = storage.join(place, key)
                found.append(state(each, kind, folder))
    return sorted(found, key=lambda result: str(result["started"]))


def state(name: str, kind: str, folder: str) -> dict[str, Any]:  # JSON-able values
    """What the manifest of a folder, or the mark of its unfinished job, says."""
    for file in (manifest.MANIFEST, manifest.CLAIM):
        path = storage.join(folder, file)
        if storage.exists(path):
            content = storage.read_json(path)
            break
    else:
        content = {}
    return {
        "name": name,
        "kind": kind,
        "folder": folder,
        "started": content.get("started"),
        "finished": content.get("finished"),
        "rows": content.get("rows_out"),
    }


def text(content: dict[str, Any]) -> str:  # what collect gives
    """The same for people, with rich markup."""
    lines = ["[bold]Models[/]"]
    for version in content["versions"]:
        nll = version["test_nll"]
        figure = "" if nll is None else f"  test NLL {nll:.3f} nats per row"
        aliases = ", ".join(version["aliases"])
        status = f"  {version['validation_status'] or ''}".rstrip()
        lines.append(
            f"  {version['name']} version {version['version']}"
            f"  {version['created']}{figure}{status}  [green]{aliases}[/]"
        )
    if not content["versions"]:
        lines.append("  none is registered")
    lines.append(f"[bold]Results[/] below {content['storage']}")
    for result in content["results"]:
        rows = "" if result["rows"] is None else f"  {result['rows']:,} rows"
        end = result["finished"] or "[yellow]unfinished[/]"
        lines.append(f"  {end}  {result['folder']}{rows}")
    if not content["results"]:
        lines.append("  none")
    return "\n".join(lines)
