"""Result directories: claimed by a job, resumed after a crash, closed by a manifest.

A job writes its claim (`_job.json`) first and its manifest (`_manifest.json`) last, so
that a directory with a manifest is complete.
"""

import hashlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from tasks.runtime import folder_locks, leases, parquet, receipts, storage
from tasks.runtime.dry_runs import State

logger = logging.getLogger(__name__)

MANIFEST = "_manifest.json"
"""File that describes the results of a finished job."""

CLAIM = "_job.json"
"""File that marks a directory as the output of an unfinished job."""

SET_ASIDE = "_unlisted"
"""Directory, within results, of files of rows that the manifest does not list."""

ROW_FILES = (".parquet", ".arrow")
"""Endings of files that a reader of the directory would take for results."""

SMALL_BYTES = 1 << 22
"""Size up to which files are hashed whenever they are checked."""

HASHERS = 8
"""Number of files that are hashed concurrently."""


def job_key(**identity: Any) -> str:  # JSON-able values
    """Return a hash of everything that a result depends on.

    Args:
        **identity: The job's kind, inputs and settings.

    Returns:
        16 hexadecimal digits.
    """
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def now() -> str:
    """Return the present time in UTC, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def claim(folder: str, key: str, *, overwrite: bool = False) -> dict[str, Any] | None:
    """Make a directory the output of a job, or find that the job is finished.

    An empty or new directory is marked with the key before anything is written to it.
    An unfinished directory of the same job, or one that lost files, is to be completed;
    temporary files of killed writers are deleted. Until `finish` or the end of this
    process, no other process can claim the directory.

    Args:
        folder: The directory, local or S3.
        key: The job key.
        overwrite: Whether the output of another job may be replaced.

    Returns:
        The manifest if the job is finished and its files are whole, else None.

    Raises:
        FileExistsError: The directory holds another job's output and `overwrite` is
            false, or files of no job, or another process is writing to it.
        ValueError: The manifest is damaged and nothing else names the job.
    """
    folder_locks.acquire(folder)
    try:
        done = _claim(folder, key, overwrite)
    except BaseException:
        folder_locks.release(folder)
        raise
    if done is not None:
        folder_locks.release(folder)
    return done


def finish(folder: str, key: str, **content: Any) -> dict[str, Any]:  # JSON-able
    """Write the manifest of a job, the last of its files, and return it.

    Args:
        folder: The directory that `claim` marked.
        key: The job key.
        **content: Entries of the manifest: input, model, config, rows_in, rows_out,
            rows_quarantined, files (see `file_entry`) and others of the kind of job.

    Raises:
        FileExistsError: Another job, or on S3 another process, has claimed the
            directory in the meantime.
    """
    claimed = _read(folder, CLAIM, key) or {"job_key": key, "started": now()}
    if claimed["job_key"] != key:
        raise FileExistsError(
            f"{folder}: another job ({claimed['job_key']}) took it over before job "
            f"{key} ended; choose another output directory"
        )
    folder_locks.check(folder)
    manifest = {
        "job_key": key,
        **content,
        "chainrule": version("chainrule"),
        "started": claimed.get("started", now()),
        "finished": now(),
    }
    # Workers may outlive a killed driver and leave files after the next one's claim.
    storage.delete_unfinished(folder)
    _set_unlisted_aside(folder, manifest)
    storage.write_json(storage.join(folder, MANIFEST), receipts.sealed(manifest))
    storage.delete(storage.join(folder, CLAIM))
    folder_locks.release(folder)
    return manifest


def file_entry(folder: str, name: str, rows: int) -> dict[str, Any]:
    """Return the manifest's entry for a published file.

    Args:
        folder: Directory of the results.
        name: Path of the file within the directory.
        rows: Number of rows in the file.
    """
    return entry(storage.join(folder, name), name, rows)


def entry(path: str, name: str, rows: int) -> dict[str, Any]:
    """Return the manifest's entry for a file that is about to be published.

    Args:
        path: Where the file is now.
        name: Path that the file will have within the directory of the results.
        rows: Number of rows in the file.
    """
    return hashed_entry(name, rows, storage.file_size(path), storage.checksum(path))


def hashed_entry(name: str, rows: int, size: int, digest: str) -> dict[str, Any]:
    """Return the manifest's entry for a file whose hash is known.

    Args:
        name: Path of the file within the directory of the results.
        rows: Number of rows in the file.
        size: Size of the file in bytes.
        digest: SHA-256 of the file in hexadecimal digits.
    """
    return {"path": name, "rows": rows, "bytes": size, "sha256": digest}


def read_finished(folder: str) -> dict[str, Any]:
    """Read the manifest of finished results whose files are whole.

    Args:
        folder: Directory of the results.

    Raises:
        FileNotFoundError: The directory has no manifest.
        ValueError: The manifest or a file is damaged; the message names it.
    """
    path = storage.join(folder, MANIFEST)
    content: dict[str, Any] = storage.read_json(path)
    if not is_whole(content):
        raise ValueError(f"{path}: is damaged; give the command that wrote it again")
    damaged = damaged_files(folder, content)
    if damaged:
        raise ValueError(
            f"{storage.join(folder, damaged[0])}: is damaged or missing, since it is "
            f"not the file that {MANIFEST} lists; give the command that wrote it again"
        )
    return content


def is_whole(content: Any) -> bool:  # any JSON value
    """Return whether a manifest or claim is as it was written.

    Those of earlier versions have no hash of themselves.
    """
    if not isinstance(content, dict):
        return False
    return receipts.SEAL not in content or receipts.is_whole(content)


def damaged_files(
    folder: str, manifest: dict[str, Any], *, thorough: bool = False
) -> list[str]:
    """Return the files of a manifest that are missing or have another content.

    Sizes are always compared; hashes of small files, and of files that have been
    touched since the manifest was written.

    Args:
        folder: Directory of the results.
        manifest: Its manifest.
        thorough: Whether to hash all files.
    """
    written = storage.change_time(storage.join(folder, MANIFEST))
    sizes = storage.file_sizes(folder)

    def is_damaged(entry: dict[str, Any]) -> bool:
        if sizes.get(entry["path"]) != entry["bytes"]:
            return True
        path = storage.join(folder, entry["path"])
        if not thorough and entry["bytes"] > SMALL_BYTES:
            if storage.change_time(path) <= written:
                return False
        return bool(storage.checksum(path) != entry["sha256"])

    files = manifest.get("files", [])
    with ThreadPoolExecutor(HASHERS) as pool:
        found = pool.map(is_damaged, files)
        return [e["path"] for e, bad in zip(files, found, strict=True) if bad]


def unlisted_files(folder: str, manifest: dict[str, Any]) -> list[str]:
    """Return the files of rows in a directory that its manifest does not list.

    Files whose path has a name that starts with `_` or `.` are left out, as readers
    ignore them; so are results of other jobs in subdirectories. A manifest without a
    list of files says nothing about them.

    Args:
        folder: Directory of the results.
        manifest: Its manifest.
    """
    if "files" not in manifest:
        return []
    paths = storage.file_sizes(folder)
    listed = {entry["path"] for entry in manifest["files"]}
    others = tuple(
        path.removesuffix(name)
        for path in paths
        for name in (MANIFEST, CLAIM)
        if path.endswith(f"/{name}")
    )
    return sorted(
        path
        for path in paths
        if path.endswith(ROW_FILES)
        and path not in listed
        and not path.startswith(others)
        and not any(name.startswith(("_", ".")) for name in path.split("/"))
    )


def _set_unlisted_aside(folder: str, manifest: dict[str, Any]) -> None:
    """Move files of rows that the manifest does not list to where no reader looks."""
    for name in unlisted_files(folder, manifest):
        target = storage.join(folder, SET_ASIDE, name)
        storage.move(storage.join(folder, name), target)
        logger.warning(
            "%s: is not one of the files of this job, and was moved to %s",
            storage.join(folder, name),
            target,
        )


@dataclass(frozen=True)
class _Found:
    """Content of a directory of results: its manifest and its claim.

    Attributes:
        done: Its manifest, if there is one.
        claimed: Its claim, if there is one.
        clearing: Whether its content is to be deleted, since it is another job's.
    """

    done: dict[str, Any] | None
    claimed: dict[str, Any] | None
    clearing: bool


def _find(folder: str, key: str, overwrite: bool) -> _Found:
    """Read manifest and claim of a directory.

    Raises:
        FileExistsError: It holds another job's output and `overwrite` is false, or
            files of no job.
    """
    done = _read(folder, MANIFEST, key, overwrite)
    claimed = _read(folder, CLAIM, key, overwrite)
    if done is None and claimed is None:
        if _holder(folder) == key:
            logger.warning("%s: its %s is lost; it is written again", folder, CLAIM)
        else:
            _refuse_foreign_files(folder)
    holder = (claimed or done or {"job_key": key})["job_key"]
    if holder != key and not overwrite:
        raise FileExistsError(
            f"{folder}: holds the output of another job ({holder}, this one is {key}); "
            "choose another output directory or pass --overwrite"
        )
    clearing = holder != key or (claimed or {}).get("clearing", False)
    return _Found(done, claimed, clearing)


def inspect(
    folder: str, key: str, *, overwrite: bool = False
) -> tuple[State, dict[str, Any] | None]:
    """Return what `claim` would find in a directory, which is left as it is.

    Args:
        folder: The directory, local or S3.
        key: The job key.
        overwrite: Whether the output of another job may be replaced.

    Returns:
        The state of the directory, and its manifest if the job is finished.

    Raises:
        FileExistsError: As for `claim`.
        ValueError: As for `claim`.
    """
    found = _find(folder, key, overwrite)
    if found.clearing:
        return "replaces another job", None
    if found.done and _is_complete(folder, found.done):
        return "finished", found.done
    is_new = found.done is None and not storage.list_entries(folder)
    return "new" if is_new else "unfinished", None


def _claim(folder: str, key: str, overwrite: bool) -> dict[str, Any] | None:
    """Claim a directory that is locked."""
    found = _find(folder, key, overwrite)
    done, clearing = found.done, found.clearing
    if done and not clearing and _is_complete(folder, done):
        _set_unlisted_aside(folder, done)
        storage.delete(storage.join(folder, CLAIM))
        return done
    if clearing:
        _clear(folder, key)
    if clearing or "started" not in (found.claimed or {}):
        _mark(folder, key)
    # Now that the claim says that the job is unfinished, its manifest can go.
    storage.delete(storage.join(folder, MANIFEST))
    storage.delete_unfinished(folder)
    return None


def _mark(folder: str, key: str, **more: Any) -> None:  # JSON-able values
    """Write the claim of a job."""
    claimed = receipts.sealed({"job_key": key, "started": now(), **more})
    storage.write_json(storage.join(folder, CLAIM), claimed)


def _clear(folder: str, key: str) -> None:
    """Empty a job's directory for another job; can be repeated after a crash."""
    _mark(folder, key, clearing=True)
    storage.delete(storage.join(folder, MANIFEST))
    for name in storage.list_entries(folder):
        if name not in (CLAIM, leases.NAME):
            storage.delete(storage.join(folder, name))


