"""How fast rows are scored, Parquet to Parquet, against the least that it could cost.

    python benchmarks/scoring.py --rows 400000 --repeats 3

The floor is what no scoring job can do without: copying the Parquet file with pyarrow
and the bare network's forward passes over rows that are encoded already, with as many
processes as the job has actors. Job and floor take turns, and the median counts.
Prints rows of a markdown table.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ar_models.density import BATCH, TableDensity
from ar_models.made import MADE
from tasks import cluster, environment
from tasks.config import DataConfig, Resources, ScoreConfig
from tasks.datasets import open_dataset, read
from tasks.prepare import load_encoder, prepare
from tasks.score import score

FRAGMENT = 50_000


def make_table(rows: int, seed: int) -> pa.Table:
    """An id and 20 columns that depend on each other through a hidden value."""
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


def make_model(folder: Path, hidden: int, steps: int) -> Path:
    """A density of such tables, trained for so many steps; its folder."""
    pq.write_table(make_table(30_000, seed=1), folder / "train.parquet")
    data = DataConfig(path=str(folder / "train.parquet"), id=("id",))
    prepared = prepare(data, str(folder / "prepared"), Resources())["path"]
    encoder = load_encoder(prepared)
    torch.manual_seed(0)
    model = MADE(encoder.variables, hidden=hidden)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    x = torch.from_numpy(encoder.encode(pq.read_table(f"{prepared}/train")).x)
    for step in range(steps):
        batch = x[torch.arange(1024).add(1024 * step) % len(x)]
        optimizer.zero_grad()
        (-model.log_prob(batch).mean()).backward()
        optimizer.step()
    density = TableDensity(encoder, model)
    calibration = density.reference_scores(pq.read_table(f"{prepared}/calibration"))
    TableDensity(encoder, model, calibration).save(folder / "model")
    return folder / "model"


class Floor:
    """Copies a fragment and passes its encoded rows through the network."""

    def __init__(self, model: str, encoded: str, output: str) -> None:
        self.model = TableDensity.load(Path(model)).model
        self.encoded = encoded
        self.output = output

    @torch.inference_mode()
    def __call__(self, fragment: Any) -> int:  # a Fragment
        table = read(fragment)
        pq.write_table(table, f"{self.output}/{fragment.index}.parquet")
        x = torch.from_numpy(np.load(f"{self.encoded}/{fragment.index}.npy"))
        for batch in x.split(BATCH):
            self.model.conditionals(batch)
        return int(table.num_rows)


def run_floor(model: Path, source: Path, encoded: Path) -> None:
    """The least that scoring `source` could cost."""
    with tempfile.TemporaryDirectory() as output:
        fragments = open_dataset(str(source), rows_per_fragment=FRAGMENT).fragments
        make = partial(Floor, str(model), str(encoded), output)
        done = cluster.stream_actors(make, fragments, what="floor: fragments")
        assert sum(done) == sum(fragment.rows for fragment in fragments)


def run_job(model: Path, source: Path, explain: str, statistic: str) -> None:
    """The job, to a fresh folder."""
    with tempfile.TemporaryDirectory() as output:
        config = ScoreConfig.model_validate(
            {
                "explain": explain,
                "statistic": statistic,
                "rows_per_fragment": FRAGMENT,
            }
        )
        done = score(
            str(model), str(source), output, config, Resources(), id_columns=("id",)
        )
        assert done["rows_out"] == pq.read_metadata(source).num_rows


def encode(model: Path, source: Path, folder: Path) -> None:
    """Writes the encoded rows of every fragment, for the floor."""
    encoder = TableDensity.load(model).encoder
    folder.mkdir()
    for fragment in open_dataset(str(source), rows_per_fragment=FRAGMENT).fragments:
        np.save(folder / f"{fragment.index}.npy", encoder.encode(read(fragment)).x)


def seconds(function: Callable[[], None]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def measure(args: argparse.Namespace, folder: Path) -> None:
    """Prints the table."""
    model = make_model(folder, args.hidden, args.steps)
    source = folder / "rows.parquet"
    pq.write_table(make_table(args.rows, 2), source, row_group_size=FRAGMENT)
    encode(model, source, folder / "encoded")
    runs = {
        "floor": partial(run_floor, model, source, folder / "encoded"),
        "surprisal, explain none": partial(run_job, model, source, "none", "surprisal"),
        "explain none": partial(run_job, model, source, "none", "excess"),
        "explain flagged": partial(run_job, model, source, "flagged", "excess"),
        "explain all": partial(run_job, model, source, "all", "excess"),
    }
    took: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.repeats):
        for name, run in runs.items():
            took[name].append(seconds(run))
    print("| scoring | seconds | rows/s | of the floor |")
    print("|---|---|---|---|")
    floor = statistics.median(took["floor"])
    for name, times in took.items():
        median = statistics.median(times)
        rate, ratio = args.rows / median, median / floor
        print(f"| {name} | {median:.1f} | {rate:,.0f} | {ratio:.2f} |")
    print(
        f"\n{args.rows:,} rows of 20 mixed columns, MADE of {args.hidden} units, "
        f"{cluster.processors()} processors ({platform.machine()}), "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def main() -> None:
    """Reads the arguments and measures in a folder that vanishes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--steps", type=int, default=60)
    with tempfile.TemporaryDirectory() as folder:
        environment.configure(folder)
        cluster.connect(Resources())
        measure(parser.parse_args(), Path(folder))


if __name__ == "__main__":
    main()
