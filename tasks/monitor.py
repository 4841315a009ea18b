"""Whether new rows are still what a model learned, fragment by fragment."""

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ar_models.encoder import TableEncoder
from tasks import datasets, drift, drift_page, manifest, parts, reference, storage
from tasks.config import MonitorConfig, Resources
from tasks.datasets import Fragment, OnBadFile
from tasks.drift import Effect, Histogram, Size
from tasks.models import check_readable, fingerprint, load
from tasks.reference import Reference
from tasks.segments import metric_name

Json = dict[str, Any]  # JSON-able values

FORMAT = 2
"""Enters the job key; raised when the same job would give other figures."""

COUNTS = "counts"
"""Folder, within the output, of what was counted in each fragment."""

RESULT, PAGE = "drift.json", "drift.html"

VERDICT = ("verdict", "reasons", "remedy", "caution", "metrics")
"""What a caller is told of drift.json."""

LEAST = 100
"""Rows, new ones or calibration rows, below which nobody can speak of drift."""

NAMED = 3
"""Columns that a caution names."""

REMEDY = (
    "the p_value, q_value and severity of rows compare them with calibration rows "
    "from before the change: until the model is trained anew on rows like these, they "
    "need weighted calibration, which gives each calibration row the weight of its "
    "likes now"
)


def monitor(
    model: str,
    source: str,
    output: str,
    config: MonitorConfig,
    resources: Resources,
    *,
    model_info: Json | None = None,
    on_bad_file: OnBadFile = "stop",
    overwrite: bool = False,
) -> Json:
    """Compares a dataset with the calibration rows that a model remembers.

    Looked at are the log-probability of rows, each column by itself (marginal drift)
    and each column given those before it (conditional drift): its transform by the
    model's conditional, whose distribution changes where its relation to the others
    does. Writes drift.json and drift.html. A job that was stopped is completed by the
    same call.

    Args:
        model: Folder of a saved `TableDensity` with a reference, local or S3.
        source: The new rows, as for `datasets.open_dataset`.
        output: Folder to write; `{key}` in it stands for the job key.
        config: What is drift; its `input` and `output` are not looked at.
        resources: Where it runs.
        model_info: What to note about the model, such as its name, version, run id.
        on_bad_file: Whether an unreadable file stops the job or is left out.
        overwrite: Whether another job's output may be replaced.

    Returns:
        path, key, page, verdict (`drift`, `stable`, or `unclear` where rows are too
        few), reasons (what drifted, in words), metrics (by MLflow's names), remedy
        (None unless there is drift), caution (None unless drift beyond a limit could go
        unnoticed, since rows are few), rows_in, rows_out, rows_quarantined, bad_files,
        seconds, rows_per_s and done.

    Raises:
        FileNotFoundError: There is no such model or dataset, or no reference.
        ValueError: The model cannot read the dataset.
        FileExistsError: The output folder holds something else.
    """
    began = time.monotonic()
    dataset = datasets.open_dataset(
        source, rows_per_fragment=config.rows_per_fragment, on_bad_file=on_bad_file
    )
    density = load(model)
    known = reference.read(model)
    check_readable(density, source, dataset.schema)
    check_ignored(density.encoder, config)
    about = {**(model_info or {}), "fingerprint": fingerprint(density)}
    settings = config.model_dump(mode="json", exclude={"input", "output"})
    key = manifest.job_key(
        job="monitor",
        format=FORMAT,
        model=about["fingerprint"],
        reference=storage.checksum(storage.join(model, reference.FILE)),
        data=dataset.fingerprint,
        config=settings,
    )
    output = output.replace("{key}", key)
    content = manifest.claim(output, key, overwrite=overwrite)
    if content is not None:
        return summary(output, content, done=True)
    counts = storage.join(output, COUNTS)
    make = partial(Counter, model, counts, key, on_bad_file)
    found, new_rows = parts.complete(
        make, dataset.fragments, counts, key, resources, what="monitor: rows"
    )
    batch = merged(known, counts, found)
    result = compare(density.encoder, known, batch, config)
    result = {"input": source, "model": about, **result}
    storage.write_json(storage.join(output, RESULT), result)
    with storage.publish(storage.join(output, PAGE)) as unfinished:
        page = drift_page.render(key, result, known, batch)
        unfinished.write_text(page, encoding="utf-8")
    seconds = time.monotonic() - began
    content = manifest.finish(
        output,
        key,
        input=source,
        data=dataset.fingerprint,
        model=about,
        config=settings,
        verdict=result["verdict"],
        reasons=result["reasons"],
        rows_in=sum(facts["rows_in"] for facts in found),
        rows_out=sum(facts["rows_out"] for facts in found),
        rows_quarantined=sum(facts["rows_quarantined"] for facts in found),
        bad_files=[{"name": b.name, "reason": b.reason} for b in dataset.bad_files],
        seconds=round(seconds, 3),
        rows_per_s=round(new_rows / seconds, 1),
        files=[
            {**entry, "path": f"{COUNTS}/{entry['path']}"}
            for facts in found
            for entry in facts["files"]
        ]
        + [manifest.describe(output, name, 0) for name in (RESULT, PAGE)],
    )
    return summary(output, content, done=False)


