"""Measure test likelihoods on datasets of published tables, with the code of `train`.

    python benchmarks/published.py nltcs plants --data PATH

Each NAME is a configuration `examples/published/NAME.yaml`. Its networks are trained
one after the other from consecutive seeds, with the weights of the best valid NLL, and
their densities averaged. They are evaluated on the test rows once, and the row of NAME
in BENCHMARKS.md is written. The NLL of sequences is per frame or character, without
that of their lengths. `--choose` does not evaluate the test rows; it prints the valid
NLL, by which settings are chosen (`--set model.dropout=0.5`).

Trained networks are saved below `--work`, so that a stopped run continues. `--data`
contains a directory per dataset, with the Parquet files train, valid and test, or `all`
with a column `fold`.
"""

import argparse
import hashlib
import json
import math
import platform
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from harness import (
    argument_parser,
    binary_variables,
    header,
    read_section,
    row,
    to_array,
    write_section,
)
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from ar_models.families.base import AutoregressiveModel
from ar_models.families.chow_liu import dependence_orderings
from ar_models.families.registry import build
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.list_column import ListColumn
from ar_models.variables import Variable
from tasks.config.data import ColumnConfig, DataConfig
from tasks.config.load import load
from tasks.config.root import Config
from tasks.config.section import AUTO
from tasks.data import batches
from tasks.data.batches import Batches, Order, Rows
from tasks.data.cells import to_cells
from tasks.data.columns.infer import infer_column
from tasks.data.sketches import ListSketch, sketch_column
from tasks.evaluation.intervals import bootstrap_interval
from tasks.training import defaults, orderings, trainer

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "examples" / "published"
TABLE = ROOT / "BENCHMARKS.md"
SECTION = "published"
HEADER = header(
    *("configuration", "data", "family", "networks x orderings", "test NLL", "paper"),
    *("best published", "parameters", "minutes", "machine", "seed"),
)

STRIDE = 64
"""Number of characters between the starts of two chunks of training text."""

KNOTS = 16
"""Number of quantiles that initialise the components of a real variable."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Published:
    """Test NLL from papers, in nats.

    Attributes:
        best: The best published NLL.
        families: Published NLL by family.
        per: Unit of the NLL: a row, or an element of sequences.
    """

    best: float
    families: dict[str, float]
    per: str = "row"


def _uci(
    best: float, fvsbn: float, nade: float, eonade: float, *made: float
) -> Published:
    """Return the NLL of a dataset in the NADE and MADE papers."""
    families = {"fvsbn": fvsbn, "nade": nade, "eonade": eonade, "made": min(made)}
    return Published(best, families)


def _debd(made: float, best: float) -> Published:
    return Published(best, {"made": made})


FIGURES = {
    "binarized_mnist": Published(
        79.20,
        {
            "fvsbn": 97.45,
            "nade": 88.33,
            "made": 86.64,
            "eonade": 85.96,
            "pixelcnn": 81.30,
        },
    ),
    "binary_adult": _uci(13.12, 13.17, 13.19, 13.19, 13.12, 13.13),
    "binary_connect4": _uci(11.68, 12.39, 11.99, 12.58, 11.90, 11.90),
    "binary_dna_nade": _uci(79.66, 83.64, 84.81, 82.31, 83.63, 79.66),
    "binary_mushrooms": _uci(9.55, 10.27, 9.81, 9.69, 9.68, 9.69),
    "binary_nips": _uci(271.11, 276.88, 273.08, 272.39, 280.25, 277.28),
    "binary_ocr_letters": _uci(26.43, 39.30, 27.22, 27.32, 28.34, 30.04),
    "binary_nltcs": _debd(6.04, 5.99),
    "binary_msnbc": _debd(6.06, 6.04),
    "binary_plants": _debd(12.32, 11.84),
    "binary_baudio": _debd(38.95, 38.67),
    "binary_jester": _debd(52.23, 51.07),
    "binary_accidents": _debd(26.42, 26.32),
    "binary_pumsb_star": _debd(22.3, 22.15),
    "binary_dna": _debd(82.77, 79.05),
    "binary_msweb": _debd(9.59, 9.59),
    "binary_bbc": _debd(242.40, 229.2),
    "rnade_red_wine": Published(9.36, {"nade": 9.36}),
    "music_jsb_chorales": Published(5.56, {"rnn": 5.56}, "frame"),
    "tiny_shakespeare": Published(1.47, {"transformer": 1.47}, "character"),
}
"""Published NLL by the name of the dataset's directory."""


