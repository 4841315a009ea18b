"""How well anomalies are told from ordinary rows, beside PyOD's detectors.

    pip install -c constraints.txt -e '.[bench]'
    python benchmarks/anomalies.py DATA_FOLDER --write BENCHMARKS.md

The folder holds a Parquet file per dataset: columns of numbers, and `label`, 1 for an
anomaly, which no method sees. Two protocols: *clean* fits on a random half of the
ordinary rows and scores the other half and all anomalies, *contaminated* fits on all
rows and scores the same rows. Our model has one configuration for all datasets. It was
chosen on every other dataset in the order of their names, beginning with the first; the
rest tells what it is worth on datasets that it was not chosen on.

Results are appended to a file of JSON lines, which is what the tables are made of: a
run that was stopped goes on. The tables are printed, or replace those of a Markdown
file.
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
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
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
    OURS,
    "IForest",
    "ECOD",
    "COPOD",
    "KNN",
    "LOF",
    "Gaussian",
    "10 Gaussians",
]
PROTOCOLS = ("clean", "contaminated")

FEW = 32
"""Distinct values up to which the kind of a column is inferred."""

JUDGED = 12
"""How often the weights are judged in a fit, to keep the best."""

HELD_OUT = 0.1
"""Share of the rows fitted on that decides which weights are kept and calibrates."""


class Setting(NamedTuple):
    """How our model is fitted and asked.

    Attributes:
        model: The network.
        train: How it learns.
        steps: That are planned for a fit, whatever the number of rows.
        statistic: What a score is.
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
"""One for all datasets of a protocol."""


class Task(NamedTuple):
    """What a method is given.

    Attributes:
        protocol: Which one it is of.
        train: The rows to fit, (n, columns).
        test: The rows to score, (m, columns); the same array if contaminated.
        label: Of those, 1 for an anomaly, (m,).
    """

    protocol: str
    train: Floats
    test: Floats
    label: NDArray[np.int64]


class Result(NamedTuple):
    """Scores (m,) of the test rows, and the seconds of fitting and of scoring."""

    scores: Floats
    fit: float
    score: float


def read(path: Path, rows: int) -> tuple[Floats, NDArray[np.int64]]:
    """A dataset's columns (n, columns) and labels; a random part of so many rows."""
    table = pq.read_table(path)
    label = table["label"].to_numpy().astype(np.int64)
    names = [name for name in table.column_names if name != "label"]
    x = np.stack([table[name].to_numpy() for name in names], axis=1).astype(np.float64)
    if len(x) > rows:
        kept = np.random.default_rng(1000).permutation(len(x))[:rows]
        x, label = x[kept], label[kept]
    return x, label


def task(x: Floats, label: NDArray[np.int64], protocol: str, seed: int) -> Task:
    """What is fitted and what is scored by a protocol."""
    if protocol == "contaminated":
        return Task(protocol, x, x, label)
    ordinary = np.random.default_rng(seed).permutation(np.flatnonzero(label == 0))
    half = len(ordinary) // 2
    tested = np.sort(np.concatenate([ordinary[half:], np.flatnonzero(label)]))
    return Task(protocol, x[ordinary[:half]], x[tested], label[tested])


def run_ours(given: Task, seed: int) -> Result:
    """Our model, fitted as `prepare` and `train` do, without their jobs."""
    setting = SETTINGS[given.protocol]
    began = time.perf_counter()
    density = fit(table(given.train), setting, seed)
    fitted = time.perf_counter()
    options = ScoreOptions(statistic=setting.statistic, explain="none")
    scored = Scorer(density, options).score(table(given.test))
    ended = time.perf_counter()
    return Result(scored["anomaly_score"].to_numpy(), fitted - began, ended - fitted)


def table(x: Floats) -> pa.Table:
    """Numbered columns of numbers."""
    return pa.table({f"column {j}": column for j, column in enumerate(x.T)})


def fit(rows: pa.Table, setting: Setting, seed: int) -> TableDensity:
    """A density of rows, of which a share is held out to calibrate it."""
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
    """Gives `model` the best weights of `JUDGED` times that it is judged.

    Small datasets go round many times between two of them.
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
    """Numbers of the rows of batches, all rows in turn, shuffled anew each time."""
    size = min(rows, batch_size)
    while True:
        order = torch.randperm(rows, generator=generator)
        yield from order[: rows - rows % size].split(size)


def encode(rows: pa.Table) -> TableEncoder:
    """The encoder that `prepare` would fit on these rows, all numbers taken as reals.

    A dataset of measurements may hold few digits; of a column with up to `FEW` values
    the kind is inferred.
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
    """A detector of PyOD, on columns of mean 0 and variance 1."""
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
    """All that are compared, by name; ours first."""
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
    """AUROC, AUPRC, the share of distinct scores, and seconds."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {
        "auroc": float(roc_auc_score(given.label, result.scores)),
        "auprc": float(average_precision_score(given.label, result.scores)),
        "distinct": len(np.unique(result.scores)) / len(result.scores),
        "fit": result.fit,
        "score": result.score,
    }


def measure(args: argparse.Namespace) -> None:
    """Runs what the file of results does not hold yet, and appends it."""
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
    """The lines that were written so far."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def key_of(line: dict[str, Any]) -> tuple[str, str, int, str]:
    """What tells results apart."""
    return line["set"], line["protocol"], line["seed"], line["method"]


