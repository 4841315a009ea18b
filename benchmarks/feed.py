"""Measure training on Ray against a bare torch loop over tensors in memory.

Both train the same network on the same encoded rows, with the same optimizer, batch
size, precision and number of threads; their runs are interleaved. The bare loop only
takes optimizer steps: no clipping, schedule, validation, checkpoints or reports.

    python benchmarks/feed.py --rows 300000 --rounds 3

The output is a row for BENCHMARKS.md.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from harness import argument_parser, header, row

from tasks.runtime import environment

COLUMNS = 30
"""Columns of the table, each of which becomes one variable."""


def main() -> None:
    """Parse the arguments and run the benchmark in a temporary directory."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--rows", type=int, default=300_000, help="approximate number of training rows"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="runs of each, interleaved"
    )
    parser.add_argument(
        "--epochs", type=int, default=3, help="epochs of a run, at least 2"
    )
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment.configure(folder)
        compare(args, Path(folder))


def compare(args: argparse.Namespace, folder: Path) -> None:
    """Train on Ray and with the bare loop in turns, and print the rates of each."""
    # Ray reads the environment when it is imported.
    from tasks.config.data import DataConfig
    from tasks.config.model import model_config
    from tasks.config.resources import Resources
    from tasks.config.train import ResolvedTrainConfig
    from tasks.data import prepare
    from tasks.data.batches import Rows
    from tasks.runtime import cluster
    from tasks.training import placement, train, worker

    resources = Resources(storage=str(folder))
    cluster.connect(resources)
    pq.write_table(make_table(args.rows), folder / "table.parquet")
    data = DataConfig(path=str(folder / "table.parquet"))
    prepared = prepare.prepare(data, str(folder / "prepared"), resources).path
    model = model_config(hidden=512, dropout=0.0, residual=False)
    rows = Rows(Path(prepared) / "encoded/train")
    x = rows.read([(0, len(rows))], torch.device("cpu"))
    threads = placement.cpus_per_worker(resources, placement.cluster_cpus())
    bare, ray, whole = [], [], []
    for number in range(args.rounds):
        training = ResolvedTrainConfig(
            epochs=args.epochs,
            batch_size=args.batch_size,
            ema_decay=0.0,
            patience=args.epochs,
            precision=args.precision,
            seed=number,
        )
        run = worker.TrainingRun("", prepared, model.model_dump(), training, {})
        bare += bare_rates(worker.initial_model(run), x, training, threads)[1:]
        start = time.perf_counter()
        output = str(folder / f"model-{number}")
        trained = train.train(prepared, model, training, output, resources)
        seconds = time.perf_counter() - start
        ray += [record["rows_per_s"] for record in trained.history[1:]]
        whole.append(args.epochs * len(rows) / seconds)
        print(
            f"round {number + 1}: bare {statistics.median(bare):,.0f}, on Ray "
            f"{statistics.median(ray):,.0f} rows/s",
            flush=True,
        )
    print_row(args, len(rows), threads, [bare, ray, whole])


def make_table(rows: int) -> pa.Table:
    """Return a table of 30 columns: strings, integers and floats.

    Args:
        rows: Approximate number of training rows that the default split leaves.
    """
    rng = np.random.default_rng(0)
    count = int(rows / 0.7)
    hidden = rng.normal(size=count)
    columns = {}
    for i in range(COLUMNS // 3):
        noisy = hidden + rng.normal(size=(3, count))
        words = np.array([f"word {k}" for k in range(12)])
        columns[f"word_{i}"] = words[np.clip(noisy[0] * 2 + 6, 0, 11).astype(int)]
        columns[f"number_{i}"] = (noisy[1] * 100).astype(int)
        columns[f"real_{i}"] = np.exp(noisy[2])
    return pa.table(columns)


def bare_rates(
    model: torch.nn.Module,
    x: torch.Tensor,
    training: "ResolvedTrainConfig",  # noqa: F821
    threads: int,
) -> list[float]:
    """Return the rows per second of each epoch of the simplest training loop.

    Args:
        model: Returns the log-probability of rows.
        x: All rows, (rows, dim).
        training: Epochs, batch size, learning rate and precision.
        threads: Number of threads of torch.
    """
    from tasks.training.optimization import autocast_dtype

    torch.set_num_threads(threads)
    dtype = autocast_dtype(training.precision, x.device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=training.learning_rate, fused=True
    )
    model.train()
    rates = []
    for _ in range(training.epochs):
        start = time.perf_counter()
        for index in torch.randperm(len(x)).split(training.batch_size):
            with torch.autocast("cpu", dtype, enabled=dtype is not None):
                nll = -model(x[index]).mean()
            nll.backward()
            optimizer.step()
            optimizer.zero_grad()
        rates.append(len(x) / (time.perf_counter() - start))
    return rates


def print_row(
    args: argparse.Namespace, count: int, threads: int, rates: list[list[float]]
) -> None:
    """Print the medians as a row of a Markdown table."""
    bare, ray, whole = (statistics.median(each) for each in rates)
    cpu = torch.cpu.get_capabilities().get("cpu_name", "unknown processor")
    titles = ("bare loop, rows/s", "on Ray, rows/s", "ratio")
    last = "on Ray with start, validation, calibration"
    print(header("machine", "data", "precision", *titles, last))
    dataset = f"{count:,} x {COLUMNS}, MADE [512, 512], batch {args.batch_size}"
    rates_of = (f"{bare:,.0f}", f"{ray:,.0f}", f"{ray / bare:.2f}")
    total = f"{whole:,.0f} ({args.epochs} epochs)"
    print(row(f"{threads} cores, {cpu}", dataset, args.precision, *rates_of, total))


if __name__ == "__main__":
    main()
