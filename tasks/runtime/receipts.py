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

Json = dict[str, Any]  # JSON-able values


def write(path: str, bound: Json, content: Json) -> None:
    """Publish a receipt.

    Args:
        path: Path of the receipt.
        bound: The job key as `job_key`, and what the files are made of.
        content: What is known of the files; `files` are their manifest entries.
    """
    receipt = {"bound": bound, **content}
    storage.write_json(path, {**receipt, "sha256": _digest(receipt)})


def read(path: str) -> Json | None:
    """Return a receipt, or None if there is none or it is damaged."""
    if not storage.exists(path):
        return None
    try:
        receipt = storage.read_json(path)
        digest = receipt.pop("sha256")
        if digest == _digest(receipt):
            return dict(receipt)
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


def _digest(receipt: Json) -> str:
    canonical = json.dumps(receipt, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
