"""The partitions of a dataset: hive directories, or files where there are none."""

import re
from collections.abc import Mapping

from tasks.data import hive
from tasks.data.files import find_files
from tasks.runtime import storage

SortKey = list[tuple[int, int, str]]


def find_partitions(source: str) -> dict[str, str]:
    """Return the path of each partition of a dataset by its name, in order.

    Args:
        source: The dataset, as for `datasets.open_dataset`.
    """
    files = find_files(source)
    found: dict[str, str] = {}
    for file in files.names:
        name = partition_of(file)
        is_directory = file.startswith(f"{name}/")
        found[name] = storage.join(files.root, name if is_directory else file)
    return found


def partition_of(file: str) -> str:
    """Return the name of the partition that a file of a dataset belongs to.

    It is the file's directory (day=2026-01-01) where hive keys are in it, else the
    file's name without its suffix.
    """
    folder = file.rpartition("/")[0]
    if any(hive.is_partition(part) for part in folder.split("/")):
        return folder
    return file.removesuffix(".parquet")


def select_range(
    partitions: Mapping[str, str], since: str | None, until: str | None
) -> dict[str, str]:
    """Return the partitions from `since` to `until`, both included.

    Args:
        partitions: Paths by name.
        since: First partition, by the values of its keys (2026-01-15) or the leading
            ones (2026-01); None for no limit.
        until: Last partition likewise; 2026-01 includes all of January.
    """
    first, last = (sort_key(limit) if limit else [] for limit in (since, until))
    return {
        name: path
        for name, path in partitions.items()
        if sort_key(name)[: len(first)] >= first
        and (not last or sort_key(name)[: len(last)] <= last)
    }


def sort_key(name: str) -> SortKey:
    """Return what partitions are ordered by: hive values, or the words of a file name.

    Numbers are compared as such, so that 2026-1-5, year=2026/month=01/day=05 and
    2026-01-05 are equal.
    """
    values = [part.rpartition("=")[2] for part in name.split("/")]
    words = re.findall(r"\d+|[^\W\d_]+", " ".join(values))
    return [(0, int(w), "") if w.isdigit() else (1, 0, w) for w in words]
