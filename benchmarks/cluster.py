"""Measure how jobs scale with processes, and what the driver costs per fragment.

Run it on an idle machine:

    python benchmarks/cluster.py --rows 200000

Three tables are printed:

- Driver: calls of a function that does nothing, in Ray actors. All that remains is what
  the driver and Ray spend on a fragment, one after another, whatever the cluster.
- Scaling: each job runs on one process and on as many as there are processors, each
  with one thread, on a number of rows and on twice as many. The difference gives the
  seconds per million rows without the start, the rest the start. Efficiency is the
  time of one process divided by that of n, times n.
- Prediction: seconds for a billion rows on more processes, if each is as fast as one
  here and fragments have as many rows as by default. The time is the larger of what
  the processes and what the driver need, plus the start. The number of processes from
  which on the driver limits the job is its break-even.
"""

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import pyarrow.parquet as pq
import ray
from feed import make_table as training_table
from harness import argument_parser, header, row, run_configured, seconds
from scoring import make_model, make_table

from tasks.config.data import DataConfig
from tasks.config.model import model_config
from tasks.config.resources import Resources
from tasks.config.sample import SampleConfig
from tasks.config.score import ScoreConfig
from tasks.config.train import ResolvedTrainConfig
from tasks.data.prepare import prepare
from tasks.inference.sample import sample
from tasks.inference.score import score
from tasks.inference.source import Source
from tasks.runtime import cluster
from tasks.training.train import train

T = TypeVar("T")

FRAGMENTS = 3000
"""Number of empty calls by which the driver is measured."""

PROCESSES = (8, 64, 1024)
"""Numbers of processes for which times are predicted."""

BILLION = 10**9
"""Number of rows for which times are predicted."""


class Speed(NamedTuple):
    """The time of a job as a function of its rows.

    Attributes:
        start: Seconds that do not depend on the rows.
        per_row: Seconds per row.
    """

    start: float
    per_row: float


def main() -> None:
    """Measure the driver, the jobs and training, and print the tables."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--rows", type=int, default=200_000, help="rows of the smaller runs"
    )
    arguments = parser.parse_args()
    run_configured(lambda folder: measure(arguments, folder))


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Run all measurements and print their tables."""
    most = os.cpu_count() or 1
    with_processors(most, lambda: print_driver(most))
    driver = with_processors(most, driver_seconds)
    model = str(with_processors(most, lambda: make_model(folder, {}, 60)))
    print(
        header("job", "processes", "start, s", "s per million rows", "efficiency"),
        flush=True,
    )
    jobs: dict[str, Callable[[int], object]] = {
        "score": lambda rows: score_rows(model, folder, rows),
        "sample": lambda rows: sample_rows(model, rows),
    }
    speeds = {}
    for name, job in jobs.items():
        for count in dict.fromkeys((1, most)):
            found = with_processors(count, lambda job=job: speed(job, arguments.rows))
            speeds[name, count] = found
            print_scaling(name, count, found, speeds[name, 1].per_row)
    rates = {count: training_rate(folder, count) for count in dict.fromkeys((1, most))}
    for count, rate in rates.items():
        print_scaling("train", count, Speed(math.nan, 1 / rate), 1 / rates[1])
    print()
    print(header("job", *PROCESSES, "processes at break-even"))
    for name in jobs:
        print(row(name, *prediction(speeds[name, 1], driver)))


def with_processors(count: int, work: Callable[[], T]) -> T:
    """Do work with a local Ray of a number of processors, each for one actor."""
    cluster.connect(Resources(), cpus=count)
    try:
        return work()
    finally:
        ray.shutdown()


def idle(item: int) -> int:
    """Do nothing."""
    return item


def driver_seconds() -> float:
    """Return the wall-clock seconds of a call that does nothing."""

    def calls() -> int:
        done = cluster.stream_actors(lambda: idle, range(FRAGMENTS), what="empty calls")
        return sum(1 for _ in done)

    calls()
    return seconds(calls) / FRAGMENTS


def print_driver(actors: int) -> None:
    """Print what a call that does nothing costs, and the driver's share of it."""
    began = time.process_time()
    each = driver_seconds()
    used = (time.process_time() - began) / (2 * FRAGMENTS)
    print(
        header("actors", "calls", "ms per call", "processor ms", "s per 100,000 calls")
    )
    cells = (f"{1000 * each:.2f}", f"{1000 * used:.2f}", f"{100_000 * each:.0f}")
    print(row(actors, f"{FRAGMENTS:,}", *cells))
    print(flush=True)


def speed(job: Callable[[int], object], rows: int) -> Speed:
    """Return the time of a job from runs on a number of rows and on twice as many."""
    job(rows)
    less, more = (
        statistics.median(seconds(lambda n=n: job(n)) for _ in range(3))
        for n in (rows, 2 * rows)
    )
    return Speed(2 * less - more, (more - less) / rows)


def score_rows(model: str, folder: Path, rows: int) -> None:
    """Score rows, in fragments of a tenth of them."""
    source = folder / f"rows-{rows}.parquet"
    if not source.exists():
        pq.write_table(make_table(rows, 2), source, row_group_size=10_000)
    with tempfile.TemporaryDirectory() as output:
        config = ScoreConfig(rows_per_fragment=rows // 10)
        score(model, Source(str(source), ("id",)), output, config, Resources())


def sample_rows(model: str, rows: int) -> None:
    """Draw rows, in shards of a tenth of them."""
    with tempfile.TemporaryDirectory() as output:
        config = SampleConfig(rows=rows, rows_per_shard=rows // 10)
        sample(model, output, config, Resources())


def training_rate(folder: Path, workers: int) -> float:
    """Return rows per second of training on some workers of one thread each.

    The global batch is the same for any number of workers.
    """
    resources = Resources(storage=str(folder), workers=workers, cpus_per_worker=1)

    def work() -> float:
        path = folder / "train-scaling.parquet"
        if not path.exists():
            pq.write_table(training_table(100_000), path)
        data = DataConfig(path=str(path))
        prepared = prepare(data, str(folder / "prepared-scaling"), resources).path
        training = ResolvedTrainConfig(
            epochs=4, batch_size=1024, ema_decay=0.0, patience=4, precision="fp32"
        )
        network = model_config(hidden=512, dropout=0.0)
        output = str(folder / f"model-{workers}")
        history = train(prepared, network, training, output, resources).history
        return statistics.median(record["rows_per_s"] for record in history[1:])

    return with_processors(os.cpu_count() or 1, work)


def print_scaling(job: str, count: int, found: Speed, of_one: float) -> None:
    """Print the row of a job on a number of processes."""
    start = "" if math.isnan(found.start) else f"{found.start:.1f}"
    efficiency = of_one / (count * found.per_row)
    cells = (start, f"{1e6 * found.per_row:.1f}", f"{efficiency:.2f}")
    print(row(job, count, *cells), flush=True)


def prediction(one: Speed, driver: float) -> list[str]:
    """Return the predicted seconds for a billion rows, and the break-even.

    Args:
        one: Speed of the job on one process.
        driver: Seconds of the driver per fragment.
    """
    fragment = ScoreConfig().rows_per_fragment
    serial = BILLION / fragment * driver
    times = [
        one.start + max(BILLION * one.per_row / count, serial) for count in PROCESSES
    ]
    limit = fragment * one.per_row / driver
    return [*(f"{t:,.0f} s" for t in times), f"{limit:,.0f}"]


if __name__ == "__main__":
    main()
