"""Measure the time and memory of commands as datasets grow, and on unusual shapes.

    python benchmarks/scale.py --rows 1000000 10000000
    python benchmarks/scale.py --rows --shapes wide many-files

The first table has one row per command and number of rows. A model of 20 mixed columns
is trained on 30,000 rows; `sample` draws the rows of the dataset that `prepare` and
`score` then read. A command that scales has the same microseconds per row and the same
memory in each of its rows.

The second table shows datasets of unusual shapes: a single row group of two million
rows, strings of a megabyte, 2,000 columns, and 10,000 files of 50 rows, with as many
rows in one file for comparison.

Memory is the peak of what all processes of a command hold together, those of Ray and
Prefect included: anonymous and shared memory, without the pages of mapped files, which
the kernel can drop. Each command is a process of its own.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from harness import argument_parser, header, row
from scoring import TRAIN_ROWS, make_table

from tasks.runtime import actors

POLL_SECONDS = 0.5
"""Seconds between two measurements of the memory of a command."""

COUNTED = ("Pss_Anon:", "Pss_Shmem:")
"""Lines of `smaps_rollup` that are added: shares of memory that is not a file's."""

TIMEOUT_S = 6 * 3600
"""Seconds after which a command is stopped."""


class Usage(NamedTuple):
    """What a command used.

    Attributes:
        seconds: Wall-clock time from start to end.
        megabytes: Peak memory of all its processes together.
    """

    seconds: float
    megabytes: float


class Shape(NamedTuple):
    """A dataset of an unusual shape.

    Attributes:
        tables: Function that yields the files to write: name and table.
        commands: Commands to measure.
        group_rows: Rows of a row group.
    """

    tables: Callable[[], Iterator[tuple[str, pa.Table]]]
    commands: Sequence[str]
    group_rows: int = 100_000


def held_megabytes(process: psutil.Process) -> float:
    """Return the memory of a process and its descendants in megabytes."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        with suppress(OSError):  # it has ended
            for line in Path(f"/proc/{one.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(COUNTED):
                    total += int(line.split()[1])
    return total / 1024


def run(folder: Path, *arguments: str) -> Usage:
    """Run a command and return what it used.

    Args:
        folder: Working directory.
        arguments: Arguments of `chainrule`.

    Raises:
        RuntimeError: The command failed.
    """
    program = Path(sys.executable).with_name("chainrule")
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [program, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=errors
        )
        peak, done = 0.0, threading.Event()

        def poll() -> None:
            nonlocal peak
            while not done.wait(POLL_SECONDS):
                with suppress(psutil.NoSuchProcess):  # the command has ended
                    peak = max(peak, held_megabytes(psutil.Process(process.pid)))

        thread = threading.Thread(target=poll)
        thread.start()
        try:
            code = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            raise
        finally:
            done.set()
            thread.join()
        used = Usage(time.perf_counter() - began, peak)
        errors.seek(0)
        if code:
            raise RuntimeError(f"chainrule {' '.join(arguments)}: {errors.read()}")
    note = f"{' '.join(arguments)}: {used.seconds:.0f} s, {used.megabytes:,.0f} MB"
    print(note, file=sys.stderr, flush=True)
    return used


def write_configuration(folder: Path, name: str, *, epochs: str = "auto") -> str:
    """Write a configuration for the dataset `name` and return its file name."""
    id_column = "" if name == "wide" else ", id: [id]"
    (folder / f"{name}.yaml").write_text(
        f"name: {name}\ndata: {{path: {name}{id_column}}}\n"
        f"train: {{epochs: {epochs}}}\ngate: {{load_check: none}}\n"
    )
    return f"{name}.yaml"


def measure_rows(folder: Path, counts: Sequence[int]) -> Iterator[str]:
    """Yield the rows of the table of numbers of rows.

    Args:
        folder: Directory for datasets and results.
        counts: Numbers of rows.
    """
    (folder / "mixed").mkdir()
    pq.write_table(make_table(TRAIN_ROWS, 1), folder / "mixed" / "part.parquet")
    model = write_configuration(folder, "mixed", epochs="10")
    run(folder, "retrain", model)
    for count in counts:
        data = f"rows-{count}"
        given = ("--rows", str(count), "--output", data)
        used = {"sample": run(folder, "sample", model, *given)}
        config = write_configuration(folder, data)
        used["prepare"] = run(folder, "prepare", config)
        used["score"] = run(folder, "score", model, "--input", data)
        for command, usage in used.items():
            cells = (
                f"{usage.seconds:.0f}",
                f"{1e6 * usage.seconds / count:.1f}",
                f"{usage.megabytes:,.0f}",
            )
            yield row(command, f"{count:,}", *cells)


def wide(rows: int = 500, columns: int = 2_000) -> pa.Table:
    """Return rows of reals that depend on one hidden variable."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=rows)
    return pa.table(
        {f"x{i}": (z + rng.normal(size=rows)).round(2) for i in range(columns)}
    )