@dataclass(frozen=True)
class Data:
    """Encoded rows of one fold of a dataset, (rows, dim)."""

    variables: tuple[Variable, ...]
    train: NDArray[np.float32]
    valid: NDArray[np.float32]
    test: NDArray[np.float32]


@dataclass(frozen=True)
class Outcome:
    """Result of a configuration.

    Attributes:
        valid: NLL of the valid rows in nats, of each network and of their average.
        test: NLL of each test row in nats, (rows,); None with `--choose`.
        parameters: Number of parameters of one network.
        orderings: Number of orderings that a network averages.
        seconds: Duration of training, all networks together.
    """

    valid: tuple[list[float], float]
    test: Floats | None
    parameters: int
    orderings: int
    seconds: float


def main() -> None:
    """Train and evaluate the named configurations."""
    parser = argument_parser(__doc__)
    known = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    parser.add_argument("names", nargs="+", metavar="NAME", help=", ".join(known))
    parser.add_argument(
        "--data", type=Path, required=True, help="directory of datasets"
    )
    parser.add_argument("--work", type=Path, default=Path(".chainrule/published"))
    parser.add_argument(
        "--members", type=int, help="number of networks, instead of model.ensemble"
    )
    parser.add_argument(
        "--choose", action="store_true", help="evaluate valid rows only"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes"
    )
    given = parser.parse_args()
    if unknown := set(given.names) - set(known):
        parser.error(f"no configuration {sorted(unknown)}; there are {known}")
    if (given.changes or given.members) and not given.choose:
        parser.error(
            "--set and --members are for --choose; put what was chosen into the file"
        )
    if not given.data.is_dir():
        parser.error(f"--data {given.data}: no such folder")
    torch.set_num_threads(given.threads)
    changes = dict(change.split("=", 1) for change in given.changes)
    for name in given.names:
        path = CONFIGS / f"{name}.yaml"
        values = {key: yaml.safe_load(value) for key, value in changes.items()}
        config = load(path, values)
        members = given.members or config.model.ensemble
        outcome = run(config, members, given)
        print(summary(name, outcome, given.changes), flush=True)
        if outcome.test is not None:
            write_row(describe(name, config, members, outcome, given))


def run(config: Config, members: int, given: argparse.Namespace) -> Outcome:
    """Train and evaluate the networks of a configuration on all folds."""
    outcomes = [
        run_fold(config, members, given, data)
        for data in folds(given.data / data_set(config))
    ]
    singles = np.mean([outcome.valid[0] for outcome in outcomes], axis=0)
    tests = [outcome.test for outcome in outcomes if outcome.test is not None]
    return Outcome(
        (singles.tolist(), float(np.mean([o.valid[1] for o in outcomes]))),
        np.concatenate(tests) if tests else None,
        outcomes[0].parameters,
        outcomes[0].orderings,
        sum(outcome.seconds for outcome in outcomes),
    )


def data_set(config: Config) -> str:
    """Return the name of the dataset's directory."""
    return Path(config.data.path).name


def run_fold(
    config: Config, members: int, given: argparse.Namespace, data: Data
) -> Outcome:
    """Train and evaluate the networks of a configuration on one fold."""
    device = torch.device(given.device)
    valid, test, seconds = [], [], 0.0
    per_place = FIGURES[data_set(config)].per != "row"
    rows, columns = data.train.shape
    sections = defaults.resolve(config.model, config.train, rows, columns)
    update = dict(zip(("model", "train"), sections, strict=True))
    config = config.model_copy(update=update)
    for member in range(members):
        model, spent = trained(with_seed(config, member), data, given.work, device)
        seconds += spent
        settings = config, device, per_place
        valid.append(log_probs(model, data.valid, *settings))
        if not given.choose:
            test.append(log_probs(model, data.test, *settings))
    weights = [place_weights(data, x, per_place) for x in (data.valid, data.test)]
    return Outcome(
        (
            [-float((v * weights[0]).mean()) for v in valid],
            -float((average(valid) * weights[0]).mean()),
        ),
        -average(test) * weights[1] if test else None,
        sum(p.numel() for p in model.parameters()),
        model.orderings,
        seconds,
    )


