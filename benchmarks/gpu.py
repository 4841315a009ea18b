"""Measure training, sampling and scoring against what a GPU can do at most.

Run it from the root of the repository on a machine with a GPU; it takes about twelve
minutes there. It needs torch, numpy, pyarrow, safetensors and numba only:

    PYTHONPATH=. python benchmarks/gpu.py
    PYTHONPATH=. python benchmarks/gpu.py --device cpu --toy

Each row of the table is a share or a ratio, and the goal for it:

- Training in bf16: floating-point operations per second of the training steps, as
  torch counts them, divided by those of one large bf16 product.
- Sampling: seconds of a draw of a batch divided by those of a dense forward pass.
- Scoring: seconds that the network takes for rows which are on the device already,
  divided by the seconds of scoring the same rows from Parquet, which is the share of
  time that the device is busy.

The likelihood of binarized MNIST within a time budget is measured by `published.py`.
"""

import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from harness import argument_parser, header, interleaved, row, seconds
from torch.utils.flop_counter import FlopCounterMode

from ar_models.density.scorer import ScoreOptions, Scorer
from ar_models.density.table_density import TableDensity
from ar_models.families.base import AutoregressiveModel
from ar_models.families.registry import build
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.real_column import RealColumn
from ar_models.variables import Variable, binary_variables

WARM_STEPS = 3
"""Number of training steps before those that are timed."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of what is measured.

    Attributes:
        product: Rows and columns of the matrices of the bf16 product.
        hidden: Units of a hidden layer of `made`.
        batch: Rows of a training batch of `made`.
        drawn: Rows of a batch of samples.
        transformer: Settings of the transformer.
        tokens: Variables of the transformer.
        sequences: Rows of a training batch of the transformer.
        rows: Rows to score.
        steps: Number of timed steps or repetitions.
    """

    product: int = 8192
    hidden: int = 8192
    batch: int = 32768
    drawn: int = 65536
    transformer: tuple[int, int, int] = (768, 14, 12)
    tokens: int = 256
    sequences: int = 256
    rows: int = 4_000_000
    steps: int = 20


TOY = Sizes(64, 32, 64, 64, (16, 1, 2), 8, 8, 200, 2)
"""Sizes for a check of the script on any machine."""