def long_strings(rows: int = 500, characters: int = 2**20) -> pa.Table:
    """Return rows of the mixed table with a note of a megabyte in each."""
    rng = np.random.default_rng(4)
    letters = rng.integers(97, 123, (rows, characters), dtype=np.uint8)
    notes = [line.tobytes().decode() for line in letters]
    return make_table(rows, 4).append_column("note", pa.array(notes))


def many_files(files: int = 10_000, rows: int = 50) -> Iterator[tuple[str, pa.Table]]:
    """Yield small files of the mixed table."""
    table = make_table(files * rows, 5)
    for i in range(files):
        yield f"part-{i:05d}.parquet", table.slice(i * rows, rows)


def one_file(make: Callable[[], pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    """Yield a table as a single file."""
    yield "part.parquet", make()


TRAINING, JOBS = ("retrain", "score"), ("prepare", "score")

SHAPES = {
    "wide": Shape(partial(one_file, wide), TRAINING),
    "long-strings": Shape(partial(one_file, long_strings), TRAINING),
    "many-files": Shape(many_files, JOBS),
    "one-file": Shape(partial(one_file, partial(make_table, 500_000, 5)), JOBS),
    "one-row-group": Shape(
        partial(one_file, partial(make_table, 2_000_000, 6)), JOBS, 2_000_000
    ),
}
"""Datasets of unusual shapes by name."""


def measure_shapes(folder: Path, names: Sequence[str]) -> Iterator[str]:
    """Yield the rows of the table of shapes.

    Args:
        folder: Directory for datasets and results.
        names: Shapes to measure.
    """
    for name in names:
        shape = SHAPES[name]
        (folder / name).mkdir()
        for file, table in shape.tables():
            pq.write_table(table, folder / name / file, row_group_size=shape.group_rows)
        config = write_configuration(folder, name)
        model = config if "retrain" in shape.commands else "mixed.yaml"
        for command in shape.commands:
            given = [model, "--input", name] if command == "score" else [config]
            used = run(folder, command, *given)
            cells = f"{used.seconds:.0f}", f"{used.megabytes:,.0f}"
            yield row(name, command, *cells)


def main() -> None:
    """Measure the commands and print the tables."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--rows",
        type=int,
        nargs="*",
        default=[1_000_000, 10_000_000],
        help="numbers of rows to measure",
    )
    parser.add_argument(
        "--shapes",
        nargs="*",
        default=list(SHAPES),
        choices=list(SHAPES),
        help="shapes to measure",
    )
    parser.add_argument(
        "--folder", type=Path, help="where datasets are written; default: temporary"
    )
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        lines = list(measure_rows(folder, arguments.rows))
        print(header("command", "rows", "seconds", "microseconds per row", "MB"))
        print("\n".join(lines))
        lines = list(measure_shapes(folder, arguments.shapes))
        print(f"\n{header('shape', 'command', 'seconds', 'MB')}")
        print("\n".join(lines))
    print(
        f"\n{actors.cpu_count()} processors, {psutil.virtual_memory().total >> 30} GiB"
    )


if __name__ == "__main__":
    main()
