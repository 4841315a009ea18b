"""Measure scoring from Parquet to Parquet against its lower bound and against PyOD.

    pip install -c constraints.txt -e '.[bench]'
    python benchmarks/scoring.py --rows 400000 --repeats 3

The lower bound ("floor") is what every scoring job must do: copy the Parquet file with
pyarrow and pass already encoded rows through the network. PyOD's detectors, fitted on
the same training rows beforehand, read the same fragments with pyarrow, strings as
numbers, and write one score per row. All use as many processes as the job has actors,
with one thread each. The runs are interleaved, and the median is reported. Memory is
the peak of a single process. The output is a Markdown table.
"""

import argparse
import json
import platform
import re
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from harness import argument_parser, header, row, run_configured, seconds
from numpy.typing import NDArray
from ray import cloudpickle

from ar_models.density.saved_form import load_density, save_density
from ar_models.density.table_density import BATCH_ROWS, TableDensity
from ar_models.families.made import MADE
from ar_models.layers import masked_linear
from ar_models.scoring.choices import DEFAULT_STATISTIC
from tasks.config.data import DataConfig
from tasks.config.resources import Resources
from tasks.config.score import ScoreConfig
from tasks.data.datasets import open_dataset
from tasks.data.fragments import read_fragment
from tasks.data.prepare import prepare
from tasks.data.prepared import read_encoder
from tasks.inference.score import score
from tasks.inference.source import Source
from tasks.runtime import actors, cluster

FRAGMENT = 100_000
"""Rows of a fragment, the default of scoring jobs."""

TRAIN_ROWS = 30_000
"""Rows of the training table."""

PEERS = ("IForest", "ECOD")
"""Detectors of PyOD to compare with."""

POLL_SECONDS = 0.2
"""Seconds between two measurements of the processes' memory."""


def make_table(rows: int, seed: int) -> pa.Table:
    """Return a table of an id and 20 columns that depend on one hidden variable.

    Args:
        rows: Number of rows.
        seed: Random seed.
    """
    rng = np.random.default_rng(seed)
    z = rng.normal(size=rows)
    columns: dict[str, Any] = {"id": np.arange(rows)}  # arrays, NumPy's or Arrow's
    for i in range(6):
        columns[f"real_{i}"] = np.exp(0.5 * z + rng.normal(size=rows))
    for i in range(5):
        columns[f"count_{i}"] = rng.poisson(np.exp(1 + 0.3 * z + i / 2))
    for i, size in enumerate((3, 5, 20, 80, 320)):
        codes = (rng.geometric(2 / size, rows) + (z > 0)) % size
        columns[f"code_{i}"] = np.array([f"value {k}" for k in range(size)])[codes]
    for i in range(2):
        columns[f"flag_{i}"] = rng.random(rows) < 1 / (1 + np.exp(-z))
    zero = rng.random(rows) < 0.6
    columns["amount"] = np.where(zero, 0, rng.gamma(2, 100, rows).round(2))
    columns["maybe"] = pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.1)
    return pa.table(columns)


def make_model(folder: Path, settings: dict[str, Any], steps: int) -> Path:
    """Train a density of such tables and return its directory.

    Args:
        folder: Directory for the training data and the model.
        settings: Settings of the network.
        steps: Number of training steps.
    """
    pq.write_table(make_table(TRAIN_ROWS, seed=1), folder / "train.parquet")
    data = DataConfig(path=str(folder / "train.parquet"), id=("id",))
    prepared = prepare(data, str(folder / "prepared"), Resources()).path
    encoder = read_encoder(prepared)
    torch.manual_seed(0)
    model = MADE(encoder.variables, MADE.Settings(**settings))
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    x = torch.from_numpy(encoder.encode(pq.read_table(f"{prepared}/train")).x)
    for step in range(steps):
        batch = x[torch.arange(1024).add(1024 * step) % len(x)]
        optimizer.zero_grad()
        (-model.log_prob(batch).mean()).backward()
        optimizer.step()
    density = TableDensity(encoder, model)
    calibration = density.reference_scores(pq.read_table(f"{prepared}/calibration"))
    save_density(TableDensity(encoder, model, calibration), folder / "model")
    return folder / "model"


