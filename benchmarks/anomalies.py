"""Measure anomaly detection against the detectors of PyOD.

    pip install -c constraints.txt -e '.[bench]'
    python benchmarks/anomalies.py DATA_FOLDER --write BENCHMARKS.md

The directory contains a Parquet file per dataset: columns of numbers, and `label`, 1
for an anomaly, which no method sees. There are two protocols: *clean* fits on a random
half of the ordinary rows and scores the other half and all anomalies, *contaminated*
fits on all rows and scores the same rows. Our model has one configuration for all
datasets. It was chosen on every other dataset in the order of their names, beginning
with the first; the others show how well it transfers.

Results are appended to a file of JSON lines, from which the tables are made, so that a
stopped run continues. The tables are printed, or replace those of a Markdown file.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from harness import argument_parser, header, read_labelled, row, write_section
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from ar_models.density.scorer import ScoreOptions, Scorer
from ar_models.density.table_density import TableDensity
from ar_models.families import registry
from ar_models.families.base import AutoregressiveModel
from ar_models.scoring.choices import DEFAULT_STATISTIC, Statistic
from ar_models.tables.columns import Column
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.left_out import LeftOut, constant
from tasks.config.data import DataConfig
from tasks.config.model import ModelConfig, model_config
from tasks.config.train import TrainConfig
from tasks.data.batches import Batch
from tasks.data.cells import representation_of, to_cells
from tasks.data.columns.infer import infer_column
from tasks.data.sketches import max_exact, sketch_column
from tasks.training.trainer import Trainer, train_epoch

Floats = NDArray[np.float64]

OURS = "chainrule"
NAMES = [
    *(OURS, "IForest", "ECOD", "COPOD", "KNN", "LOF"),
    *("Gaussian", "10 Gaussians"),
]
PROTOCOLS = ("clean", "contaminated")

FEW = 32
"""Maximum number of distinct values of a column whose kind is inferred."""

JUDGED = 12
"""Number of times that the weights are evaluated in a fit, to keep the best."""

HELD_OUT = 0.1
"""Share of the rows to fit by which weights are chosen and scores calibrated."""


class Setting(NamedTuple):
    """Configuration of our model.

    Attributes:
        model: Network.
        train: Training.
        steps: Number of training steps, for any number of rows.
        statistic: Anomaly statistic.
    """

    model: ModelConfig
    train: TrainConfig
    steps: int
    statistic: Statistic


MODEL = model_config(
    hidden=64, layers=1, orderings=4, ordering="random", components=4, dropout=0.1
)
TRAIN = TrainConfig(
    batch_size=256,
    learning_rate=5e-3,
    weight_decay=1e-2,
    ema_decay=0.99,
    noise=0.2,
    patience=100,
)
SETTINGS = {
    "clean": Setting(
        MODEL.model_copy(update={"orderings": 16, "dropout": 0.3}),
        TRAIN,
        600,
        DEFAULT_STATISTIC,
    ),
    "contaminated": Setting(
        MODEL, TRAIN.model_copy(update={"trim": 0.1}), 300, "marginal_tail"
    ),
}
"""Configuration for all datasets of a protocol."""


class Task(NamedTuple):
    """Rows that a method gets.

    Attributes:
        protocol: Name of the protocol.
        train: Rows to fit, (n, columns).
        test: Rows to score, (m, columns); the same array if contaminated.
        label: Labels of the rows to score, 1 for an anomaly, (m,).
    """

    protocol: str
    train: Floats
    test: Floats
    label: NDArray[np.int64]


class Result(NamedTuple):
    """Scores of the test rows, (m,), and the seconds of fitting and scoring."""

    scores: Floats
    fit: float
    score: float


def read(path: Path, rows: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return the columns, (n, columns), and labels of a random part of a dataset."""
    x, label = read_labelled(path, np.float64)
    if len(x) > rows:
        kept = np.random.default_rng(1000).permutation(len(x))[:rows]
        x, label = x[kept], label[kept]
    return x, label


def task(x: Floats, label: NDArray[np.int64], protocol: str, seed: int) -> Task:
    """Return the rows to fit and to score by a protocol."""
    if protocol == "contaminated":
        return Task(protocol, x, x, label)
    ordinary = np.random.default_rng(seed).permutation(np.flatnonzero(label == 0))
    half = len(ordinary) // 2
    tested = np.sort(np.concatenate([ordinary[half:], np.flatnonzero(label)]))
    return Task(protocol, x[ordinary[:half]], x[tested], label[tested])