def check_ignored(encoder: TableEncoder, config: MonitorConfig) -> None:
    """Raises ValueError where a column is to be ignored that is not modelled."""
    for column in config.ignore:
        if column not in encoder.names:
            raise ValueError(
                f"monitor.ignore: the model has no column {column!r}; it has "
                f"{encoder.names!r}"
            )


class Counter:
    """Counts fragments in the bins of the reference, with a model loaded once.

    Args:
        model: Folder of the model.
        folder: Folder of the parts.
        key: The job key.
        on_bad_file: Whether an unreadable fragment stops the job.
    """

    def __init__(
        self, model: str, folder: str, key: str, on_bad_file: OnBadFile
    ) -> None:
        self.density = load(model)
        self.reference = reference.read(model)
        self.folder = folder
        self.key = key
        self.on_bad_file = on_bad_file

    def __call__(self, fragment: Fragment) -> parts.Facts:
        """Writes the counts of a fragment; its facts."""
        rng = np.random.default_rng([1, fragment.index])
        histograms = reference.empty(self.reference)
        rows = 0
        try:
            for table in datasets.batches(
                fragment, reference.EXACT, self.density.columns
            ):
                found = reference.count(self.density, self.reference, table, rng)
                histograms = reference.add(histograms, found)
                rows += table.num_rows
        except pa.ArrowInvalid as error:
            if self.on_bad_file == "stop":
                raise ValueError(
                    f"{error}; replace it, or set data.on_bad_file: quarantine"
                ) from error
            histograms, rows = reference.empty(self.reference), 0
        facts = {
            "job_key": self.key,
            "source": fragment.name,
            "rows_in": fragment.rows,
            "rows_out": rows,
            "rows_quarantined": fragment.rows - rows,
        }
        table = pa.table(
            {
                "count": np.concatenate([h.counts for h in histograms]),
                "sum": np.concatenate([h.sums for h in histograms]),
            }
        )
        entry = parts.write(self.folder, parts.name(fragment.index), table, facts)
        return {**facts, "files": [entry]}


def merged(
    known: Reference, folder: str, found: Sequence[parts.Facts]
) -> list[Histogram]:
    """The histograms of all fragments together, read one after the other."""
    counts, sums = np.zeros(0, np.int64), np.zeros(0)
    for place in range(len(found)):
        path = storage.join(folder, parts.name(place))
        filesystem, inner = storage.resolve(path)
        table = pq.read_table(inner, filesystem=filesystem, partitioning=None)
        part = table["count"].to_numpy(), table["sum"].to_numpy()
        counts = part[0] if place == 0 else counts + part[0]
        sums = part[1] if place == 0 else sums + part[1]
    ends = np.cumsum([scale.size for scale in known.all_scales])[:-1]
    return [
        Histogram(c, s)
        for c, s in zip(np.split(counts, ends), np.split(sums, ends), strict=True)
    ]


def compare(
    encoder: TableEncoder,
    known: Reference,
    batch: Sequence[Histogram],
    config: MonitorConfig,
) -> Json:
    """The content of drift.json but for the names: effect sizes and the verdict."""
    sizes = [
        drift.effects(
            scale, old, new, resamples=config.bootstrap, confidence=config.confidence
        )
        if new.counts.sum() and old.counts.sum()
        else dict.fromkeys(drift.EFFECTS)
        for scale, old, new in zip(
            known.all_scales, known.histograms, batch, strict=True
        )
    ]
    count = len(encoder.columns)
    columns = [
        {
            "name": column.name,
            "kind": column.kind,
            "counts": not (
                column.name in config.ignore or reference.is_moment(encoder, j)
            ),
            "marginal": as_json(sizes[1 + j]),
            "conditional": as_json(sizes[1 + count + j]),
            "missing": [
                share(known, h, j, "missing") for h in (known.histograms, batch)
            ],
            "new": [
                share(known, h, j, reference.NEW) for h in (known.histograms, batch)
            ],
        }
        for j, column in enumerate(encoder.columns)
    ]
    rows = int(batch[0].counts.sum())
    result: Json = {
        "rows": rows,
        "reference_rows": known.rows,
        "confidence": config.confidence,
        "limits": limits(config),
        "log_prob": as_json(sizes[0])
        | {"means": [mean(known.scales[0], h[0]) for h in (known.histograms, batch)]},
        "columns": columns,
    }
    reasons = list(exceeded(result))
    few = too_few(rows, known.rows)
    result["verdict"] = "unclear" if few else "drift" if reasons else "stable"
    result["reasons"] = few or reasons
    result["remedy"] = REMEDY if result["verdict"] == "drift" else None
    result["caution"] = None if few else caution(result)
    result["metrics"] = metrics(result)
    return result