def report(lines: Sequence[dict[str, Any]]) -> str:
    """The tables of all results, as Markdown."""
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
    """A setting in words."""
    model, train = setting.model, setting.train
    return (
        f"{model.ensemble} x `{model.family}`, hidden {model.hidden}, "
        f"{model.orderings} random orderings, {model.components} components, dropout "
        f"{model.dropout:g}; {setting.steps} steps of {train.batch_size} rows, noise "
        f"{train.noise:g}, l1 {train.l1:g}, trim {train.trim:g}; statistic "
        f"`{setting.statistic}`"
    )


def compared(lines: Sequence[dict[str, Any]], protocol: str) -> list[dict[str, Any]]:
    """The results of a protocol, where all methods have one."""
    of_protocol = [line for line in lines if line["protocol"] == protocol]
    methods = {line["method"] for line in of_protocol}
    found: dict[tuple[str, int], set[str]] = {}
    for line in of_protocol:
        found.setdefault((line["set"], line["seed"]), set()).add(line["method"])
    return [line for line in of_protocol if found[line["set"], line["seed"]] == methods]


def summary(lines: Sequence[dict[str, Any]], every: Sequence[str]) -> str:
    """A row per method: means over all datasets, and over those not chosen on.

    Args:
        lines: Results of a protocol.
        every: Names of all datasets, ascending.
    """
    sets = sorted({line["set"] for line in lines})
    held_out = set(every[1::2]) & set(sets)
    names = list(dict.fromkeys(line["method"] for line in lines))
    ranks = mean_ranks(lines, sets, names)
    rows = [
        "| method | AUROC | AUPRC | AUROC, held out | AUPRC, held out | mean rank | "
        "fit, s | score, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in sorted(names, key=lambda n: -mean(lines, sets, n, "auroc")):
        cells = [
            f"{mean(lines, sets, name, 'auroc'):.3f}",
            f"{mean(lines, sets, name, 'auprc'):.3f}",
            f"{mean(lines, held_out, name, 'auroc'):.3f}",
            f"{mean(lines, held_out, name, 'auprc'):.3f}",
            f"{ranks[name]:.2f}",
            f"{mean(lines, sets, name, 'fit'):.2f}",
            f"{mean(lines, sets, name, 'score'):.2f}",
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def each_set(lines: Sequence[dict[str, Any]], every: Sequence[str]) -> str:
    """A row per dataset: AUROC / AUPRC of every method, and the rows fitted on."""
    names = list(dict.fromkeys(line["method"] for line in lines))
    rows = [
        f"| dataset | rows | {' | '.join(names)} |",
        "|---|---|" + "---|" * len(names),
    ]
    for name in sorted({line["set"] for line in lines}):
        rows_fitted = next(line["rows"] for line in lines if line["set"] == name)
        cells = [
            f"{mean(lines, [name], n, 'auroc'):.3f} / "
            f"{mean(lines, [name], n, 'auprc'):.3f}"
            for n in names
        ]
        mark = "" if name in every[1::2] else "*"
        rows.append(f"| {name}{mark} | {rows_fitted:,} | {' | '.join(cells)} |")
    return "\n".join(rows)


def mean(
    lines: Sequence[dict[str, Any]], sets: Collection[str], method: str, what: str
) -> float:
    """A figure of a method, averaged over datasets and seeds."""
    found = [
        line[what] for line in lines if line["method"] == method and line["set"] in sets
    ]
    return float(np.mean(found)) if found else float("nan")


def mean_ranks(
    lines: Sequence[dict[str, Any]], sets: Sequence[str], names: Sequence[str]
) -> dict[str, float]:
    """Each method's rank by AUROC, 1 is best, averaged over datasets."""
    ranks = []
    for name in sets:
        values = np.array([mean(lines, [name], n, "auroc") for n in names])
        better = (values[:, None] < values[None, :] - 1e-12).sum(axis=1)
        equal = (np.abs(values[:, None] - values[None, :]) <= 1e-12).sum(axis=1)
        ranks.append(better + (equal + 1) / 2)
    return dict(zip(names, np.mean(ranks, axis=0), strict=True))


def write(path: Path, text: str, section: str) -> None:
    """Replaces what stands between a section's marks in a Markdown file."""
    begin, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
    content = path.read_text()
    if begin not in content or end not in content:
        raise ValueError(f"{path}: needs the lines {begin!r} and {end!r}")
    before, _, rest = content.partition(begin)
    after = rest.partition(end)[2]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def main() -> None:
    """Reads the arguments, measures, and shows the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="one Parquet file per dataset")
    parser.add_argument("--rows", type=int, default=4_000, help="of a dataset, at most")
    parser.add_argument("--protocols", nargs="+", default=PROTOCOLS, choices=PROTOCOLS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--results", type=Path, default=Path("anomalies.jsonl"), help="goes on from it"
    )
    parser.add_argument("--methods", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--write", type=Path, help="the Markdown file to update")
    args = parser.parse_args()
    if not any(args.folder.glob("*.parquet")):
        parser.error(f"{args.folder}: holds no Parquet files")
    torch.set_num_threads(1)
    measure(args)
    text = report(read_results(args.results))
    if args.write is None:
        print(text)
    else:
        write(args.write, text, "anomalies")


if __name__ == "__main__":
    main()
