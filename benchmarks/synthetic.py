"""Measure synthetic rows against those of `mostlyai-engine` (TabularARGN) on one CPU.

    python benchmarks/synthetic.py DATA --config examples/adult_census.yaml

DATA contains train.parquet and test.parquet; test rows that also occur in train are
left out. Each model learns from the train rows for at most --seconds, then draws rows,
completes given columns, imputes nulls and scores the test rows, in a process of its own
with one thread. Durations are CPU seconds, which depend little on other load; only the
peer limits its training by the wall clock. The peer runs in an environment of its own,
which is created with pip unless --env names one. The table has the metrics of
`tasks.evaluation.fidelity`, and those of real train rows for comparison.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from harness import argument_parser, header, row
from synthetic_peer import clock, run_jobs

from tasks.data.prepared import read_encoder

PEER = Path(__file__).with_name("synthetic_peer.py")
PEER_PACKAGE = "mostlyai-engine"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"

EMPTY = 0.2
"""Share of the cells of test rows that are set to null, for imputation."""

FAMILIES = {
    "made": {},
    "eonade": {"orderings": 1},
}
"""Families to compare, with settings besides those of the configuration."""

SHARED = ("hidden", "layers", "components", "embedding", "dropout", "seed")
"""Settings of the configured model that also apply to the other family."""

Json = dict[str, Any]  # JSON values


def main() -> None:
    """Prepare the tables, run each model, and print the results."""
    parser = argument_parser(__doc__)
    parser.add_argument("data", type=Path, help="directory of the tables")
    parser.add_argument("--config", type=Path, required=True, help="YAML file")
    parser.add_argument(
        "--target", default="income", help="column of the downstream task"
    )
    parser.add_argument("--given", default="age,education,sex", help="known columns")
    parser.add_argument("--rows", type=int, default=50_000, help="rows to draw")
    parser.add_argument(
        "--seconds", type=float, default=900, help="maximum training time"
    )
    parser.add_argument(
        "--env", type=Path, help="environment of the peer; a new one if none"
    )
    parser.add_argument(
        "--pip",
        nargs="*",
        default=["--extra-index-url", CPU_WHEELS],
        help="further arguments of pip for the environment of the peer",
    )
    parser.add_argument("--only", nargs="*", help="names of models; all if none")
    parser.add_argument(
        "--work", type=Path, help="directory to keep; a temporary one if none"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        learn(arguments)
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        tables = prepare_tables(arguments, work)
        names = arguments.only or [*FAMILIES, "argn"]
        found = {}
        for name in names:
            print(f"{name} …", file=sys.stderr, flush=True)
            facts = run(name, arguments, work)
            found[name] = facts | judge(name, tables, arguments.target, work)
        print(text(found, judge_real(tables, arguments.target)))
        (work / "found.json").write_text(json.dumps(found, indent=2))


def prepare_tables(arguments: argparse.Namespace, work: Path) -> dict[str, pa.Table]:
    """Write the train rows, the new test rows, and parts of these to complete."""
    train = pq.read_table(arguments.data / "train.parquet")
    test = pq.read_table(arguments.data / "test.parquet")
    known = {tuple(row.values()) for row in train.to_pylist()}
    new = [tuple(row.values()) not in known for row in test.to_pylist()]
    test = test.filter(pa.array(new))
    rng = np.random.default_rng(0)
    holes = test
    for place, field in enumerate(test.schema):
        gone = pa.array(rng.random(len(test)) < EMPTY)
        column = pc.if_else(gone, pa.scalar(None, field.type), test[field.name])
        holes = holes.set_column(place, field.with_nullable(True), column)
    tables = {
        "train": train,
        "test": test,
        "given": test.select(arguments.given.split(",")),
        "holes": holes,
    }
    for name, table in tables.items():
        pq.write_table(table, work / f"{name}.parquet")
    return tables


def run(name: str, arguments: argparse.Namespace, work: Path) -> Json:
    """Run a model in a process of its own and return its measurements."""
    (work / name).mkdir(exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    budget = ["--seconds", str(arguments.seconds), "--rows", str(arguments.rows)]
    if name == "argn":
        python = peer_python(arguments.env or work / "env", arguments.pip)
        command = [str(python), str(PEER), str(work), *budget]
    else:
        command = [sys.executable, __file__, str(arguments.data), "--worker", name]
        command += ["--config", str(arguments.config), "--work", str(work), *budget]
    subprocess.run(command, env=environment, check=True, stdout=sys.stderr)
    facts: Json = json.loads((work / name / "facts.json").read_text())
    return facts


def peer_python(folder: Path, more: list[str]) -> Path:
    """Return the Python of an environment with the peer, created if it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        install = [str(python), "-m", "pip", "install", "-q", *more, PEER_PACKAGE]
        subprocess.run(install, check=True, stdout=sys.stderr)
    return python


