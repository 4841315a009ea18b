"""Run the benchmarks of speed and print their ratios to lower bounds and peers.

Run it on an idle machine; it takes about half an hour on two cores:

    pip install -c constraints.txt -e '.[bench]'
    python benchmarks/summary.py
    python benchmarks/summary.py --only feed sampling

Each benchmark prints its own table first, with seconds and rows per second. The last
table has one row per ratio. All that one ratio compares was timed in turns in one run,
so that the ratios of two machines can be compared where their seconds cannot.
"""

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from harness import argument_parser, header, row

HERE = Path(__file__).parent

TIMEOUT_S = 3600
"""Seconds after which a benchmark is stopped."""

Line = Mapping[str, str]
"""A row of a Markdown table: cells by the titles of their columns."""


class Ratio(NamedTuple):
    """A ratio that a benchmark measured.

    Attributes:
        measured: What was timed.
        reference: What it was compared with.
        ratio: The ratio, as text.
        meaning: What the ratio divides, and in which direction it improves.
    """

    measured: str
    reference: str
    ratio: str
    meaning: str


class Benchmark(NamedTuple):
    """A script, its arguments, and what to read from the table that it prints."""

    arguments: Sequence[str]
    ratios: Callable[[list[Line]], Iterator[Ratio]]


def of_training(lines: list[Line]) -> Iterator[Ratio]:
    """Yield the ratios of training steps."""
    speeds = {line["case"]: number(line["rows/s"]) for line in lines}
    for line in lines:
        yield Ratio(
            f"training step, {line['case']}",
            "matrix product",
            line["share of a product"],
            "share of its FLOP/s; higher is better",
        )
    zuko = "zuko MaskedMLP"
    if zuko in speeds and "made-plain" in speeds:
        yield Ratio(
            "training step, made-plain",
            "the same network in zuko",
            f"{speeds['made-plain'] / speeds[zuko]:.2f}",
            "rows/s; higher is better",
        )


def of_feed(lines: list[Line]) -> Iterator[Ratio]:
    """Yield the ratio of training on Ray to a bare loop."""
    for line in lines:
        yield Ratio(
            "training on Ray", "bare loop", line["ratio"], "rows/s; higher is better"
        )


def of_scoring(lines: list[Line]) -> Iterator[Ratio]:
    """Yield the ratios of scoring jobs to their lower bound and to detectors."""
    took = {line["scoring"]: number(line["seconds"]) for line in lines}
    peers = [name for name in took if name.startswith("PyOD")]
    floors = {"bf16": "floor, bf16", "": "floor"}
    for name, seconds in took.items():
        if name in peers or name in floors.values():
            continue
        floor = floors["bf16" if name.endswith("bf16") else ""]
        for reference in (floor, *peers):
            if reference in took:
                yield Ratio(
                    f"scoring, {name}",
                    reference,
                    f"{seconds / took[reference]:.2f}",
                    "seconds; lower is better",
                )


def of_sampling(lines: list[Line]) -> Iterator[Ratio]:
    """Yield the ratios of sampling to a forward pass and to zuko's sampling."""
    for line in lines:
        measured = (
            f"drawing, {line['family']}, {line['variables']} variables, "
            f"{line['rows']} rows"
        )
        ours = number(line["draw / forward"])
        yield Ratio(measured, "forward pass", f"{ours:.2f}", "seconds; lower is better")
        zuko = number(line["zuko's draw / forward"])
        yield Ratio(measured, "zuko", f"{ours / zuko:.4f}", "seconds; lower is better")


BENCHMARKS = {
    "training": Benchmark(["--threads", "2", "--seconds", "4"], of_training),
    "feed": Benchmark(["--rows", "200000", "--rounds", "3"], of_feed),
    "scoring": Benchmark(["--rows", "500000", "--repeats", "3"], of_scoring),
    "sampling": Benchmark(["--dims", "20", "128", "784"], of_sampling),
}


def number(cell: str) -> float:
    """Return the number at the start of a cell, such as 1,234 or 12.5."""
    return float(cell.split()[0].replace(",", "").strip("*%"))


def parse_table(lines: Iterable[str]) -> list[Line]:
    """Return the rows of the first Markdown table in the lines of a text."""
    rows = [line.strip() for line in lines if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]
    if not cells:
        return []
    titles, _, *body = cells
    return [dict(zip(titles, values, strict=True)) for values in body]


def run(name: str, arguments: Sequence[str]) -> list[Line]:
    """Run a benchmark, show what it prints, and return the rows of its table.

    Args:
        name: Name of the script without its ending.
        arguments: Arguments of the script.

    Raises:
        subprocess.CalledProcessError: The script failed.
        subprocess.TimeoutExpired: It took longer than `TIMEOUT_S`.
    """
    print(f"\n## {name} {' '.join(arguments)}\n", flush=True)
    ended = subprocess.run(
        [sys.executable, str(HERE / f"{name}.py"), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    print(ended.stdout, flush=True)
    return parse_table(ended.stdout.splitlines())


def main() -> None:
    """Run the benchmarks and print the table of all ratios."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS)
    )
    chosen = parser.parse_args().only
    ratios = [
        ratio
        for name in chosen
        for ratio in BENCHMARKS[name].ratios(run(name, BENCHMARKS[name].arguments))
    ]
    print("\n## Ratios\n")
    print(header("measured", "in comparison with", "ratio", "of"))
    print("\n".join(row(*ratio) for ratio in ratios))


if __name__ == "__main__":
    main()