def run_ours(given: Task, seed: int) -> Result:
    """Fit and score our model as jobs do, in this process."""
    setting = SETTINGS[given.protocol]
    began = time.perf_counter()
    density = fit(table(given.train), setting, seed)
    fitted = time.perf_counter()
    options = ScoreOptions(statistic=setting.statistic, explain="none")
    scored = Scorer(density, options).score(table(given.test))
    ended = time.perf_counter()
    return Result(scored["anomaly_score"].to_numpy(), fitted - began, ended - fitted)


def table(x: Floats) -> pa.Table:
    """Return a table with numbered columns."""
    return pa.table({f"column {j}": column for j, column in enumerate(x.T)})


def fit(rows: pa.Table, setting: Setting, seed: int) -> TableDensity:
    """Fit a density and calibrate it by rows that are held out."""
    encoder = encode(rows)
    x = torch.from_numpy(encoder.encode(rows).x)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    held_out = max(4, round(HELD_OUT * len(x)))
    valid, train = x[order[:held_out]], x[order[held_out:]]
    torch.manual_seed(seed)
    model = registry.build(
        setting.model.family,
        encoder.variables,
        ensemble=setting.model.ensemble,
        **(setting.model.settings() | {"seed": seed}),
    )
    learn(model, train, valid, setting, seed)
    density = TableDensity(encoder, model)
    held = rows.take(pa.array(order[:held_out].numpy()))
    return TableDensity(encoder, model, density.reference_scores(held))