class Floor:
    """Function that copies a fragment and passes its encoded rows through a network."""

    def __init__(self, model: str, encoded: str, output: str, precision: str) -> None:
        masked_linear.OUTPUT_BLOCKS = 1
        self.is_bf16 = precision == "bf16"
        self.model = load_density(Path(model)).model
        self.encoded = encoded
        self.output = output

    @torch.inference_mode()
    def __call__(self, fragment: Any) -> int:  # a Fragment
        table = read_fragment(fragment)
        pq.write_table(table, f"{self.output}/{fragment.index}.parquet")
        x = torch.from_numpy(np.load(f"{self.encoded}/{fragment.index}.npy"))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.is_bf16):
            for batch in x.split(BATCH_ROWS):
                self.model.conditionals(batch)
        return int(table.num_rows)


def run_floor(model: Path, source: Path, encoded: Path, precision: str) -> None:
    """Run the work that no scoring job of `source` can avoid."""
    with tempfile.TemporaryDirectory() as output:
        fragments = open_dataset(str(source), rows_per_fragment=FRAGMENT).fragments
        make = partial(Floor, str(model), str(encoded), output, precision)
        done = cluster.stream_actors(make, fragments, what="floor: fragments")
        assert sum(done) == sum(fragment.rows for fragment in fragments)


class Numbers:
    """Encoder of rows as numbers, for detectors that take nothing else.

    A string becomes the index of its value in the training rows, a null the mean.

    Args:
        train: The training rows.
    """

    def __init__(self, train: pa.Table) -> None:
        self.names = [name for name in train.column_names if name != "id"]
        self.categories = {
            name: pc.unique(train[name])
            for name in self.names
            if pa.types.is_string(train.schema.field(name).type)
        }
        self.means = {
            name: pc.mean(self.to_numbers(train, name)) for name in self.names
        }

    def to_numbers(self, table: pa.Table, name: str) -> pa.ChunkedArray:
        """Return a column as floats, nulls included."""
        column = table[name]
        if name in self.categories:
            column = pc.index_in(column, self.categories[name])
        return column.cast(pa.float64())

    def __call__(self, table: pa.Table) -> NDArray[np.float64]:
        """Return the rows as an array, (rows, columns)."""
        columns = [
            self.to_numbers(table, name).fill_null(self.means[name])
            for name in self.names
        ]
        return np.stack([column.to_numpy() for column in columns], axis=1)


class Peer:
    """Function that scores a fragment with a detector of PyOD.

    Args:
        detector: Pickle file of a fitted detector and its `Numbers`.
        output: Directory for the scores.
    """

    def __init__(self, detector: Path, output: str) -> None:
        # Safe to unpickle: this program has just written the file.
        self.numbers, self.detector = cloudpickle.loads(detector.read_bytes())
        self.output = output

    def __call__(self, fragment: Any) -> int:  # a Fragment
        table = read_fragment(fragment)
        scores = self.detector.decision_function(self.numbers(table))
        scored = pa.table({"id": table["id"], "anomaly_score": scores})
        pq.write_table(
            scored, f"{self.output}/{fragment.index}.parquet", compression="zstd"
        )
        return int(table.num_rows)


def make_peer(name: str, folder: Path) -> Path:
    """Fit a detector on the training rows and return its pickle file."""
    from pyod.models.ecod import ECOD
    from pyod.models.iforest import IForest

    train = pq.read_table(folder / "train.parquet")
    numbers = Numbers(train)
    detectors: dict[str, Callable[[], Any]] = {
        "IForest": lambda: IForest(random_state=0),
        "ECOD": ECOD,
    }
    detector = detectors[name]().fit(numbers(train))
    path = folder / f"{name}.pickle"
    path.write_bytes(cloudpickle.dumps((numbers, detector)))
    return path


def run_peer(detector: Path, source: Path) -> None:
    """Score all rows of `source` with a fitted detector."""
    with tempfile.TemporaryDirectory() as output:
        fragments = open_dataset(str(source), rows_per_fragment=FRAGMENT).fragments
        done = cluster.stream_actors(
            partial(Peer, detector, output), fragments, what="peer: fragments"
        )
        assert sum(done) == sum(fragment.rows for fragment in fragments)