def place_weights(data: Data, x: NDArray[np.float32], per_place: bool) -> Floats:
    """Return weights of rows, by which their mean is the mean over elements."""
    if not per_place:
        return np.ones(len(x))
    starts = {v.place: i for i, v in reversed(list(enumerate(data.variables)))}
    firsts = [i for place, i in starts.items() if place is not None]
    total = float((~np.isnan(x[:, firsts])).sum())
    return np.full(len(x), len(x) / total)


def average(log_prob: list[Floats]) -> Floats:
    """Return the log of the mean density of several networks, (rows,)."""
    total: Floats = np.logaddexp.reduce(np.stack(log_prob)) - math.log(len(log_prob))
    return total


def with_seed(config: Config, member: int) -> Config:
    """Return the configuration of a network, counted from 0."""
    model, train = config.model, config.train
    update: dict[str, Any] = {"seed": train.seed + member}
    changed = {"train": train.model_copy(update=update)}
    if "seed" in type(model).model_fields:
        own = {"seed": getattr(model, "seed") + member}  # noqa: B009
        changed["model"] = model.model_copy(update=own)  # type: ignore[assignment]
    return config.model_copy(update=changed)


def folds(folder: Path) -> Iterator[Data]:
    """Yield the data of each fold of a dataset, or of its only one."""
    if folder.name in SEQUENCES:
        yield sequences(*SEQUENCES[folder.name](folder))
        return
    if not (folder / "all.parquet").exists():
        splits = [read(folder / f"{s}.parquet") for s in ("train", "valid", "test")]
        yield Data(binary_variables(splits[0]), *splits)
        return
    table = pq.read_table(folder / "all.parquet")
    fold = table["fold"].to_numpy()
    x = to_array(table.drop_columns(["fold"]))
    numbers = np.unique(fold)
    for k, before in zip(numbers, np.roll(numbers, 1), strict=True):
        of_test, of_valid = fold == k, fold == before
        train = x[~of_test & ~of_valid]
        location, scale = train.mean(0), train.std(0)
        parts = [(x[rows] - location) / scale for rows in (of_valid, of_test)]
        train = (train - location) / scale
        yield Data(real_variables(train), train, *parts)


def sequences(
    train: pa.Array, valid: pa.Array, test: pa.Array, possible: pa.Array
) -> Data:
    """Encode sequences or texts as a column of lists.

    Args:
        train: Sequences to learn from.
        valid: Sequences by which settings are chosen.
        test: Sequences to evaluate.
        possible: Sequences of possible elements, which need not occur in `train`.
    """
    data = DataConfig(path="", columns={"x": ColumnConfig(kind="sequence")})

    def sketch(array: pa.Array) -> ListSketch:
        cells = to_cells(pa.chunked_array([array]), array.type, "lists")
        found = sketch_column(cells, array.type, 1 << 14)
        assert isinstance(found, ListSketch)
        return found

    known = sketch(pa.concat_arrays([train, possible]))
    # No list of the other splits is to be longer than all of training.
    whole = sketch(pa.concat_arrays([train, valid, test])).lengths
    low, high = min(known.lengths.low, whole.low), max(known.lengths.high, whole.high)
    known = replace(known, lengths=replace(known.lengths, low=low, high=high))
    column = infer_column("x", train.type, known, data)
    assert isinstance(column, ListColumn)
    encoder = TableEncoder((column,), (), pa.schema([pa.field("x", train.type)]))
    encoded = [encoder.encode(pa.table({"x": a})) for a in (train, valid, test)]
    assert not any(part.out_of_support.any() for part in encoded)
    return Data(encoder.variables, *(part.x for part in encoded))