def _is_complete(folder: str, manifest: dict[str, Any]) -> bool:
    """Return whether the files of a finished job are whole, naming those that are not.

    A manifest that was put together for a damaged one lists no files.
    """
    if "finished" not in manifest:
        return False
    damaged = damaged_files(folder, manifest)
    for name in damaged:
        logger.warning(
            "%s: is damaged or missing, and is written again",
            storage.join(folder, name),
        )
    return not damaged


def _read(
    folder: str, name: str, key: str, overwrite: bool = False
) -> dict[str, Any] | None:
    """Read a manifest or claim; return None where there is none.

    In place of a damaged one, the key of the job is found in its other files.
    """
    path = storage.join(folder, name)
    if not storage.exists(path):
        return None
    try:
        content = storage.read_json(path)
        if is_whole(content) and isinstance(content.get("job_key"), str):
            return {name: content[name] for name in content if name != receipts.SEAL}
        fault = f"{path}: damaged, it is not as it was written"
    except ValueError as error:
        fault = str(error)
    holder = key if key in folder else _holder(folder)
    if holder is None and name == MANIFEST and not overwrite:
        raise ValueError(
            f"{fault}; delete the directory, choose another one or pass --overwrite"
        )
    logger.warning("%s; it is discarded and written again", fault)
    # An unfinished job that left no file of its own has nothing to lose.
    return {"job_key": holder or (key if name == CLAIM else "damaged")}


def _holder(folder: str) -> str | None:
    """Return the key of the job that wrote the first file that names one."""
    for name in storage.file_sizes(folder):
        path, metadata = storage.join(folder, name), None
        if name.endswith(".parquet"):
            footer = parquet.read_footer(path)
            metadata = parquet.read_metadata(footer) if footer else None
        elif name.startswith(f"{receipts.FOLDER}/"):
            metadata = (receipts.read(path) or {}).get("bound")
        if metadata and "job_key" in metadata:
            return str(metadata["job_key"])
    return None


def _refuse_foreign_files(folder: str) -> None:
    """Raise FileExistsError if a directory without manifest and claim is not empty.

    Not even `--overwrite` empties such a directory: no job has written its files.
    """
    foreign = [
        name
        for name in storage.list_entries(folder)
        if name != leases.NAME and not name.startswith(storage.TEMPORARY)
    ]
    if foreign:
        raise FileExistsError(
            f"{folder}: holds files that no job has written, such as {foreign[0]!r}; "
            "choose an empty or new output directory"
        )
