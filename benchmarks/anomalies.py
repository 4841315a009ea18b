"""Measure anomaly detection against the detectors of PyOD.

    pip install -c constraints.txt -e '.[bench]'
    python benchmarks/anomalies.py DATA_FOLDER --write BENCHMARKS.md

The directory contains a Parquet file per dataset: columns of numbers, and `label`, 1
for an anomaly, which no method sees. There are two protocols: *clean* fits on a random
half of the ordinary rows and scores the other half and all anomalies, *contaminated*
fits on all rows and scores the same rows. Our model is what `chainrule init` proposes,
scored by the default statistic, for every dataset and both protocols.

Results are appended to a file of JSON lines, from which the tables are made, so that a
stopped run continues. The tables are printed, or replace those of a Markdown file.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from harness import argument_parser, header, read_labelled, row, write_section
from in_process import fit
from numpy.typing import NDArray
from scipy.stats import rankdata

from ar_models.density.scorer import ScoreOptions, Scorer

Floats = NDArray[np.float64]

OURS = "chainrule"
NAMES = [
    *(OURS, "IForest", "ECOD", "COPOD", "KNN", "LOF"),
    *("Gaussian", "10 Gaussians"),
]
PROTOCOLS = ("clean", "contaminated")

METRICS = ("auroc", "auprc")
"""Metrics over all scored rows."""

BUDGETS = (0.001, 0.01, 0.05)
"""Shares of the scored rows that an alert budget flags, at least one row."""

RESAMPLES = 10_000
"""Number of bootstrap resamples of the datasets."""


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
    began = time.perf_counter()
    density = fit(table(given.train), seed)
    fitted = time.perf_counter()
    scored = Scorer(density, ScoreOptions(explain="none")).score(table(given.test))
    ended = time.perf_counter()
    return Result(scored["anomaly_score"].to_numpy(), fitted - began, ended - fitted)


def table(x: Floats) -> pa.Table:
    """Return a table with numbered columns."""
    return pa.table({f"column {j}": column for j, column in enumerate(x.T)})


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
    """Return AUROC, AUPRC, precision and recall of the budgets, and seconds."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    found = {
        "auroc": float(roc_auc_score(given.label, result.scores)),
        "auprc": float(average_precision_score(given.label, result.scores)),
        "distinct": len(np.unique(result.scores)) / len(result.scores),
        "fit": result.fit,
        "score": result.score,
    }
    flagged = given.label[np.argsort(-result.scores, kind="stable")]
    for budget in BUDGETS:
        count = max(1, round(budget * len(flagged)))
        hits = int(flagged[:count].sum())
        found[f"precision {budget:.1%}"] = hits / count
        found[f"recall {budget:.1%}"] = hits / int(flagged.sum())
    return found


def measure(args: argparse.Namespace) -> None:
    """Run what is missing in the file of results and append it."""
    done = {key_of(line) for line in read_results(args.results)}
    chosen = {n: run for n, run in methods().items() if n in args.methods}
    for protocol, seed, path in itertools.product(
        args.protocols, range(args.seeds), sorted(args.folder.glob("*.parquet"))
    ):
        if args.only and path.stem not in args.only:
            continue
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
    parts = []
    for protocol in PROTOCOLS:
        of_protocol = compared(lines, protocol)
        seeds = len({line["seed"] for line in of_protocol})
        sets = len({line["set"] for line in of_protocol})
        parts.append(
            f"### {protocol.capitalize()}\n\n{sets} datasets, seeds: {seeds}. "
            "AUROC / AUPRC by dataset below; seconds on one thread."
        )
        if of_protocol:
            parts += [summary(of_protocol), margins(of_protocol)]
            parts += [budgets(of_protocol), each_set(of_protocol)]
    return "\n\n".join(parts)


def compared(lines: Sequence[dict[str, Any]], protocol: str) -> list[dict[str, Any]]:
    """Return the results of a protocol on datasets and seeds that no method lacks."""
    of_protocol = [line for line in lines if line["protocol"] == protocol]
    methods = {line["method"] for line in of_protocol}
    found: dict[tuple[str, int], set[str]] = {}
    for line in of_protocol:
        found.setdefault((line["set"], line["seed"]), set()).add(line["method"])
    return [line for line in of_protocol if found[line["set"], line["seed"]] == methods]


def summary(lines: Sequence[dict[str, Any]]) -> str:
    """Return a table of means over all datasets by method, of a protocol."""
    sets = sorted({line["set"] for line in lines})
    names = list(dict.fromkeys(line["method"] for line in lines))
    ranks = {m: mean_ranks(lines, sets, names, m) for m in METRICS}
    titles = ("AUROC", "AUPRC", "mean rank in AUROC", "mean rank in AUPRC")
    rows = [header("method", *titles, "fit, s", "score, s")]
    for name in sorted(names, key=lambda n: -mean(lines, sets, n, "auroc")):
        cells = [f"{mean(lines, sets, name, metric):.3f}" for metric in METRICS]
        cells += [f"{ranks[metric][name]:.2f}" for metric in METRICS]
        cells += [f"{mean(lines, sets, name, each):.2f}" for each in ("fit", "score")]
        rows.append(row(name, *cells))
    return "\n".join(rows)


def margins(lines: Sequence[dict[str, Any]]) -> str:
    """Return our leads over the other methods, with 95 % intervals over datasets."""
    sets = sorted({line["set"] for line in lines})
    names = dict.fromkeys(line["method"] for line in lines)
    rows = [header(f"{OURS} minus", "AUROC", "AUPRC", "least AUROC of a dataset")]
    for name in names:
        if name == OURS:
            continue
        cells = []
        for metric in METRICS:
            leads = np.array(
                [
                    mean(lines, [each], OURS, metric)
                    - mean(lines, [each], name, metric)
                    for each in sets
                ]
            )
            low, high = bootstrap(leads)
            cells.append(f"{leads.mean():+.3f} ({low:+.3f} to {high:+.3f})")
            if metric == "auroc":
                least = f"{leads.min():+.3f} ({sets[int(leads.argmin())]})"
        rows.append(row(name, *cells, least))
    return "\n".join(rows)


def bootstrap(values: Floats) -> tuple[float, float]:
    """Return the 95 % percentile interval of a mean over datasets."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def budgets(lines: Sequence[dict[str, Any]]) -> str:
    """Return a table of precision and recall within alert budgets, by method."""
    sets = sorted({line["set"] for line in lines})
    names = dict.fromkeys(line["method"] for line in lines)
    titles = [f"{budget:.1%} of the rows" for budget in BUDGETS]
    rows = [header("precision / recall", *titles)]
    for name in names:
        pairs = [
            [
                mean(lines, sets, name, f"{what} {budget:.1%}")
                for what in ("precision", "recall")
            ]
            for budget in BUDGETS
        ]
        rows.append(row(name, *(f"{p:.3f} / {r:.3f}" for p, r in pairs)))
    return "\n".join(rows)


def each_set(lines: Sequence[dict[str, Any]]) -> str:
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
        rows.append(row(name, f"{rows_fitted:,}", *cells))
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
    lines: Sequence[dict[str, Any]],
    sets: Sequence[str],
    names: Sequence[str],
    metric: str,
) -> dict[str, float]:
    """Return the mean rank of each method over datasets by a metric, 1 is best."""
    ranks = []
    for name in sets:
        values = [mean(lines, [name], n, metric) for n in names]
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
    parser.add_argument("--only", nargs="+", help="names of datasets; all if none")
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
