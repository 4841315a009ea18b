"""Set-up that benchmarks share: arguments, timing, Markdown tables and datasets."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from ar_models.variables import Variable
from tasks.runtime import environment

FOLDER = "CHAINRULE_BENCHMARK_FOLDER"
"""Environment variable with the temporary directory of a benchmark that uses Ray."""

Floats = NDArray[np.float32]


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows a module's docstring as it is written."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def run_configured(work: Callable[[Path], None]) -> None:
    """Call a function with a temporary directory, where Ray keeps its state.

    Ray reads the environment when it is imported, so the script runs once more in a
    process of its own, with the environment set.
    """
    if FOLDER in os.environ:
        work(Path(os.environ[FOLDER]))
        return
    with tempfile.TemporaryDirectory() as folder:
        environment.configure(folder)
        os.environ[FOLDER] = folder
        raise SystemExit(subprocess.call([sys.executable, *sys.argv]))


def seconds(work: Callable[[], object], device: str = "cpu") -> float:
    """Return the wall-clock time of a call in seconds; on "cuda", of its kernels."""
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def interleaved(
    works: Mapping[str, Callable[[], object]],
    *,
    repetitions: int = 2,
    budget: float = 0.0,
    device: str = "cpu",
) -> dict[str, list[float]]:
    """Time several functions in turns and return the seconds of each call by name.

    Args:
        works: The functions by name.
        repetitions: Minimum number of calls of each function.
        budget: Seconds after which no further turn begins.
        device: Device of the kernels to wait for.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    end = time.perf_counter() + budget
    turns = 0
    while turns < repetitions or time.perf_counter() < end:
        for name, work in works.items():
            times[name].append(seconds(work, device))
        turns += 1
    return times


def row(*cells: object) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def header(*cells: object) -> str:
    """Return the header of a Markdown table, two lines."""
    return f"{row(*cells)}\n{'|---' * len(cells)}|"


def read_section(path: Path, section: str) -> str:
    """Return the text between a section's marks in a Markdown file.

    Raises:
        ValueError: The marks are missing.
    """
    begin, end = f"<!-- {section} -->\n", f"<!-- end of {section} -->"
    content = path.read_text()
    if begin not in content or end not in content:
        raise ValueError(f"{path}: needs the lines {begin.strip()!r} and {end!r}")
    return content.partition(begin)[2].partition(end)[0]


def write_section(path: Path, text: str, section: str) -> None:
    """Replace the text between a section's marks in a Markdown file."""
    begin, old = f"<!-- {section} -->\n", read_section(path, section)
    content = path.read_text().replace(begin + old, f"{begin}{text}\n", 1)
    path.write_text(content)


def to_array(table: pa.Table, dtype: Any = np.float32) -> NDArray[Any]:  # NumPy's
    """Return the columns of a table as an array, (rows, columns)."""
    columns = [column.to_numpy() for column in table.columns]
    return np.stack(columns, axis=1).astype(dtype)


def read_labelled(
    path: Path, dtype: Any = np.float32
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the columns of a file, (rows, columns), and the column `label`."""
    table = pq.read_table(path)
    label = table["label"].to_numpy().astype(np.int64)
    return to_array(table.drop_columns(["label"]), dtype), label


def binary_variables(x: Floats, prior: float = 1.0) -> tuple[Variable, ...]:
    """Return binary variables with the frequencies of the training rows.

    Args:
        x: Training rows, (rows, variables).
        prior: Rows of each value to add to the observed ones.
    """
    ones = (x.sum(axis=0, dtype=np.float64) + prior) / (len(x) + 2 * prior)
    return tuple(
        Variable(f"x{i}", "binary", i, size=2, frequencies=(1 - share, share))
        for i, share in enumerate(ones.tolist())
    )