def frames(folder: Path) -> list[pa.Array]:
    """Read pieces of music as lists of frames, which are structs of notes.

    Returns:
        The splits, and a piece in which each note is silent once and played once.
    """
    arrays = []
    for split in ("train", "valid", "test"):
        table = pq.read_table(folder / f"{split}.parquet")
        starts = np.flatnonzero(np.diff(table["seq"].to_numpy(), prepend=-1))
        notes = table.drop_columns(["seq", "t"]).combine_chunks()
        struct = notes.to_struct_array().combine_chunks()
        ends = pa.array([*starts, len(table)], pa.int32())
        arrays.append(pa.ListArray.from_arrays(ends, struct))
    both = [{name: on for name in notes.column_names} for on in (0, 1)]
    return [*arrays, pa.array([both], arrays[0].type)]


def characters(folder: Path) -> list[pa.Array]:
    """Read chunks of text; those of training overlap.

    Returns:
        The splits, and no further chunk, as all characters occur in training.
    """
    arrays = []
    for split in ("train", "valid", "test"):
        texts = pq.read_table(folder / f"{split}.parquet")["text"].to_pylist()
        if split == "train":
            size, whole = len(texts[0]), "".join(texts)
            starts = range(0, len(whole) - size + 1, STRIDE)
            texts = [whole[start : start + size] for start in starts]
        arrays.append(pa.array(texts, pa.string()))
    return [*arrays, pa.array([], pa.string())]


SEQUENCES = {"music_jsb_chorales": frames, "tiny_shakespeare": characters}


def read(path: Path) -> NDArray[np.float32]:
    """Read the variables of a file without labels, (rows, dim)."""
    names = [n for n in pq.read_schema(path).names if n != "label"]
    return to_array(pq.read_table(path, columns=names))


def real_variables(x: NDArray[np.float32]) -> tuple[Variable, ...]:
    """Return real variables with the quantiles of standardised training rows."""
    shares = (np.arange(KNOTS) + 0.5) / KNOTS
    knots = np.quantile(x, shares, axis=0).astype(np.float32)
    return tuple(
        Variable(f"x{i}", "real", i, knots=tuple(np.unique(knots[:, i]).tolist()))
        for i in range(x.shape[1])
    )


def trained(
    config: Config, data: Data, work: Path, device: torch.device
) -> tuple[AutoregressiveModel, float]:
    """Return a network with its best weights and the duration of its training.

    A network that was trained before is loaded from `work`.
    """
    family, settings = config.model.family, config.model.settings()
    if family == "pixelcnn":
        (image,) = config.data.images.values()
        settings |= image.model_dump(include={"height", "width", "channels"})
    if settings.get("ordering") == AUTO:
        settings["ordering"] = orderings.automatic(
            data.variables, settings["orderings"], images=bool(config.data.images)
        )
    if settings.get("ordering") == "dependence":
        settings["ordering"] = dependence_orderings(
            data.variables, data.train, settings["orderings"]
        )
    torch.manual_seed(config.train.seed)
    # The networks of an ensemble are trained one by one.
    model = build(family, data.variables, **settings)
    path = work / f"{data_set(config)}-{key(config, data)}.safetensors"
    about = path.with_suffix(".json")
    if not about.exists():
        work.mkdir(parents=True, exist_ok=True)
        fitted = fit(model, config, data, device)
        save_file(fitted.best, path)
        history, seconds = fitted.state.history, fitted.state.seconds
        about.write_text(json.dumps({"seconds": seconds, "history": history}))
    model.load_state_dict(load_file(path))
    return model.to(device).eval(), json.loads(about.read_text())["seconds"]


def key(config: Config, data: Data) -> str:
    """Return a hash of everything that a trained network depends on."""
    content = config.model_dump(mode="json", include={"model", "train"})
    del content["model"]["ensemble"]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    digest.update(data.train.tobytes())
    digest.update(data.valid.tobytes())
    return digest.hexdigest()[:16]