def run_job(
    model: Path, source: Path, explain: str, statistic: str, precision: str = "fp32"
) -> None:
    """Run a scoring job with a temporary output directory."""
    with tempfile.TemporaryDirectory() as output:
        config = ScoreConfig.model_validate(
            {
                "explain": explain,
                "statistic": statistic,
                "precision": precision,
                "rows_per_fragment": FRAGMENT,
            }
        )
        result = score(
            str(model), Source(str(source), ("id",)), output, config, Resources()
        )
        assert result.rows_out == pq.read_metadata(source).num_rows


def encode(model: Path, source: Path, folder: Path) -> None:
    """Write the encoded rows of every fragment, for the lower bound."""
    encoder = load_density(model).encoder
    folder.mkdir()
    for fragment in open_dataset(str(source), rows_per_fragment=FRAGMENT).fragments:
        encoded = encoder.encode(read_fragment(fragment))
        np.save(folder / f"{fragment.index}.npy", encoded.x)


@contextmanager
def peak_memory(peaks: list[float]) -> Iterator[None]:
    """Append the peak memory of a single actor during the block, in MB, to `peaks`."""
    stopped = threading.Event()
    peak = 0

    def poll() -> None:
        nonlocal peak
        while not stopped.wait(POLL_SECONDS):
            for status in Path("/proc").glob("[0-9]*/status"):
                with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                    command = (status.parent / "cmdline").read_bytes()
                    found = re.search(r"VmHWM:\s*(\d+)", status.read_text())
                    if command.startswith(b"ray::Worker") and found:
                        peak = max(peak, int(found[1]))

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        peaks.append(peak / 1024)


def measure(args: argparse.Namespace, folder: Path) -> None:
    """Run the benchmark and print the table."""
    model = make_model(folder, args.settings, args.steps)
    source = folder / "rows.parquet"
    pq.write_table(make_table(args.rows, 2), source, row_group_size=FRAGMENT)
    encode(model, source, folder / "encoded")
    floor = partial(run_floor, model, source, folder / "encoded")
    job = partial(run_job, model, source)
    runs = {
        "floor": partial(floor, "fp32"),
        "floor, bf16": partial(floor, "bf16"),
        "surprisal, explain none": partial(job, "none", "surprisal"),
        "excess, explain none": partial(job, "none", "excess"),
        "combined, explain none": partial(job, "none", DEFAULT_STATISTIC),
        "combined, explain flagged": partial(job, "flagged", DEFAULT_STATISTIC),
        "combined, explain all": partial(job, "all", DEFAULT_STATISTIC),
        "surprisal, explain flagged, bf16": partial(
            job, "flagged", "surprisal", "bf16"
        ),
        "combined, explain flagged, bf16": partial(
            job, "flagged", DEFAULT_STATISTIC, "bf16"
        ),
    }
    for name in PEERS:
        runs[f"PyOD's {name}"] = partial(run_peer, make_peer(name, folder), source)
    chosen = [name for name in runs if any(part in name for part in args.only)]
    took: dict[str, list[float]] = {name: [] for name in chosen}
    held: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(args.repeats):
        for name in chosen:
            with peak_memory(held[name]):
                took[name].append(seconds(runs[name]))
            print(f"{name}: {took[name][-1]:.1f} s", file=sys.stderr, flush=True)
    print(header("scoring", "seconds", "rows/s", "of the floor", "MB per process"))
    floor = statistics.median(took.get("floor", [float("nan")]))
    for name, times in took.items():
        median = statistics.median(times)
        cells = f"{median:.1f}", f"{args.rows / median:,.0f}", f"{median / floor:.2f}"
        print(row(name, *cells, f"{max(held[name]):,.0f}"))
    print(
        f"\n{args.rows:,} rows of 20 mixed columns, MADE {args.settings}, "
        f"{actors.cpu_count()} processors ({platform.machine()}), "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def main() -> None:
    """Parse the arguments and run the benchmark in a temporary directory."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--settings", type=json.loads, default={}, help="of the network, as JSON"
    )
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument(
        "--only", nargs="+", default=[""], help="parts of the names of runs"
    )
    arguments = parser.parse_args()

    def work(folder: Path) -> None:
        cluster.connect(Resources())
        measure(arguments, folder)

    run_configured(work)


if __name__ == "__main__":
    main()