def learn(
    model: AutoregressiveModel,
    train: Tensor,
    valid: Tensor,
    setting: Setting,
    seed: int,
) -> None:
    """Train a model and load the weights of the best of `JUDGED` evaluations.

    Between two evaluations, small datasets are passed several times.
    """
    config = setting.train.model_copy(update={"epochs": JUDGED, "seed": seed})
    trainer = Trainer(model, config, steps=setting.steps)
    generator = torch.Generator().manual_seed(seed)
    rows = endless(len(train), config.batch_size, generator)
    for _ in range(JUDGED):
        some = itertools.islice(rows, setting.steps // JUDGED)
        train_epoch(trainer, (Batch(train[r], len(r)) for r in some), lambda: False)
        trainer.end_epoch(trainer.nll([valid]))
    model.load_state_dict(trainer.best)


def endless(rows: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the row numbers of batches; each pass has an order of its own."""
    size = min(rows, batch_size)
    while True:
        order = torch.randperm(rows, generator=generator)
        yield from order[: rows - rows % size].split(size)


def encode(rows: pa.Table) -> TableEncoder:
    """Fit an encoder as `prepare` does, with columns of numbers as reals.

    Measurements may be rounded; the kind of a column with up to `FEW` values is
    inferred.
    """
    columns: list[Column] = []
    left_out: list[LeftOut] = []
    for field in rows.schema:
        array = rows.column(field.name).combine_chunks()
        few = array.unique()
        if len(few) == 1:
            left_out.append(constant(field.name, few, "constant"))
            continue
        kinds = {} if len(few) <= FEW else {field.name: {"kind": "real"}}
        data = DataConfig.model_validate({"path": "", "columns": kinds})
        base = representation_of(field.type, "real" if kinds else None)
        cells = to_cells(pa.chunked_array([array]), field.type, base)
        most = max_exact(data, rows.num_columns, base)
        sketch = sketch_column(cells, field.type, most)
        found = infer_column(field.name, field.type, sketch, data)
        if isinstance(found, Column):
            columns.append(found)
        else:
            left_out.append(found)
    return TableEncoder(tuple(columns), tuple(left_out), rows.schema)


def run_peer(make: Callable[[int], Any], given: Task, seed: int) -> Result:
    """Fit and score a detector of PyOD on columns of mean 0 and variance 1."""
    centre, spread = given.train.mean(axis=0), given.train.std(axis=0)
    spread[spread == 0] = 1
    train = (given.train - centre) / spread
    began = time.perf_counter()
    detector = make(seed)
    few = len(train) < 2 * train.shape[1]
    if few and "covariance_type" in detector.get_params():
        detector = detector.set_params(covariance_type="diag")
    try:
        detector.fit(train)
    except ValueError as error:
        if "ill-defined empirical covariance" not in str(error):
            raise
        # A mixture of more Gaussians than the rows can tell apart.
        detector = detector.set_params(reg_covar=1e-3)
        detector.fit(train)
    fitted = time.perf_counter()
    if given.test is given.train:
        scores = detector.decision_scores_
    else:
        scores = detector.decision_function((given.test - centre) / spread)
    ended = time.perf_counter()
    # Where densities vanish or distances are 0.
    scores = np.nan_to_num(scores, posinf=1e300, neginf=-1e300)
    return Result(scores, fitted - began, ended - fitted)


def methods() -> dict[str, Callable[[Task, int], Result]]:
    """Return all methods by name, ours first."""
    from pyod.models.copod import COPOD
    from pyod.models.ecod import ECOD
    from pyod.models.gmm import GMM
    from pyod.models.iforest import IForest
    from pyod.models.knn import KNN
    from pyod.models.lof import LOF

    peers: dict[str, Callable[[int], Any]] = {
        "IForest": lambda seed: IForest(random_state=seed),
        "ECOD": lambda seed: ECOD(),
        "COPOD": lambda seed: COPOD(),
        "KNN": lambda seed: KNN(),
        "LOF": lambda seed: LOF(),
        "Gaussian": lambda seed: GMM(n_components=1, random_state=seed),
        "10 Gaussians": lambda seed: GMM(n_components=10, random_state=seed),
    }
    return {OURS: run_ours} | {n: partial(run_peer, make) for n, make in peers.items()}


def judge(given: Task, result: Result) -> dict[str, float]:
    """Return AUROC, AUPRC, the share of distinct scores, and seconds."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {
        "auroc": float(roc_auc_score(given.label, result.scores)),
        "auprc": float(average_precision_score(given.label, result.scores)),
        "distinct": len(np.unique(result.scores)) / len(result.scores),
        "fit": result.fit,
        "score": result.score,
    }


def measure(args: argparse.Namespace) -> None:
    """Run what is missing in the file of results and append it."""
    done = {key_of(line) for line in read_results(args.results)}
    chosen = {n: run for n, run in methods().items() if n in args.methods}
    for protocol, seed, path in itertools.product(
        args.protocols, range(args.seeds), sorted(args.folder.glob("*.parquet"))
    ):
        names = [n for n in chosen if (path.stem, protocol, seed, n) not in done]
        if not names:
            continue
        given = task(*read(path, args.rows), protocol, seed)
        for name in names:
            result = judge(given, chosen[name](given, seed))
            line = {"set": path.stem, "protocol": protocol, "seed": seed}
            line |= {"method": name, "rows": len(given.train), **result}
            with args.results.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{path.stem} {protocol} {seed} {name}: {result}", file=sys.stderr)


def read_results(path: Path) -> list[dict[str, Any]]:
    """Return the results that were written so far."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def key_of(line: dict[str, Any]) -> tuple[str, str, int, str]:
    """Return the dataset, protocol, seed and method of a result."""
    return line["set"], line["protocol"], line["seed"], line["method"]


def report(lines: Sequence[dict[str, Any]]) -> str:
    """Return the tables of all results in Markdown."""
    every = sorted({line["set"] for line in lines})
    parts = ["Settings were chosen on the datasets marked with *."]
    for protocol in PROTOCOLS:
        of_protocol = compared(lines, protocol)
        seeds = len({line["seed"] for line in of_protocol})
        sets = len({line["set"] for line in of_protocol})
        parts.append(
            f"### {protocol.capitalize()}\n\n{sets} datasets, seeds: {seeds}. "
            "AUROC / AUPRC below; seconds on one thread. "
            f"chainrule: {described(SETTINGS[protocol])}."
        )
        if of_protocol:
            parts.append(summary(of_protocol, every))
            parts.append(each_set(of_protocol, every))
    return "\n\n".join(parts)


def described(setting: Setting) -> str:
    """Return a description of a configuration."""
    model, train = setting.model, setting.train
    return (
        f"{model.ensemble} x `{model.family}`, hidden {model.hidden}, "
        f"{model.orderings} random orderings, {model.components} components, dropout "
        f"{model.dropout:g}; {setting.steps} steps of {train.batch_size} rows, noise "
        f"{train.noise:g}, l1 {train.l1:g}, trim {train.trim:g}; statistic "
        f"`{setting.statistic}`"
    )


def compared(lines: Sequence[dict[str, Any]], protocol: str) -> list[dict[str, Any]]:
    """Return the results of a protocol on datasets and seeds that no method lacks."""
    of_protocol = [line for line in lines if line["protocol"] == protocol]
    methods = {line["method"] for line in of_protocol}
    found: dict[tuple[str, int], set[str]] = {}
    for line in of_protocol:
        found.setdefault((line["set"], line["seed"]), set()).add(line["method"])
    return [line for line in of_protocol if found[line["set"], line["seed"]] == methods]


def summary(lines: Sequence[dict[str, Any]], every: Sequence[str]) -> str:
    """Return a table of means over all datasets, and over those held out, by method.

    Args:
        lines: Results of a protocol.
        every: Names of all datasets, ascending.
    """
    sets = sorted({line["set"] for line in lines})
    held_out = set(every[1::2]) & set(sets)
    names = list(dict.fromkeys(line["method"] for line in lines))
    ranks = mean_ranks(lines, sets, names)
    titles = ("AUROC", "AUPRC", "AUROC, held out", "AUPRC, held out", "mean rank")
    rows = [header("method", *titles, "fit, s", "score, s")]
    for name in sorted(names, key=lambda n: -mean(lines, sets, n, "auroc")):
        cells = [
            f"{mean(lines, part, name, metric):.3f}"
            for part in (sets, held_out)
            for metric in ("auroc", "auprc")
        ]
        times = [f"{mean(lines, sets, name, each):.2f}" for each in ("fit", "score")]
        rows.append(row(name, *cells, f"{ranks[name]:.2f}", *times))
    return "\n".join(rows)


def each_set(lines: Sequence[dict[str, Any]], every: Sequence[str]) -> str:
    """Return a table of AUROC and AUPRC by dataset and method."""
    names = list(dict.fromkeys(line["method"] for line in lines))
    rows = [header("dataset", "rows", *names)]
    for name in sorted({line["set"] for line in lines}):
        rows_fitted = next(line["rows"] for line in lines if line["set"] == name)
        cells = [
            f"{mean(lines, [name], n, 'auroc'):.3f} / "
            f"{mean(lines, [name], n, 'auprc'):.3f}"
            for n in names
        ]
        mark = "" if name in every[1::2] else "*"
        rows.append(row(f"{name}{mark}", f"{rows_fitted:,}", *cells))
    return "\n".join(rows)


def mean(
    lines: Sequence[dict[str, Any]], sets: Collection[str], method: str, what: str
) -> float:
    """Return the mean of a metric of a method over datasets and seeds."""
    found = [
        line[what] for line in lines if line["method"] == method and line["set"] in sets
    ]
    return float(np.mean(found)) if found else float("nan")


def mean_ranks(
    lines: Sequence[dict[str, Any]], sets: Sequence[str], names: Sequence[str]
) -> dict[str, float]:
    """Return the mean rank by AUROC of each method over datasets, 1 is best."""
    ranks = []
    for name in sets:
        values = [mean(lines, [name], n, "auroc") for n in names]
        ranks.append(rankdata(-np.round(values, 12)))
    return dict(zip(names, np.mean(ranks, axis=0), strict=True))


def main() -> None:
    """Parse the arguments, measure, and print or write the tables."""
    parser = argument_parser(__doc__)
    parser.add_argument("folder", type=Path, help="one Parquet file per dataset")
    parser.add_argument(
        "--rows", type=int, default=4_000, help="maximum rows of a dataset"
    )
    parser.add_argument("--protocols", nargs="+", default=PROTOCOLS, choices=PROTOCOLS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--results", type=Path, default=Path("anomalies.jsonl"), help="file to continue"
    )
    parser.add_argument("--methods", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--write", type=Path, help="Markdown file to update")
    args = parser.parse_args()
    if not any(args.folder.glob("*.parquet")):
        parser.error(f"{args.folder}: holds no Parquet files")
    torch.set_num_threads(1)
    measure(args)
    text = report(read_results(args.results))
    if args.write is None:
        print(text)
    else:
        write_section(args.write, text, "anomalies")


if __name__ == "__main__":
    main()
