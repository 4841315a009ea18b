"""Verification of everything that jobs have written below a directory."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

from ar_models.density.saved_form import MODEL_FILE
from tasks.runtime import manifest, model_store, parquet, receipts, storage

HASHES = "hashes-"
"""Start of the names of the receipts in checkpoints."""


@dataclass(frozen=True)
class Fault:
    """A file that is not as its job wrote it.

    Attributes:
        path: Path of the file.
        reason: What is wrong with it.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """The result of verifying the files below a path: their number, size and faults.

    Attributes:
        path: The directory or file.
        files: Number of files that were hashed.
        bytes: Size of these files.
        seconds: Time that it took.
        faults: Files that are damaged, missing or in no manifest.
    """

    path: str
    files: int
    bytes: int
    seconds: float
    faults: list[Fault]


@dataclass(frozen=True)
class _Check:
    """A check of some files, which returns the faulty ones."""

    sizes: list[int]
    run: Callable[[], list[Fault]]


def verify(path: str) -> Verification:
    """Hash every file that a manifest, a seal or a receipt below a path vouches for.

    Args:
        path: Directory of results, with others below it, or one part of a result;
            local or S3.

    Raises:
        FileNotFoundError: There is no such path.
        ValueError: Nothing there was written by a job.
    """
    began = time.monotonic()
    if not storage.exists(path):
        raise FileNotFoundError(f"{path}: no such file or directory")
    sizes = storage.file_sizes(path)
    checks = list(_checks(path, sizes) if sizes else _check_part("", path, {}))
    if not checks:
        raise ValueError(
            f"{path}: holds no results of a job; give a directory with "
            f"{manifest.MANIFEST} in it or below it"
        )
    with ThreadPoolExecutor(manifest.HASHERS) as pool:
        found = [
            fault for faults in pool.map(lambda c: c.run(), checks) for fault in faults
        ]
    return Verification(
        path,
        files=sum(len(check.sizes) for check in checks),
        bytes=sum(sum(check.sizes) for check in checks),
        seconds=time.monotonic() - began,
        faults=sorted(found, key=lambda fault: fault.path),
    )


def _checks(root: str, sizes: dict[str, int]) -> Iterator[_Check]:
    """Yield the checks of all files below a directory.

    Args:
        root: The directory.
        sizes: Size of each file below it, by relative path.
    """
    finished = {
        str(PurePosixPath(name).parent)
        for name in sizes
        if PurePosixPath(name).name == manifest.MANIFEST
    }
    for folder in sorted(finished):
        yield _check_finished(storage.join(root, folder) if folder != "." else root)
    for name in sorted(sizes):
        place = PurePosixPath(name)
        if any(str(above) in finished for above in place.parents):
            continue
        if place.parent.name == receipts.FOLDER or place.name.startswith(HASHES):
            yield _check_receipt(root, name, sizes)
        elif place.name == MODEL_FILE:
            yield _check_model(root, name, sizes)
        elif place.suffix == ".parquet":
            yield from _check_part(root, name, sizes)


def _check_finished(folder: str) -> _Check:
    """Return the check of all files of a manifest, and of files that are in none."""
    path = storage.join(folder, manifest.MANIFEST)
    try:
        content = storage.read_json(path)
        if not manifest.is_whole(content):
            return _Check([0], lambda: [Fault(path, "is damaged")])
        sizes = [entry["bytes"] for entry in content.get("files", [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        return _Check([0], lambda: [Fault(path, "is damaged")])

    def run() -> list[Fault]:
        damaged = manifest.damaged_files(folder, content, thorough=True)
        unlisted = manifest.unlisted_files(folder, content)
        return [
            Fault(storage.join(folder, name), reason)
            for names, reason in (
                (damaged, "is damaged or missing"),
                (unlisted, "is in no manifest"),
            )
            for name in names
        ]

    return _Check(sizes, run)


def _check_receipt(root: str, name: str, sizes: dict[str, int]) -> _Check:
    """Return the check of a receipt and the files that it lists."""
    path = storage.join(root, name)
    receipt = receipts.read(path)
    if receipt is None:
        return _Check([sizes[name]], lambda: [Fault(path, "is damaged")])
    base = PurePosixPath(name).parent
    base = base.parent if base.name == receipts.FOLDER else base
    folder = storage.join(root, str(base))

    def run() -> list[Fault]:
        return [
            Fault(storage.join(folder, entry["path"]), "is damaged or missing")
            for entry in receipts.faulty_entries(folder, receipt["files"])
        ]

    return _Check([entry["bytes"] for entry in receipt["files"]], run)


def _check_model(root: str, name: str, sizes: dict[str, int]) -> _Check:
    """Return the check of a model that is in no manifest, such as a downloaded one."""
    folder = storage.join(root, str(PurePosixPath(name).parent))
    beside = str(PurePosixPath(name).parent)

    def run() -> list[Fault]:
        try:
            model_store.load(folder)
        except (ValueError, FileNotFoundError) as error:
            return [Fault(storage.join(root, name), str(error))]
        return []

    own = [n for p, n in sizes.items() if str(PurePosixPath(p).parent) == beside]
    return _Check(own, run)


def _check_part(root: str, name: str, sizes: dict[str, int]) -> Iterator[_Check]:
    """Yield the check of a part of an unfinished job; none for another file."""
    path = storage.join(root, name) if root else name
    footer = parquet.read_footer(path)
    if footer is not None and parquet.read_metadata(footer) is None:
        return

    def run() -> list[Fault]:
        whole = parquet.sealed_checksum(path) is not None
        return [] if whole else [Fault(path, "is damaged")]

    yield _Check([sizes.get(name) or storage.file_size(path)], run)