# --- our models, each in a process of its own -----------------------------------------


def learn(arguments: argparse.Namespace) -> None:
    """Learn from the train rows, draw, complete, impute and score."""
    import torch

    from ar_models.density.imputer import Imputer
    from ar_models.density.sampler import Sampler
    from tasks.config.load import load
    from tasks.config.resources import Resources
    from tasks.runtime import cluster

    torch.set_num_threads(1)
    work, name = arguments.work, arguments.worker
    config = load(arguments.config, {"data.path": str(work / "train.parquet")})
    cluster.connect(Resources(), cpus=1)
    given = pq.read_table(work / "given.parquet")
    density, facts = fit(
        config, name, work / name, arguments.seconds, given.column_names
    )
    holes = pq.read_table(work / "holes.parquet")
    test = pq.read_table(work / "test.parquet")
    sampler = Sampler(density)
    jobs = {
        "sample": (arguments.rows, lambda: sampler.sample(arguments.rows, seed=1)),
        "given": (len(given), lambda: sampler.sample(len(given), seed=1, given=given)),
        "impute": (len(holes), lambda: Imputer(density).impute(holes, seed=1)),
        "log_prob": (
            len(test),
            lambda: pa.table({"log_prob": density.log_prob(test)}),
        ),
    }
    facts |= run_jobs(jobs, work / name, pq.write_table)
    own = pq.read_table(work / name / "sample.parquet").slice(0, 10_000)
    facts["own_log_prob"] = float(density.log_prob(own).mean())
    (work / name / "facts.json").write_text(json.dumps(facts))


def fit(
    config: Any, family: str, folder: Path, seconds: float, first: list[str]
) -> tuple[Any, Json]:
    """Train a density and return it with the duration and the valid NLL.

    Args:
        config: Configuration of the dataset and the model.
        family: Family of the model.
        folder: Directory for the prepared dataset.
        seconds: Maximum CPU seconds of preparation and training.
        first: Columns that come first in a fixed ordering.
    """
    import torch

    from ar_models.density.table_density import TableDensity
    from ar_models.families import registry
    from tasks.config.resources import Resources
    from tasks.data import batches, prepare
    from tasks.data.batches import Batches, Order, Rows
    from tasks.runtime import manifest, storage
    from tasks.training import train, trainer

    share = {"valid": 0.08, "calibration": 0.01, "test": 0.01}
    split = config.data.split.model_copy(update=share)
    data = config.data.model_copy(update={"split": split})
    prepared = str(folder / "prepared")
    began = time.perf_counter()  # Ray's workers are not children of this process
    prepare.prepare(data, prepared, Resources())
    preparing = time.perf_counter() - began
    began = clock()
    deadline = began + seconds - preparing
    rows = Rows(folder / "prepared" / "encoded" / "train")
    valid = Rows(folder / "prepared" / "encoded" / "valid")
    model_section, training = train.resolve_settings(
        prepared, config.model, config.train
    )
    config = config.model_copy(update={"model": model_section})
    encoder = read_encoder(prepared)
    settings = settings_of(config, family)
    if "ordering" in settings:
        names = encoder.names
        sequence = [*first, *(name for name in names if name not in first)]
        settings["ordering"] = [[names.index(name) for name in sequence]]
    torch.manual_seed(training.seed)
    model = registry.build(family, encoder.variables, **settings)
    order = Order.of(rows, batch_size=training.batch_size, seed=training.seed)
    learned = trainer.Trainer(model, training, steps=training.epochs * order.batches)
    position = learned.state
    source = Batches(rows, order)
    volume = storage.read_json(f"{prepared}/{manifest.MANIFEST}")["log_abs_det"]
    while position.stopped is None and clock() < deadline:
        trainer.train_epoch(
            learned,
            source.epoch(position.epoch),
            lambda: clock() > deadline,
        )
        held_back = batches.in_sequence(valid, training.batch_size)
        learned.end_epoch(learned.nll(held_back), log_abs_det=volume)
    model.load_state_dict(learned.best)
    history = {
        "fit_s": preparing + clock() - began,
        "epochs": position.epoch,
        "valid_nll": position.best_nll,
    }
    return TableDensity(encoder, model), history


def settings_of(config: Any, family: str) -> Json:
    """Return the settings of a family, shared with those of the configured one."""
    settings: Json = config.model.model_dump(mode="json", exclude={"family"})
    if config.model.family != family:
        settings = {name: settings[name] for name in SHARED if name in settings}
    return settings | FAMILIES[family]


