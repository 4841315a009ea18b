"""What a challenger must show against the champion, on rows that neither has seen."""

import logging
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ar_models import cells
from ar_models.columns import CodeColumn
from ar_models.comparable import Comparable, comparable
from ar_models.density import WEIGHTS, TableDensity
from ar_models.explanation import text
from tasks import consumer, evaluate, manifest, profile, progress, splits, storage
from tasks.config import DataConfig, GateConfig
from tasks.intervals import Floats, binned_distance, distance, half_width, interval
from tasks.models import load
from tasks.transforms import count, transforms

logger = logging.getLogger(__name__)

FORMAT = 3
"""Enters the job key; raised when the same models would be judged otherwise."""

GATE = "gate.json"

VALUES = 20
"""The most frequent values of a segment column, which are looked at."""

REPEATS = 5
"""How often a batch is scored to tell a model's speed; the fastest counts."""

LOADED_ROWS = 50
"""Rows that are scored as a consumer would."""

SAME = 1e-3
"""Nats by which a consumer's scores may differ, for another build of torch, say."""

Json = dict[str, Any]  # JSON-able values


@dataclass(frozen=True)
class Check:
    """One thing that a challenger had to show.

    Attributes:
        name: What was looked at.
        value: What was found.
        passed: Whether that is good enough.
        remark: In words.
        interval: Its confidence interval, if it has one.
        bound: What the value, or its interval, was held against, if a number.
        person: Whether only a person can tell.
    """

    name: str
    value: float
    passed: bool
    remark: str
    interval: tuple[float, float] | None = None
    bound: float | None = None
    person: bool = False


def gate(
    challenger: str,
    champion: str | None,
    prepared: str,
    output: str,
    config: GateConfig,
    *,
    logged: str | None = None,
    overwrite: bool = False,
) -> Json:
    """Judges whether a challenger may take the champion's place; writes gate.json.

    Both models score the newest test rows of the challenger's dataset, less those that
    the champion learned from by the rule that divided its own dataset. Without a
    champion only what needs none is asked.

    Args:
        challenger: Folder of the new model.
        champion: Folder of the champion, or None.
        prepared: Folder of the challenger's prepared dataset.
        output: Folder to write; `{key}` in it stands for the job key.
        config: What is asked.
        logged: URI of the challenger as logged to MLflow, to load as consumers do;
            not looked at where `config.load` is none.
        overwrite: Whether a folder with another job's output is replaced.

    Returns:
        `path`, `passed`, `person` (whether a person has to decide), `reason`, `checks`
        (a list of `Check` as dicts), `rows`, `done` and `seconds`.

    Raises:
        ValueError: A column that the configuration names is not there.
    """
    started = time.monotonic()
    about = storage.read_json(storage.join(prepared, manifest.MANIFEST))
    new = load(challenger)
    old = load(champion) if champion else None
    key = manifest.job_key(
        task="gate",
        format=FORMAT,
        challenger=new.info["fingerprints"]["model"],
        champion=old.info["fingerprints"]["model"] if old else None,
        prepared=about["job_key"],
        config=config.model_dump(mode="json"),
    )
    folder = output.replace("{key}", key)
    finished = manifest.claim(folder, key, overwrite=overwrite)
    done = finished is not None
    if finished is None:
        sizes = [
            storage.size(storage.join(model, WEIGHTS))
            for model in (challenger, champion)
            if model
        ]
        # The consumer's process works while this one judges.
        with ThreadPoolExecutor(1) as beside:
            loading = None
            if logged is not None and config.load != "none":
                loading = beside.submit(
                    check_loads, new, logged, prepared, about, config
                )
            checks, rows = examine(new, old, prepared, about, config, sizes)
            checks += [loading.result()] if loading else []
        verdict = conclude(checks) | {"rows": rows}
        storage.write_json(storage.join(folder, GATE), verdict)
        manifest.finish(
            folder,
            key,
            inputs={"prepared": about["job_key"]},
            model={"fingerprint": new.info["fingerprints"]["model"]},
            config=config.model_dump(mode="json"),
            files=[manifest.describe(folder, GATE, 0)],
        )
    verdict = storage.read_json(storage.join(folder, GATE))
    seconds = round(time.monotonic() - started, 3)
    return {"path": folder, **verdict, "done": done, "seconds": seconds}


