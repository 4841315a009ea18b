"""Find the model, data and commit that a file or folder of results came from."""

from typing import Any

from rich.markup import escape

from tasks.registry import versions
from tasks.runtime import manifest, parquet, storage

Json = dict[str, Any]
"""A JSON object."""


def find_lineage(path: str) -> Json:
    """Return what produced a result, back to the training data and the commit.

    Args:
        path: Parquet file of a result, or its folder.

    Returns:
        `path`, `job_key`, `input` and `model` (name, version, run and fingerprint); for
        a registered version also `version` (aliases and tags) and `training` (data and
        test NLL of its run).

    Raises:
        ValueError: The path is not a result of a model, or the version belongs to
            another MLflow registry.
    """
    content = read_metadata(path)
    model = content["model"]
    lineage: Json = {
        "path": path,
        "job_key": content["job_key"],
        "input": content.get("input", content.get("source")),
        "model": model,
    }
    if model.get("version") is None:
        return lineage
    import mlflow  # which takes seconds, and folders of models have no version

    client = mlflow.MlflowClient()
    version = versions.get_version(client, model["name"], model["version"])
    if version.tags.get(versions.MODEL_FINGERPRINT) != model["fingerprint"]:
        raise ValueError(
            f"{path}: was written by {model['name']} version {model['version']} of "
            f"another registry than {mlflow.get_tracking_uri()}"
        )
    aliases = client.get_registered_model(model["name"]).aliases
    lineage["version"] = {
        "aliases": [a for a, n in aliases.items() if str(n) == str(version.version)],
        "tags": dict(version.tags),
    }
    if version.run_id:
        run = client.get_run(version.run_id)
        lineage["training"] = {
            "data": run.data.params.get("data.path"),
            "test_nll": run.data.metrics.get("test/nll"),
        }
    return lineage


def read_metadata(path: str) -> Json:
    """Read the manifest of a folder of results, or the footer of one of its files.

    Raises:
        ValueError: The path does not exist or is not a result of a model.
    """
    manifest_path = storage.join(path, manifest.MANIFEST)
    content: Json = {}
    if storage.exists(manifest_path):
        content = storage.read_json(manifest_path)
    elif not storage.exists(path):
        raise ValueError(f"{path}: no such file")
    else:
        footer = parquet.read_footer(path)
        content = (parquet.read_metadata(footer) if footer else None) or {}
    if not isinstance(content.get("model"), dict):
        raise ValueError(f"{path}: is not a result of score, sample, impute or embed")
    return content


def describe(lineage: Json) -> str:
    """Return the result of `find_lineage` as text with rich markup."""
    model = lineage["model"]
    rows = {
        "job": lineage["job_key"],
        "input": lineage["input"],
        "model": f"{model['name']} version {model['version']}",
        "fingerprint": model["fingerprint"],
    }
    if "version" in lineage:
        tags = lineage["version"]["tags"]
        rows |= {
            "alias": ", ".join(lineage["version"]["aliases"]) or "none",
            "status": tags.get(versions.VALIDATION_STATUS),
            "trained on": lineage.get("training", {}).get("data"),
            "dataset": tags.get("dataset_fingerprint"),
            "parent": tags.get(versions.PARENT_VERSION),
            "flow run": tags.get("flow_run_id"),
            "commit": tags.get("git_sha"),
        }
    lines = [
        f"  {key:<12} {escape(str(value))}" for key, value in rows.items() if value
    ]
    return "\n".join([f"[bold]{escape(lineage['path'])}[/]", *lines])