def fit(
    model: AutoregressiveModel, config: Config, data: Data, device: torch.device
) -> trainer.Trainer:
    """Train as `chainrule train` does, in this process and without checkpoints."""
    training = config.train
    with tempfile.TemporaryDirectory() as folder:
        rows = as_rows(Path(folder) / "train", data.train)
        valid = as_rows(Path(folder) / "valid", data.valid)
        order = Order.of(rows, batch_size=training.batch_size, seed=training.seed)
        steps = training.epochs * order.batches
        student = trainer.Trainer(model, training, steps=steps, device=device)
        sequences = any(v.at_least for v in data.variables)
        feed = Batches(rows, order, device=device, by_length=sequences)
        position = student.state

        def out_of_time() -> bool:
            budget = training.max_seconds or math.inf
            return position.seconds + position.epoch_seconds > budget

        def valid_rows() -> Iterator[Tensor]:
            return batches.in_sequence(valid, training.batch_size, device=device)

        while position.stopped is None:
            trainer.train_epoch(student, feed.epoch(position.epoch), out_of_time)
            start = time.perf_counter()
            nll = student.nll(valid_rows())
            record = student.end_epoch(nll, seconds=time.perf_counter() - start)
            if out_of_time():
                position.stopped = "time"
            print(
                f"  {data_set(config)} seed {training.seed} epoch {record['epoch']}: "
                f"train {record['train_nll']:.3f}, valid {record['valid_nll']:.3f}, "
                f"{record['seconds']:.1f} s",
                flush=True,
            )
    return student


def as_rows(folder: Path, x: NDArray[np.float32]) -> Rows:
    """Write rows as `prepare` does and open them."""
    folder.mkdir()
    values = pa.array(x.ravel(), type=pa.float32())
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(values, x.shape[1])})
    with pa.ipc.new_file(str(folder / "part-00000.arrow"), table.schema) as writer:
        writer.write_table(table)
    return Rows(folder)


@torch.inference_mode()
def log_probs(
    model: AutoregressiveModel,
    x: NDArray[np.float32],
    config: Config,
    device: torch.device,
    per_place: bool,
) -> Floats:
    """Return the log-probability of each row in nats, (rows, dim) -> (rows,).

    For sequences, that of the length is left out.
    """
    parts: list[Tensor] = []
    for part in torch.from_numpy(x).split(config.train.batch_size):
        if per_place:
            counted = [i for i, v in enumerate(model.variables) if v.place is not None]
            rows = model.variable_log_prob(part.to(device))[:, counted].sum(-1)
        else:
            rows = model.log_prob(part.to(device))
        parts.append(rows.double().cpu())
    return torch.cat(parts).numpy()


def summary(name: str, outcome: Outcome, changes: list[str]) -> str:
    """Return a line with the results in nats."""
    singles, together = outcome.valid
    each = ", ".join(f"{nll:.3f}" for nll in singles)
    line = f"{name} {' '.join(changes)}: valid {together:.4f} (each {each})"
    if outcome.test is not None:
        line += f", test {outcome.test.mean():.4f}"
    return f"{line}, {outcome.seconds:.0f} s"


def describe(
    name: str,
    config: Config,
    members: int,
    outcome: Outcome,
    given: argparse.Namespace,
) -> str:
    """Return the row of the table in BENCHMARKS.md."""
    assert outcome.test is not None
    figures = FIGURES[data_set(config)]
    family = config.model.family
    paper = figures.families.get(family)
    nll = float(outcome.test.mean())
    low, high = bootstrap_interval(outcome.test, 0.95)
    digits = ".2f" if figures.per == "row" else ".3f"
    cells = [
        f"`{name}`",
        data_set(config) + (f", per {figures.per}" if figures.per != "row" else ""),
        family,
        f"{members} x {outcome.orderings}",
        f"{nll:{digits}} ({low:{digits}} to {high:{digits}})",
        "" if paper is None else f"{paper:.2f}",
        f"{figures.best:.2f}",
        f"{outcome.parameters:,}",
        f"{outcome.seconds / 60:.1f}",
        machine(given),
        f"{config.train.seed}",
    ]
    return row(*cells)


def machine(given: argparse.Namespace) -> str:
    """Return the name of the processor or GPU."""
    if given.device == "cuda":
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    name = found[1] if found else platform.processor() or platform.machine()
    return f"{name}, {given.threads} thread" + "s" * (given.threads > 1)


def write_row(new: str) -> None:
    """Add a row to the table, or replace the one of the same name."""
    lines = [*read_section(TABLE, SECTION).splitlines()[2:], new]
    rows = {line.split("|")[1]: line for line in lines}
    table = "\n".join([HEADER, *(rows[name] for name in sorted(rows))])
    write_section(TABLE, table, SECTION)


if __name__ == "__main__":
    main()
