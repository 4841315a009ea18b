"""List the registered versions and the results below a storage."""

import logging
import os
from typing import Any

from tasks.registry import registered
from tasks.runtime import manifest, storage

logger = logging.getLogger(__name__)

Json = dict[str, Any]
"""A JSON object."""

RESULT_KINDS = (
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
"""Names of the folders below STORAGE/NAME that hold one folder per job."""


def collect(root: str, name: str | None) -> Json:
    """Return the versions and results of a model, or of all models.

    Args:
        root: Root directory of all results.
        name: Name of a model; None for all models.

    Raises:
        ValueError: The model has no version and no results.
    """
    content = {
        "storage": root,
        "tracking": os.environ["MLFLOW_TRACKING_URI"],
        "versions": registered.list_versions(name),
        "results": list_results(root, name),
    }
    if name is not None and not content["versions"] and not content["results"]:
        names = sorted({result["name"] for result in list_results(root, None)})
        raise ValueError(
            f"{root}: has no model {name!r}; available models: "
            f"{', '.join(names) or 'none'}"
        )
    return content


def list_results(root: str, name: str | None) -> list[Json]:
    """Return the folders of results, oldest first; unfinished ones have no end."""
    results = []
    for model in [name] if name else storage.list_folders(root):
        for kind in RESULT_KINDS:
            parent = storage.join(root, model, kind)
            for key in storage.list_folders(parent):
                folder = storage.join(parent, key)
                results.append(result_entry(model, kind, folder))
    return sorted(results, key=lambda result: str(result["started"]))


def result_entry(name: str, kind: str, folder: str) -> Json:
    """Return what is listed of a folder of results, from its manifest or claim."""
    content: Json = {}
    for file in (manifest.MANIFEST, manifest.CLAIM):
        path = storage.join(folder, file)
        if storage.exists(path):
            try:
                content = storage.read_json(path)
            except ValueError as error:
                logger.warning("%s; give the command that wrote it again", error)
            break
    return {
        "name": name,
        "kind": kind,
        "folder": folder,
        "started": content.get("started"),
        "finished": content.get("finished"),
        "rows": content.get("rows_out"),
    }


def describe(content: Json) -> str:
    """Return the result of `collect` as text with rich markup."""
    lines = ["[bold]Models[/]"]
    for version in content["versions"]:
        nll = version["test_nll"]
        metric = "" if nll is None else f"  test NLL {nll:.3f} nats per row"
        aliases = ", ".join(version["aliases"])
        status = f"  {version['validation_status'] or ''}".rstrip()
        lines.append(
            f"  {version['name']} version {version['version']}"
            f"  {version['created']}{metric}{status}  [green]{aliases}[/]"
        )
    if not content["versions"]:
        lines.append("  no version is registered")
    lines.append(f"[bold]Results[/] below {content['storage']}")
    for result in content["results"]:
        rows = "" if result["rows"] is None else f"  {result['rows']:,} rows"
        finished = result["finished"] or "[yellow]unfinished[/]"
        lines.append(f"  {finished}  {result['folder']}{rows}")
    if not content["results"]:
        lines.append("  none")
    return "\n".join(lines)
