"""Files and rows that are set aside because they cannot be read."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TypeVar

import pyarrow as pa

from tasks.config.data import DataConfig
from tasks.data.datasets import BadFile
from tasks.data.division import DividedFragment
from tasks.data.fragments import Fragment
from tasks.runtime import parquet, storage

Result = TypeVar("Result")


def file_fault(data: DataConfig, error: pa.ArrowInvalid) -> str:
    """Return why a file is set aside.

    Args:
        data: The configuration of the dataset.
        error: What was raised when the file was read.

    Raises:
        ValueError: Bad files stop the job, by `data.on_bad_file`.
    """
    if data.on_bad_file == "stop":
        raise ValueError(
            f"{error}; replace it, or set data.on_bad_file: quarantine"
        ) from error
    return str(error).partition(": ")[2]


def readable_results(
    fragments: Iterable[Fragment], results: Iterable[Result | str], bad: list[BadFile]
) -> Iterator[Result]:
    """Yield the results of the fragments of all files that can be read.

    A file can be read if all of its fragments can.

    Args:
        fragments: Fragments in order of their files.
        results: The result of each, or why its file is set aside.
        bad: List to which the other files are appended.
    """
    pairs = zip(fragments, results, strict=True)
    for name, members in groupby(pairs, key=lambda pair: pair[0].name):
        good, faults, rows = [], [], 0
        for fragment, result in members:
            rows += fragment.rows
            if isinstance(result, str):
                faults.append(result)
            else:
                good.append(result)
        if faults:
            bad.append(BadFile(name, faults[0], rows))
        else:
            yield from good


def write_quarantined_rows(
    path: str, divided: DividedFragment, fragment: Fragment
) -> None:
    """Publish a Parquet file that lists quarantined rows and the reasons.

    Args:
        path: Path of the file.
        divided: The rows of the fragment with their faults.
        fragment: Names the file that the rows are in.
    """
    reasons: dict[int, str] = {}
    for fault in divided.faults:
        text = f"column {fault.column!r}: {fault.reason}"
        known = reasons.get(fault.row)
        reasons[fault.row] = f"{known}; {text}" if known else text
    listing = pa.table(
        {
            "file": pa.array([fragment.name] * len(reasons), pa.string()),
            "row": pa.array([fragment.first + row for row in reasons], pa.int64()),
            "reason": pa.array(list(reasons.values()), pa.string()),
        }
    )
    with storage.publish(path) as unfinished:
        parquet.write(unfinished, listing)
