"""The rule by which folders of results are published, resumed and refused."""

import hashlib
import json
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from tasks import storage

MANIFEST = "_manifest.json"
CLAIM = "_job.json"


def job_key(**identity: Any) -> str:  # JSON-able values
    """A hash of everything a result depends on: 16 hexadecimal digits."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def now() -> str:
    """The present time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def claim(folder: str, key: str, *, overwrite: bool = False) -> dict[str, Any] | None:
    """Makes `folder` the output of the job `key`, or finds that it already is.

    An empty or new folder is marked with the key before anything is written to it. A
    folder of the same unfinished job is left as it is, to be completed.

    Returns:
        The manifest if the job is finished, else None.

    Raises:
        FileExistsError: The folder holds something else and `overwrite` is false.
    """
    if storage.exists(storage.join(folder, MANIFEST)):
        done: dict[str, Any] = storage.read_json(storage.join(folder, MANIFEST))
        if done.get("job_key") == key:
            return done
        holder = done.get("job_key")
    elif storage.exists(storage.join(folder, CLAIM)):
        holder = storage.read_json(storage.join(folder, CLAIM))["job_key"]
    else:
        holder = "files of no job" if storage.list_files(folder) else None
    if holder not in (None, key):
        if not overwrite:
            raise FileExistsError(
                f"{folder}: holds the output of another job ({holder}), this one is "
                f"{key}; name another output folder or pass --overwrite"
            )
        storage.delete(folder)
        holder = None
    if holder is None:
        claimed = {"job_key": key, "started": now()}
        storage.write_json(storage.join(folder, CLAIM), claimed)
    return None


def finish(folder: str, key: str, **content: Any) -> dict[str, Any]:  # JSON-able
    """Writes the manifest, last of all files, and returns it.

    Args:
        folder: The folder that `claim` marked.
        key: Its job key.
        **content: What DESIGN asks of a manifest: inputs, model, config, rows_in,
            rows_out, rows_quarantined, files (from `describe`) and what else is known.
    """
    claimed = storage.read_json(storage.join(folder, CLAIM))
    manifest = {
        "job_key": key,
        **content,
        "chainrule": version("chainrule"),
        "started": claimed["started"],
        "finished": now(),
    }
    storage.write_json(storage.join(folder, MANIFEST), manifest)
    storage.delete(storage.join(folder, CLAIM))
    return manifest


def describe(folder: str, name: str, rows: int) -> dict[str, Any]:
    """A manifest's entry for the file `name` in `folder`."""
    return {
        "path": name,
        "rows": rows,
        "sha256": storage.checksum(storage.join(folder, name)),
    }