def read_checks(folder: str) -> list[Json]:
    """The checks that stand in the folder of a gate, as dicts."""
    content: Json = storage.read_json(storage.join(folder, GATE))
    found: list[Json] = content["checks"]
    return found


def conclude(checks: Sequence[Check]) -> Json:
    """The verdict of all checks, with the remarks that led to it."""
    passed = all(check.passed for check in checks)
    decisive = [
        check.remark
        for check in checks
        if (check.name == "improvement" if passed else not check.passed)
    ]
    return {
        "passed": passed,
        "person": any(check.person and not check.passed for check in checks),
        "reason": "; ".join(decisive) or "it is the first version",
        "checks": [asdict(check) for check in checks],
    }


def examine(
    new: TableDensity,
    old: TableDensity | None,
    prepared: str,
    about: Json,
    config: GateConfig,
    sizes: Sequence[int],
) -> tuple[list[Check], int]:
    """All checks but that of loading, and on how many rows.

    Args:
        new: The challenger.
        old: The champion, if there is one.
        prepared: Folder of the prepared dataset.
        about: Its manifest.
        config: What is asked.
        sizes: Bytes of the models' weights.
    """
    check_segments(about, prepared, config)
    if old is not None:
        same = check_columns(new, old)
        if not same.passed:
            return [same], 0
    table, remark = compared_rows(old or new, prepared, about, config)
    # The first version is not compared with any.
    needed = config.min_rows if old is not None else 1
    enough = Check(
        "rows",
        table.num_rows,
        table.num_rows >= needed,
        remark,
        bound=needed,
        person=True,
    )
    if not enough.passed:
        return [enough], table.num_rows
    views = (Comparable(new), None) if old is None else comparable(new, old)
    ours = findings(views[0], table, "challenger")
    finite = check_finite(ours)
    absolute = [enough, finite]
    if not finite.passed:
        return absolute, table.num_rows
    absolute.append(check_diversity(ours, new, table, config))
    if old is None or views[1] is None:
        return absolute, table.num_rows
    theirs = findings(views[1], table, "champion")
    return [
        told_apart(same, views),
        *absolute,
        check_improvement(ours.log_prob - theirs.log_prob, config),
        *check_each_segment(ours.log_prob - theirs.log_prob, table, config),
        *check_each_column(new, old, ours, theirs, config),
        *check_calibration(ours, theirs, config),
        check_speed(new, old, table, config),
        check_size(sizes, config),
    ], table.num_rows


# --- the rows -------------------------------------------------------------------------


def check_segments(about: Json, prepared: str, config: GateConfig) -> None:
    """Raises ValueError where a column that the gate needs is not in the dataset."""
    schema = storage.read_json(storage.join(prepared, "schema.json"))
    excluded = set(about["config"]["exclude"])
    there = [c["name"] for c in schema["columns"] if c["name"] not in excluded]
    wanted = {"gate.segments": config.segments}
    if config.newest:
        wanted["gate.newest"] = (config.newest,)
    for key, names in wanted.items():
        for name in names:
            if name not in there:
                raise ValueError(
                    f"{key}: there is no column {name!r}; there is {there}"
                )


def compared_rows(
    champion: TableDensity, prepared: str, about: Json, config: GateConfig
) -> tuple[pa.Table, str]:
    """The newest held-out rows that neither model learned from, and what they are."""
    newest = config.newest or about["config"]["split"]["column"]
    pieces = evaluate.test_pieces(prepared, about)
    chosen = latest(pieces, newest, config.rows)
    table = pa.concat_tables(
        [
            read(piece.path).take(pa.array(rows))
            for piece, rows in zip(pieces, chosen, strict=True)
            if len(rows)
        ]
    )
    by = f"by {newest}" if newest else "in the order of the files"
    seen = learned_from(champion, table)
    if seen is None:
        return table, (
            f"the {table.num_rows:,} newest test rows {by}; which rows the champion "
            "learned from cannot be told"
        )
    kept = table.filter(pa.array(~seen))
    return kept, (
        f"the {kept.num_rows:,} newest held-out rows {by}, none of which either model "
        "learned from"
    )


