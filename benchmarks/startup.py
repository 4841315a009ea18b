"""Time what passes before and after the work of a command: its start and its end.

    python benchmarks/startup.py [--runs 5] [--commands status,score] [--program PATH]

Each command runs in a process of its own on a dataset of 10,000 rows and 7 columns,
after one run that makes the model and the databases. Shown are wall-clock time, and the
processor time of all processes of the command, those of Ray and Prefect included. To
compare two versions, run the script with the program of each in turn: on a busy machine
only processor time compares. `--timings` shows the phases of the last run of each.
"""

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import argument_parser, header, row

ROWS, NEW_ROWS = 10_000, 1_000

SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of Linux: orphans become children of this process."""

REAP_SECONDS = 10.0
"""Maximum time to wait for orphans of a command to end."""

CONFIGURATION = """
name: small
data: {path: data, id: [id]}
train: {epochs: 11}
gate: {load_check: none}
"""

COMMANDS = ("error", "init", "status", "promote", "score", "retrain", "unchanged")


def table(rows: int) -> pa.Table:
    """Return rows with a text id and seven columns of all kinds."""
    generator = np.random.default_rng(rows)
    kind, amount = generator.integers(0, 5, rows), generator.normal(size=rows)
    return pa.table(
        {
            "id": [f"row-{i}" for i in range(rows)],
            "kind": np.array(list("abcde"))[kind],
            "count": generator.poisson(3 + kind),
            "paid": generator.exponential(size=rows) * (1 + kind),
            "late": generator.random(rows) < 0.2,
            "amount": 10 * amount + kind,
            "size": generator.integers(1, 100, rows),
            "score": amount + generator.normal(size=rows),
        }
    )


def arguments(command: str, turn: int) -> list[str]:
    """Return the arguments of a command that does its work anew in every turn."""
    return {
        "error": ["retrain", "small.yaml", "--set", "train.epochs=none"],
        "init": ["init", "data"],
        "status": ["status"],
        "promote": ["promote", "small", "1", "--reason", "a benchmark"],
        "score": [
            *("score", "small.yaml", "--input", "new"),
            *("--set", f"score.threshold={90 + turn / 1000}"),
        ],
        "retrain": ["retrain", "small.yaml", "--set", f"name=small-{turn}"],
        "unchanged": ["retrain", "small.yaml"],
    }[command]


def run(
    program: str, given: list[str], *, timings: bool = False
) -> tuple[float, float]:
    """Run a command and return its wall-clock and processor time in seconds.

    Args:
        program: The `chainrule` program.
        given: Arguments of the command.
        timings: Whether the phases of the command are printed.
    """
    before, began = os.times(), time.monotonic()
    command = [program, *given, *(["--timings"] if timings else [])]
    errors = subprocess.run(command, capture_output=True, text=True).stderr
    seconds = time.monotonic() - began
    deadline = began + seconds + REAP_SECONDS
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.1)
        except ChildProcessError:
            break
    after = os.times()
    used = after.children_user + after.children_system
    if timings:
        print(errors[max(errors.find("phase "), 0) :])
    return seconds, used - before.children_user - before.children_system


def measure(
    program: str, commands: list[str], runs: int, *, timings: bool
) -> Iterator[str]:
    """Yield the rows of the table of results.

    Args:
        program: The `chainrule` program.
        commands: Names of the commands.
        runs: Number of runs of each.
        timings: Whether to show the phases of the last run of each.
    """
    seconds, used = run(program, ["retrain", "small.yaml"])
    yield row(
        "first retrain, with new databases", 1, *([f"{seconds:.1f}"] * 2), f"{used:.1f}"
    )
    for command in commands:
        times = []
        for turn in range(runs):
            shown = timings and turn == runs - 1 and command != "init"
            times.append(run(program, arguments(command, turn), timings=shown))
        walls, processors = zip(*times, strict=True)
        cells = (min(walls), median(walls), median(processors))
        yield row(command, runs, *(f"{cell:.1f}" for cell in cells))


def main() -> None:
    """Print a table with the times of each command."""
    parser = argument_parser(__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--timings", action="store_true")
    default = Path(sys.executable).with_name("chainrule")
    parser.add_argument("--program", default=str(default))
    options: argparse.Namespace = parser.parse_args()
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        os.chdir(folder)
        for name, count in (("data", ROWS), ("new", NEW_ROWS)):
            Path(name).mkdir()
            pq.write_table(table(count), f"{name}/part.parquet")
        Path("small.yaml").write_text(CONFIGURATION)
        names = options.commands.split(",")
        rows = list(
            measure(options.program, names, options.runs, timings=options.timings)
        )
        os.chdir("/")
    print(header("command", "runs", "least s", "median s", "processor s"))
    print("\n".join(rows))


if __name__ == "__main__":
    main()
