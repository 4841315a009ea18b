"""Receipts: JSON files that prove which files of an unfinished job are whole.

A receipt is bound to a job and to what its files are made of, and holds a hash of
itself, so that a damaged one is told apart and the files are written again.
"""

import hashlib
import json
import logging
from typing import Any

from tasks.runtime import storage

logger = logging.getLogger(__name__)

FOLDER = "_parts"
"""Directory of the receipts within the results of a job."""

SEAL = "sha256"
"""Entry of a JSON object with the hash of its other entries."""

Json = dict[str, Any]  # JSON-able values


def write(path: str, bound: Json, content: Json) -> None:
    """Publish a receipt.

    Args:
        path: Path of the receipt.
        bound: The job key as `job_key`, and what the files are made of.
        content: What is known of the files; `files` are their manifest entries.
    """
    storage.write_json(path, sealed({"bound": bound, **content}))


def read(path: str) -> Json | None:
    """Return a receipt, or None if there is none or it is damaged."""
    if not storage.exists(path):
        return None
    try:
        receipt = storage.read_json(path)
        if is_whole(receipt):
            return {name: receipt[name] for name in receipt if name != SEAL}
    except (ValueError, KeyError, AttributeError, TypeError):
        pass
    logger.warning("%s: is damaged; the files that it lists are written again", path)
    return None


def read_whole(folder: str, name: str, bound: Json) -> Json | None:
    """Return the content of a receipt whose files are all whole, else None.

    Args:
        folder: Directory of the results.
        name: Path of the receipt within it.
        bound: What the receipt must be bound to.
    """
    receipt = read(storage.join(folder, name))
    if receipt is None or receipt.pop("bound") != bound:
        return None
    faulty = faulty_entries(folder, receipt["files"])
    for entry in faulty:
        path = storage.join(folder, entry["path"])
        logger.warning("%s: is damaged or missing, and is written again", path)
    return None if faulty else receipt


def faulty_entries(folder: str, entries: list[Json]) -> list[Json]:
    """Return the manifest entries whose files are missing or have another content."""
    return [
        entry
        for entry in entries
        for path in [storage.join(folder, entry["path"])]
        if not storage.exists(path) or storage.checksum(path) != entry["sha256"]
    ]


def sealed(content: Json) -> Json:
    """Return a JSON object with a hash of itself as its entry `sha256`."""
    plain = {name: value for name, value in content.items() if name != SEAL}
    # As it will be read: keys are text, whose order is not that of numbers.
    return {**plain, SEAL: _digest(json.loads(json.dumps(plain)))}


def is_whole(content: Json) -> bool:
    """Return whether the hash of a sealed JSON object holds."""
    return bool(
        content.get(SEAL) == _digest({k: v for k, v in content.items() if k != SEAL})
    )


def _digest(receipt: Json) -> str:
    canonical = json.dumps(receipt, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