def too_few(rows: int, known: int) -> list[str]:
    """Why nothing can be said: of new rows or of calibration rows there are few."""
    found = []
    if rows < LEAST:
        found.append(f"{rows} rows are too few to tell; at least {LEAST} are needed")
    if known < LEAST:
        found.append(
            f"the model remembers {known} calibration rows, too few to tell; train it "
            f"with a larger data.split.calibration, or on more rows: at least {LEAST} "
            "are needed"
        )
    return found


def caution(result: Json) -> str | None:
    """What is to be said where chance alone brings effects near a limit."""
    said = []
    for effect, limit in result["limits"].items():
        blurred = [
            what
            for what, sizes in looked_at(result)
            if sizes[effect] is not None and sizes[effect]["chance"] > limit
        ]
        if blurred:
            said.append(f"{effect} above {limit:g} of {listed(blurred)}")
    if not said:
        return None
    fewer = "calibration" if result["reference_rows"] <= result["rows"] else "new"
    return (
        f"with {result['rows']} new rows and {result['reference_rows']} calibration "
        f"rows, chance alone can bring {'; '.join(said)}: smaller changes there go "
        f"unnoticed, until there are more {fewer} rows"
    )


def listed(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def limits(config: MonitorConfig) -> dict[str, float]:
    """The effect sizes above which there is drift, by effect, as far as set."""
    given: dict[Effect, float | None] = {
        "ks": config.max_ks,
        "wasserstein": config.max_wasserstein,
        "psi": config.max_psi,
    }
    return {name: value for name, value in given.items() if value is not None}


def as_json(sizes: dict[Effect, Size | None]) -> Json:
    """Effect sizes as JSON holds them."""
    return {name: size and size.to_dict() for name, size in sizes.items()}


def share(
    known: Reference, histograms: Sequence[Histogram], j: int, label: str
) -> float:
    """The share of a label among all cells of column `j`; 0 if it has none."""
    scale, counts = known.scales[1 + j], histograms[1 + j].counts
    if label not in scale.labels or not counts.sum():
        return 0.0
    return float(counts[scale.numbers + scale.labels.index(label)] / counts.sum())


def mean(scale: drift.Scale, histogram: Histogram) -> float | None:
    """The mean of the numbers, outliers drawn in; None if there are none."""
    count = int(histogram.counts[: scale.numbers].sum())
    return float(histogram.sums[: scale.numbers].sum() / count) if count else None


def looked_at(result: Json) -> Iterator[tuple[str, Json]]:
    """What may drift, in words, and its effect sizes."""
    yield "the log-probability of rows", result["log_prob"]
    for column in result["columns"]:
        if column["counts"]:
            name = column["name"]
            yield f"{name} by itself", column["marginal"]
            yield f"{name} given the columns before it", column["conditional"]


def exceeded(result: Json) -> Iterator[str]:
    """What drifted, in words: effects whose interval lies above the limit."""
    for what, sizes in looked_at(result):
        for effect, limit in result["limits"].items():
            size = sizes[effect]
            if size is not None and size["low"] > limit:
                yield (
                    f"{what}: {effect} {size['value']:.3g} ({size['low']:.3g} to "
                    f"{size['high']:.3g}) is above {limit:g}"
                )


def metrics(result: Json) -> dict[str, float]:
    """The main figures by MLflow's names: the worst column of each effect."""
    found = {
        "drift/rows": float(result["rows"]),
        "drift/found": float(result["verdict"] == "drift"),
    }
    for effect in drift.EFFECTS:
        size = result["log_prob"][effect]
        if size is not None:
            found[f"drift/log_prob_{effect}"] = size["value"]
        for kind in ("marginal", "conditional"):
            values = [
                column[kind][effect]["value"]
                for column in result["columns"]
                if column["counts"] and column[kind][effect] is not None
            ]
            if values:
                found[f"drift/{kind}_{effect}"] = max(values)
    for column in result["columns"]:
        for kind in ("marginal", "conditional"):
            size = column[kind]["ks"]
            if size is not None:
                name = metric_name(column["name"])
                found[f"drift/{kind}_ks/{name}"] = size["value"]
    return {name: value for name, value in found.items() if math.isfinite(value)}


def summary(output: str, content: Json, *, done: bool) -> Json:
    """What a caller wants to know of a manifest."""
    result = storage.read_json(storage.join(output, RESULT))
    told = (
        "rows_in",
        "rows_out",
        "rows_quarantined",
        "bad_files",
        "seconds",
        "rows_per_s",
    )
    return {
        "path": output,
        "key": content["job_key"],
        "page": storage.join(output, PAGE),
        **{name: result[name] for name in VERDICT},
        **{name: content[name] for name in told},
        "done": done,
    }
