"""What there is below a storage: registered versions and finished results."""

from datetime import UTC, datetime
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from rich.markup import escape

from tasks import manifest, parts, register, storage

KINDS = (
    "prepared",
    "models",
    "evaluations",
    "gates",
    "fidelity",
    "compared",
    "scored",
    "monitored",
    "samples",
    "imputed",
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


# --- where a scored file comes from ---------------------------------------------------


def lineage(path: str) -> dict[str, Any]:  # JSON-able values
    """What made a file or folder of results, back to the data and the commit.

    Args:
        path: Of a part (a Parquet file), or of its folder.

    Returns:
        `path`, `job_key`, `model` (name, version, run_id, fingerprint), `version` (its
        aliases, tags and when it was made) and `training` (the run's data and figures).

    Raises:
        ValueError: It is no result of this project, or its version is not registered.
    """
    content = facts_of(path)
    model = content["model"]
    found: dict[str, Any] = {
        "path": path,
        "job_key": content["job_key"],
        "input": content.get("input", content.get("source")),
        "model": model,
    }
    if model.get("version") is None:
        return found
    client = MlflowClient()
    version = register.version_of(client, model["name"], model["version"])
    made = version.tags.get(register.FINGERPRINT)
    if made != model["fingerprint"]:
        raise ValueError(
            f"{path}: was made by {model['name']} version {model['version']} of "
            f"another registry than {mlflow.get_tracking_uri()}"
        )
    registered = client.get_registered_model(model["name"])
    found["version"] = {
        "aliases": [
            alias
            for alias, number in registered.aliases.items()
            if str(number) == str(version.version)
        ],
        "tags": dict(version.tags),
    }
    if version.run_id:
        run = client.get_run(version.run_id)
        found["training"] = {
            "data": run.data.params.get("data.path"),
            "test_nll": run.data.metrics.get("test/nll"),
        }
    return found


def facts_of(path: str) -> dict[str, Any]:  # JSON values
    """What the footer of a part, or the manifest of a folder, says of its making."""
    manifested = storage.join(path, manifest.MANIFEST)
    if storage.exists(manifested):
        content: dict[str, Any] = storage.read_json(manifested)
    elif not storage.exists(path):
        raise ValueError(f"{path}: no such file, nor a model of that name")
    else:
        footer = parts.read_footer(path)
        content = (parts.read_facts(footer) if footer else None) or {}
    if not isinstance(content.get("model"), dict):
        raise ValueError(f"{path}: is no result of score, sample or embed")
    return content


def lineage_text(found: dict[str, Any]) -> str:  # what lineage gives
    """The same for people, with rich markup."""
    model = found["model"]
    lines = [
        f"[bold]{escape(found['path'])}[/]",
        f"  job          {found['job_key']}",
        f"  of           {escape(str(found['input']))}",
        f"  by           {escape(str(model['name']))} version {model['version']}",
        f"  fingerprint  {model['fingerprint']}",
    ]
    if "version" in found:
        tags = found["version"]["tags"]
        shown = {
            "alias": ", ".join(found["version"]["aliases"]) or "none",
            "status": tags.get(register.STATUS),
            "trained on": found.get("training", {}).get("data"),
            "dataset": tags.get("dataset_fingerprint"),
            "parent": tags.get(register.PARENT),
            "flow run": tags.get("flow_run_id"),
            "commit": tags.get("git_sha"),
        }
        lines += [f"  {k:<12} {escape(str(v))}" for k, v in shown.items() if v]
    return "\n".join(lines)