def main() -> None:
    """Print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--toy", action="store_true", help="check the script itself")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU; --device cpu --toy checks the script")
    print(describe(arguments.device))
    print(header("measure", "value", "goal", "seconds"), flush=True)
    for cells in measure(arguments.device, TOY if arguments.toy else Sizes()):
        print(row(*cells), flush=True)


def describe(device: str) -> str:
    """Return the device, the versions, the date and the commit."""
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    commit = done.stdout.strip() or "unknown"
    return f"{name}, torch {torch.__version__}, {date.today()}, commit {commit}\n"


def measure(device: str, sizes: Sizes) -> Iterator[tuple[str, str, str, str]]:
    """Yield the cells of each row: what is measured, value, goal and seconds."""
    ceiling, taken = product_rate(device, sizes)
    yield "product in bf16, TFLOP/s", f"{ceiling / 1e12:.1f}", "", f"{taken:.4f}"
    width, layers, heads = sizes.transformer
    made = {"hidden": sizes.hidden, "layers": 2, "residual": False, "dropout": 0.0}
    blocks = {"hidden": width, "layers": layers, "heads": heads, "dropout": 0.0}
    networks: dict[str, tuple[int, int, dict[str, Any]]] = {
        "made": (784, sizes.batch, made),
        "transformer": (sizes.tokens, sizes.sequences, blocks),
    }
    for family, (dim, batch, settings) in networks.items():
        torch.manual_seed(0)
        model = build(family, binary_variables(dim), **settings).to(device)
        count = sum(p.numel() for p in model.parameters()) / 1e6
        rate, taken = training_rate(model, batch, device, sizes.steps)
        name = f"training {family}, {count:.0f} M parameters: share of the product"
        yield name, f"{rate / ceiling:.2f}", "0.50", f"{taken:.4f}"
        if family == "made":
            ratio, taken = drawing_ratio(model, sizes.drawn, device, sizes.steps)
            name = f"sampling {family}, {sizes.drawn:,} rows: draw / forward pass"
            yield name, f"{ratio:.2f}", "1.50", f"{taken:.4f}"
        del model
    share, taken = busy_share(device, sizes)
    name = f"scoring {sizes.rows:,} rows from Parquet: device busy"
    yield name, f"{share:.2f}", "0.80", f"{taken:.2f}"


def in_bf16(device: str) -> torch.autocast:
    """Return a context in which products are computed in bf16."""
    return torch.autocast(device, dtype=torch.bfloat16)


def median_seconds(work: Callable[[], object], device: str, count: int) -> float:
    """Return the median seconds of a call, after one that is not timed."""
    seconds(work, device)
    return statistics.median(seconds(work, device) for _ in range(count))


def product_rate(device: str, sizes: Sizes) -> tuple[float, float]:
    """Return operations per second, and seconds, of a square product in bf16."""
    n = sizes.product
    left, right = (torch.randn(n, n, device=device).bfloat16() for _ in range(2))
    taken = median_seconds(lambda: left @ right, device, sizes.steps)
    return 2 * n**3 / taken, taken


def training_rate(
    model: AutoregressiveModel, batch: int, device: str, steps: int
) -> tuple[float, float]:
    """Return operations per second, and seconds, of a training step in bf16."""
    fused = device == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=fused)
    x = torch.randint(0, 2, (batch, model.dim), device=device).float()
    model.train()

    def step() -> None:
        optimizer.zero_grad()
        with in_bf16(device):
            loss = -model.log_prob(x).mean()
        loss.backward()
        optimizer.step()

    for _ in range(WARM_STEPS):
        step()
    with FlopCounterMode(display=False) as counter:
        step()
    taken = median_seconds(step, device, steps)
    model.eval()
    return counter.get_total_flops() / taken, taken


def drawing_ratio(
    model: AutoregressiveModel, rows: int, device: str, steps: int
) -> tuple[float, float]:
    """Return the time of a draw in forward passes, and in seconds."""
    noise = torch.rand(rows, model.noise_dim, 2, device=device)
    x = torch.randint(0, 2, (rows, model.dim), device=device).float()
    with torch.no_grad(), in_bf16(device):
        works: dict[str, Callable[[], object]] = {
            "forward": lambda: model.log_prob(x),
            "draw": lambda: model.draw_unconditional(noise),
        }
        # The first draws on a GPU capture the graph that the others replay.
        interleaved(works, repetitions=2, device=device)
        times = interleaved(works, repetitions=steps, device=device)
    forward, draw = (statistics.median(times[name]) for name in works)
    return draw / forward, draw


def make_encoder() -> TableEncoder:
    """Return an encoder of eight categorical and eight real columns."""
    columns: list[CodeColumn | RealColumn] = []
    knots = (-2.0, -1.0, 0.0, 1.0, 2.0)
    for i in range(8):
        name, group = f"code_{i}", 2 * i
        variable = Variable(name, "categorical", group, size=20)
        values = tuple(f"value {k}" for k in range(20))
        columns.append(
            CodeColumn(name, "categorical", "string", 1000, (variable,), values=values)
        )
        name = f"real_{i}"
        real = Variable(name, "real", group + 1, knots=knots)
        columns.append(
            RealColumn(name, "real", "double", 1000, (real,), knots=knots, scores=knots)
        )
    types = {"categorical": pa.string(), "real": pa.float64()}
    schema = pa.schema([(c.name, types[c.kind]) for c in columns])
    return TableEncoder(tuple(columns), (), schema)


def write_rows(encoder: TableEncoder, path: Path, rows: int) -> None:
    """Write a Parquet file of random rows."""
    rng = np.random.default_rng(0)
    arrays = {
        field.name: pa.array(rng.normal(size=rows))
        if field.type == pa.float64()
        else pa.array([f"value {k}" for k in rng.integers(0, 20, rows)])
        for field in encoder.schema
    }
    pq.write_table(pa.table(arrays), path, row_group_size=100_000)


def busy_share(device: str, sizes: Sizes) -> tuple[float, float]:
    """Return the share of scoring that the network computes, and its seconds."""
    encoder = make_encoder()
    torch.manual_seed(0)
    model = build("made", encoder.variables, hidden=max(16, sizes.hidden // 8))
    density = TableDensity(encoder, model.to(device).eval())
    options = ScoreOptions(explain="none", precision="bf16")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write_rows(encoder, path, sizes.rows)
        scorer = Scorer(density, options)

        def score() -> None:
            for group in pq.ParquetFile(path).iter_batches(100_000):
                scorer.score_rows(pa.Table.from_batches([group]))

        first = next(pq.ParquetFile(path).iter_batches(100_000))
        batches = density.batches(pa.Table.from_batches([first]))
        moved = [encoded.x for _, encoded in batches]
        tensors = [torch.as_tensor(x, device=device) for x in moved]
        rows = sum(len(x) for x in tensors)

        def network() -> None:
            with torch.no_grad(), in_bf16(device):
                for x in tensors:
                    model.conditionals(x).log_prob(x)

        alone = median_seconds(network, device, sizes.steps) * sizes.rows / rows
        taken = median_seconds(score, device, 1)
    return alone / taken, taken


if __name__ == "__main__":
    main()