# --- metrics --------------------------------------------------------------------------


def judge(name: str, tables: dict[str, pa.Table], target: str, work: Path) -> Json:
    """Return the metrics of the rows that a model drew and imputed."""
    from tasks.evaluation.fidelity.fidelity import compare
    from tasks.evaluation.fidelity.tables import Tables

    train, test = tables["train"], tables["test"]
    synthetic = as_trained(pq.read_table(work / name / "sample.parquet"), train.schema)
    found = flat(compare(Tables(train, test, synthetic), target))
    path = work / name / "impute.parquet"
    if path.exists():
        found |= filled(pq.read_table(path), tables)
    path = work / name / "log_prob.parquet"
    found["held_out_log_prob"] = float(pc.mean(pq.read_table(path)["log_prob"]).as_py())
    return found


def judge_real(tables: dict[str, pa.Table], target: str) -> Json:
    """Return the same metrics for the train rows."""
    from tasks.evaluation.fidelity.fidelity import compare
    from tasks.evaluation.fidelity.tables import Tables

    train, test = tables["train"], tables["test"]
    found = flat(compare(Tables(train, test, train), target))
    del found["closest"]  # they are train rows
    return found


def as_trained(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the columns of a schema in its types; those of the peer differ."""
    arrays = [
        pc.round(table[f.name]).cast(f.type)
        if pa.types.is_integer(f.type) and pa.types.is_floating(table[f.name].type)
        else table[f.name].cast(f.type)
        for f in schema
    ]
    return pa.table(arrays, schema=schema)


def flat(found: Json) -> Json:
    """Return the metrics to print."""
    return {
        "univariate": found["univariate"]["synthetic"],
        "bivariate": found["bivariate"]["synthetic"],
        "two_sample_auc": found["two_sample_auc"]["synthetic"],
        "downstream": found["downstream"]["synthetic"],
        "closest": found["closest"]["share"],
    }


def filled(table: pa.Table, tables: dict[str, pa.Table]) -> Json:
    """Return the share of right categories and the mean error of ranks of numbers."""
    from tasks.reports.column_values import to_numbers, to_strings

    test, holes, train = tables["test"], tables["holes"], tables["train"]
    table = as_trained(table, test.schema)
    right, off = [], []
    for name in test.column_names:
        empty = pc.and_(holes[name].is_null(), test[name].is_valid())
        truth, guess = (t[name].filter(empty) for t in (test, table))
        known = to_numbers(train[name])
        one, two = to_numbers(truth), to_numbers(guess)
        if known is None or one is None or two is None:
            equal = pc.equal(to_strings(truth), to_strings(guess))
            right.append(float(pc.mean(pc.fill_null(equal, False)).as_py()))
            continue
        ranked = np.sort(known)
        ranks = [np.searchsorted(ranked, values) for values in (one, two)]
        off.append(float(np.abs(ranks[0] - ranks[1]).mean()) / len(ranked))
    return {"imputed_right": float(np.mean(right)), "imputed_off": float(np.mean(off))}


ROWS = (
    ("fit, CPU s", "fit_s", ".0f"),
    ("peak memory, MB", "peak_mb", ",.0f"),
    ("sampling, rows per CPU s", "sample_rows_per_s", ",.0f"),
    ("completing given columns, rows per CPU s", "given_rows_per_s", ",.0f"),
    ("imputation, rows per CPU s", "impute_rows_per_s", ",.0f"),
    ("log-likelihood, rows per CPU s", "log_prob_rows_per_s", ",.0f"),
    ("univariate accuracy", "univariate", ".4f"),
    ("bivariate accuracy", "bivariate", ".4f"),
    ("two-sample AUC", "two_sample_auc", ".4f"),
    ("downstream AUC", "downstream", ".4f"),
    ("closest-record share", "closest", ".4f"),
    ("imputed categories right", "imputed_right", ".4f"),
    ("imputed numbers off, ranks", "imputed_off", ".4f"),
    ("held-out log-probability, nats", "held_out_log_prob", ".3f"),
    ("samples by their own model, nats", "own_log_prob", ".3f"),
)
"""Rows of the table: title, key and format."""


def text(found: dict[str, Json], real: Json) -> str:
    """Return the table in Markdown."""
    columns = {**found, "real train rows": real}
    lines = [header("", *columns)]
    for words, key, form in ROWS:
        cells = [
            format(facts[key], form) if key in facts else "-"
            for facts in columns.values()
        ]
        lines.append(row(words, *cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