def latest(
    pieces: Sequence[evaluate.TestFile], column: str | None, most: int
) -> list[np.ndarray]:
    """Numbers of the newest rows of each file, `most` in all, ascending."""
    sizes = [piece.rows for piece in pieces]
    place = np.concatenate([np.arange(size) for size in sizes])
    file = np.repeat(np.arange(len(sizes)), sizes)
    order = np.arange(len(place))
    if column is not None:
        moments = pa.chunked_array(
            [chunk for p in pieces for chunk in read(p.path, [column])[column].chunks]
        )
        # Nulls come first: they are not known to be new.
        order = pc.array_sort_indices(moments, null_placement="at_start").to_numpy()
    kept = order[-most:]
    return [np.sort(place[kept[file[kept] == k]]) for k in range(len(sizes))]


def read(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A Parquet file of test rows, local or S3, or some columns of it."""
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_file(inner) as source:
        return pq.read_table(source, columns=columns)


def learned_from(density: TableDensity, table: pa.Table) -> np.ndarray | None:
    """Which rows a model's training or validation would have held, (n,) bool.

    The rule that divided its own dataset is applied to the rows. None where the model
    does not tell its rule, or the rows lack columns that it looks at.
    """
    rule = density.info.get("division")
    if rule is None:
        return None
    data = DataConfig.model_validate({**rule["config"], "path": ""})
    schema = density.encoder.schema
    if data.split.by == "time":
        column = data.split.column
        if column not in table.column_names:
            return None
        type = table.schema.field(column).type
        moments = profile.cells_of(table[column], type, profile.base_of(type, None))
        assert isinstance(moments, cells.Cells)  # A column of times is no list.
        codes = splits.by_time(moments, rule["boundaries"])
        return np.asarray((codes == 0) | (codes == 1))
    if not {*schema.names, *data.id} <= set(table.column_names):
        return None
    return hashed_to_training(table, schema.names, data)


def hashed_to_training(
    table: pa.Table, names: Sequence[str], data: DataConfig
) -> np.ndarray:
    """Which rows a split by hash gives to training or validation, (n,) bool."""
    split, columns = data.split, splits.id_cells(table, data.id)
    for name in names:
        type = table.schema.field(name).type
        override = data.columns.get(name)
        base = profile.base_of(type, override.kind if override else None)
        columns[name] = profile.cells_of(table[name], type, base)
    codes = splits.by_hash(splits.row_hashes(columns, split.seed), split)
    return np.asarray(codes < 2)


# --- what the models say --------------------------------------------------------------


@dataclass(frozen=True)
class Findings:
    """What a model says about n rows.

    Attributes:
        columns: Log-probability of each column, (n, columns), nats, as it can be
            compared with the other model's.
        scores: Anomaly scores, (n,), nats.
        p_values: Their ranks among calibration rows, (n,), or None without any.
        ks: Of each column, the distance of its probability integral transforms from
            uniform.
    """

    columns: Floats
    scores: Floats
    p_values: Floats | None
    ks: dict[str, float] = field(default_factory=dict)

    @cached_property
    def log_prob(self) -> Floats:
        """Of each row, (n,), nats."""
        return np.asarray(self.columns.sum(axis=1))


def findings(view: Comparable, table: pa.Table, who: str) -> Findings:
    """What a model says about the rows of `table`."""
    density = view.density
    rng = np.random.default_rng(0)
    columns, scores, counts = [], [], []
    done = 0
    for rows, encoded in density.batches(table):
        judgement = density.judge(encoded)
        columns.append(
            view.column_log_prob(rows, encoded) if view.differs else judgement.log_prob
        )
        scores.append(judgement.contributions.sum(axis=1))
        u = transforms(
            judgement.conditionals,
            judgement.x,
            density.encoder.variables,
            rng.random(judgement.log_prob.shape),
        )
        present = encoded.escapes == 0
        counts.append(
            [
                count(c[p], evaluate.PIT_BINS)
                for c, p in zip(u.T, present.T, strict=True)
            ]
        )
        done += rows.num_rows
        progress.report(logger, f"gate: rows by the {who}", done, table.num_rows)
    total = np.sum(counts, axis=0)
    scored = np.concatenate(scores)
    reference = density.reference()
    return Findings(
        np.concatenate(columns),
        scored,
        None if reference is None else reference.rank(scored)[0],
        {
            name: binned_distance(each)
            for name, each in zip(density.columns, total, strict=True)
        },
    )


# --- the checks -----------------------------------------------------------------------


def check_columns(challenger: TableDensity, champion: TableDensity) -> Check:
    """Whether two models' likelihoods are of the same columns in the same units.

    A density per unit is not to be compared with a probability, nor the probability of
    all rare values with those of numbers.
    """
    ours = units(challenger, besides=champion)
    theirs = units(champion, besides=challenger)
    names = sorted(n for n in ours | theirs if ours.get(n) != theirs.get(n))
    remark = "both model the same columns"
    if names:
        each = "; ".join(
            f"{n} is {theirs.get(n, 'not modelled')} in the champion and "
            f"{ours.get(n, 'not modelled')} in the challenger"
            for n in names
        )
        remark = (
            f"likelihoods of different columns cannot be compared: {each}; compare the "
            "reports, and let a person promote it"
        )
    return Check("columns", len(names), not names, remark, bound=0, person=True)


def units(density: TableDensity, *, besides: TableDensity) -> dict[str, str]:
    """What the log-probabilities of a model's columns are of, by name, for people."""
    coded = {c.name for c in besides.encoder.columns if isinstance(c, CodeColumn)}
    found = {}
    for column in density.encoder.columns:
        found[column.name] = column.type
        if column.kind == "real":
            found[column.name] += " as a density"
        elif "rare" in column.specials_seen and column.name not in coded:
            found[column.name] += " with rare values as one"
    return found


def told_apart(same: Check, views: Sequence[Comparable]) -> Check:
    """The check of the columns, with those in which the models know other values."""
    names = sorted({name for view in views for name in view.differs})
    if not names:
        return same
    remark = (
        f"{same.remark}; of {', '.join(names)} they know different values, and are "
        "compared by what both tell apart"
    )
    return replace(same, remark=remark)


def check_finite(found: Findings) -> Check:
    """Whether every row has a probability."""
    infinite = int((~np.isfinite(found.log_prob)).sum())
    remark = (
        f"{infinite:,} of {len(found.log_prob):,} rows have no finite log-probability"
    )
    return Check("finite", infinite, infinite == 0, remark, bound=0)


def check_diversity(
    found: Findings, density: TableDensity, table: pa.Table, config: GateConfig
) -> Check:
    """Whether different rows get different scores."""
    rows: set[bytes] = set()
    for _, encoded in density.batches(table):
        rows |= {row.tobytes() for row in encoded.x}
    scores = len(np.unique(np.round(found.scores, 6)))
    share = min(1.0, scores / len(rows))
    return Check(
        "diversity",
        share,
        share >= config.min_diversity,
        f"{scores:,} different scores of {len(rows):,} different rows",
        bound=config.min_diversity,
    )


def check_improvement(gains: Floats, config: GateConfig) -> Check:
    """Whether the rows are more probable than under the champion.

    Args:
        gains: Of each row, the challenger's log-probability less the champion's, nats.
        config: What is asked.
    """
    low, high = interval(gains, config.confidence)
    passed = low > config.min_improvement
    return Check(
        "improvement",
        float(gains.mean()),
        passed,
        f"{gains.mean():+.4f} nats per row against the champion "
        f"({config.confidence:.0%} interval {low:+.4f} to {high:+.4f}, which "
        f"{'lies' if passed else 'does not lie'} above {config.min_improvement:g})",
        interval=(low, high),
        bound=config.min_improvement,
    )


def check_each_segment(
    gains: Floats, table: pa.Table, config: GateConfig
) -> Iterator[Check]:
    """Whether it is not worse in any segment that has rows enough to tell."""
    for name in config.segments:
        codes = table[name].combine_chunks().dictionary_encode(null_encoding="encode")
        numbers = codes.indices.to_numpy(zero_copy_only=False)
        counts = np.bincount(numbers, minlength=len(codes.dictionary))
        for value in np.argsort(-counts, kind="stable")[:VALUES]:
            if counts[value] < config.segment_rows:
                break
            what = f"{name}={text(codes.dictionary[int(value)].as_py())}"
            yield not_worse(
                f"segment/{what}",
                f"{what}, {counts[value]:,} rows",
                gains[numbers == value],
                config.segment_margin,
                config.confidence,
            )


def check_each_column(
    new: TableDensity,
    old: TableDensity,
    ours: Findings,
    theirs: Findings,
    config: GateConfig,
) -> list[Check]:
    """Whether it predicts no column worse, given those before it.

    In another ordering a column is given other ones, so it is not compared.
    """
    if orderings(new) != orderings(old):
        remark = "the models take columns in different orders, so none is compared"
        return [Check("column", 0, True, remark)]
    place = {name: k for k, name in enumerate(old.columns)}
    return [
        not_worse(
            f"column/{name}",
            f"column {name}",
            ours.columns[:, j] - theirs.columns[:, place[name]],
            config.column_margin,
            config.confidence,
        )
        for j, name in enumerate(new.columns)
    ]


def not_worse(
    name: str, what: str, gains: Floats, margin: float, confidence: float
) -> Check:
    """Whether the mean of `gains` (nats) is above minus the margin, with confidence."""
    mean = float(gains.mean())
    half = float(half_width(np.asarray(gains.var()), len(gains), confidence))
    passed = mean - half > -margin
    return Check(
        name,
        mean,
        passed,
        f"{what}: {mean:+.4f} nats per row (at least {mean - half:+.4f}, "
        f"{'above' if passed else 'not above'} {-margin:g})",
        interval=(mean - half, mean + half),
        bound=-margin,
    )


def orderings(density: TableDensity) -> list[list[str]]:
    """The columns in the orders in which a model takes them."""
    return [
        list(
            dict.fromkeys(
                density.encoder.column_of(int(i)).name
                for i in density.model.ordering(which)
            )
        )
        for which in range(density.model.orderings)
    ]


def check_calibration(
    ours: Findings, theirs: Findings, config: GateConfig
) -> Iterator[Check]:
    """Whether p-values and columns are as close to uniform as the champion's."""
    if ours.p_values is not None and theirs.p_values is not None:
        yield no_farther(
            "p_values",
            distance(ours.p_values),
            distance(theirs.p_values),
            config,
            by_chance(len(ours.scores), 1, config.confidence),
        )
    elif theirs.p_values is not None:
        remark = "the challenger has no calibration rows, so no p-values"
        yield Check("p_values", 1.0, False, remark)
    worst = max(ours.ks, key=lambda name: ours.ks[name] - theirs.ks[name])
    yield no_farther(
        "calibration",
        ours.ks[worst],
        theirs.ks[worst],
        config,
        by_chance(len(ours.scores), len(ours.ks), config.confidence),
        of=f" of {worst}, the column that lost most",
    )


def by_chance(rows: int, distances: int, confidence: float) -> float:
    """What the greatest of some KS distances of uniform numbers does not exceed.

    With the given probability, by the inequality of Dvoretzky, Kiefer, Wolfowitz and
    Massart.
    """
    return math.sqrt(math.log(2 * distances / (1 - confidence)) / (2 * rows))


def no_farther(
    name: str,
    ours: float,
    theirs: float,
    config: GateConfig,
    chance: float,
    of: str = "",
) -> Check:
    """Whether a KS distance from uniform has grown beyond the margin and chance."""
    bound = theirs + config.calibration_margin + chance
    return Check(
        name,
        ours,
        ours <= bound,
        f"KS distance from uniform{of}: {ours:.4f}, the champion's {theirs:.4f}",
        bound=bound,
    )


def check_speed(
    new: TableDensity, old: TableDensity, table: pa.Table, config: GateConfig
) -> Check:
    """Whether rows are scored with about as much work as by the champion."""
    part = table.slice(0, evaluate.READ_ROWS // 4)
    least = [float("inf"), float("inf")]
    # By turns, so that whatever else the machine does slows both.
    for _ in range(REPEATS):
        for k, density in enumerate((new, old)):
            # Seconds of processors: others at work here lengthen all other ones.
            began = time.process_time()
            density.score(part, explain="none")
            least[k] = min(least[k], time.process_time() - began)
    rates = [part.num_rows / seconds for seconds in least]
    ratio = least[0] / least[1]
    return Check(
        "slowdown",
        ratio,
        ratio <= config.max_slowdown,
        f"{rates[0]:,.0f} rows per second of a processor, the champion {rates[1]:,.0f}",
        bound=config.max_slowdown,
    )


def check_size(sizes: Sequence[int], config: GateConfig) -> Check:
    """Whether the weights take about as much space as the champion's."""
    ratio = sizes[0] / sizes[1]
    return Check(
        "growth",
        ratio,
        ratio <= config.max_growth,
        f"{sizes[0]:,} bytes of weights, the champion {sizes[1]:,}",
        bound=config.max_growth,
    )


def check_loads(
    density: TableDensity, logged: str, prepared: str, about: Json, config: GateConfig
) -> Check:
    """Whether consumers can load the logged model, and get the same numbers from it."""
    piece = evaluate.test_pieces(prepared, about)[0]
    rows = next(evaluate.read_batches(piece.path, density.columns))
    rows = rows.slice(0, LOADED_ROWS)
    where = {
        "process": "a process without this project",
        "clean": "a fresh environment with the logged requirements only",
    }[config.load]
    began = time.monotonic()
    try:
        found = consumer.log_probs(logged, rows, clean=config.load == "clean")
    except (RuntimeError, mlflow.MlflowException) as error:
        return Check("loads", 0, False, f"does not load in {where}: {error}")
    logger.info("gate: loaded and scored in %.0f s", time.monotonic() - began)
    furthest = float(np.abs(found - density.log_prob(rows)).max())
    return Check(
        "loads",
        furthest,
        furthest <= SAME,
        f"scores of {where} differ by {furthest:.1e} nats at most",
        bound=SAME,
    )


# --- as metrics -----------------------------------------------------------------------


def metrics(checks: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the gate found by MLflow's names.

    Args:
        checks: As dicts.
    """
    found: dict[str, float] = {}
    for check in checks:
        name = f"gate/{metric_name(check['name'])}"
        found[name] = float(check["value"])
        found[f"{name}_passed"] = float(check["passed"])
        if check["interval"]:
            low, high = check["interval"]
            found |= {f"{name}_low": low, f"{name}_high": high}
    return found


def metric_name(name: str) -> str:
    """A name with only the characters that MLflow takes, in a metric's or a path."""
    return re.sub(r"[^\w\-. :/]", "_", name).strip("/. ")


def as_table(checks: Sequence[Mapping[str, Any]]) -> list[Json]:
    """The checks as rows of a table for people."""
    return [
        {
            "check": check["name"],
            "passed": "yes" if check["passed"] else "no",
            "found": f"{check['value']:.6g}",
            "interval": "{:+.4f} to {:+.4f}".format(*check["interval"])
            if check["interval"]
            else "",
            "bound": "" if check["bound"] is None else f"{check['bound']:g}",
            "remark": check["remark"],
        }
        for check in checks
    ]
