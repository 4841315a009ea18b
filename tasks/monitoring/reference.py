"""What a model's calibration rows looked like, in bins, kept beside the model.

So a batch can be compared with them when they are long gone: the distribution of the
log-probability, of each column by itself, and of each column given those before it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.density.table_density import TableDensity
from ar_models.scoring.conformal import SEGMENT_PREFIX
from ar_models.scoring.statistics import score_batch
from ar_models.tables import arrow, list_cells
from ar_models.tables.arrow import MOMENTS
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.columns import IN_SUPPORT, MISSING
from ar_models.tables.encoder import Encoded, TableEncoder
from ar_models.tables.list_column import ListColumn
from tasks.data.cells import Representation, representation_of
from tasks.data.sketches import NumberSketch, sketch_numbers
from tasks.evaluation import transforms
from tasks.monitoring.histograms import UNIT, Floats, Histogram, Integers, Scale
from tasks.runtime import storage

FILE = "reference.json"
"""Its name in a model's folder."""

FORMAT = 1
"""Version of the file, and the only one that is read."""

BINS = 100
"""Bins of a number, of about equal weight in the calibration rows."""

CODES = 40
"""Codes of a column with bins of their own: the most frequent ones."""

EXACT = 1 << 14
"""Distinct numbers of a column that are counted exactly where bins are chosen."""

SPECIALS = ("missing", "nan", "+inf", "-inf", "unreadable")
OTHERS, NEW = "(others)", "(new)"

Json = dict[str, Any]  # JSON-able values


@dataclass(frozen=True)
class Reference:
    """Scales, and the calibration rows counted in them.

    Histograms stand in one order everywhere: the log-probability, then each column by
    itself, then each column's transform given those before it.

    Attributes:
        rows: Number of calibration rows.
        scales: Of the log-probability and of each column, (1 + columns).
        codes: Of each column of codes the bin of each code, () of other columns.
        histograms: (1 + 2 * columns).
    """

    rows: int
    scales: tuple[Scale, ...]
    codes: tuple[tuple[int, ...], ...]
    histograms: tuple[Histogram, ...]

    @property
    def all_scales(self) -> list[Scale]:
        """The scale of each histogram."""
        return [*self.scales, *[UNIT] * (len(self.scales) - 1)]

    def to_dict(self) -> Json:
        """A JSON-able dict from which `from_dict` makes an equal one."""
        return {
            "format": FORMAT,
            "rows": self.rows,
            "scales": [asdict(scale) for scale in self.scales],
            "codes": self.codes,
            "histograms": [h.to_dict() for h in self.histograms],
        }

    @classmethod
    def from_dict(cls, fields: Json) -> "Reference":
        """The reference that `to_dict` described."""
        return cls(
            fields["rows"],
            tuple(
                Scale(tuple(s["edges"]), tuple(s["labels"]), s["spread"])
                for s in fields["scales"]
            ),
            tuple(tuple(codes) for codes in fields["codes"]),
            tuple(Histogram.from_dict(h) for h in fields["histograms"]),
        )


def build(density: TableDensity, tables: Callable[[], Iterable[pa.Table]]) -> Reference:
    """The reference of a calibrated density.

    Args:
        density: With the scores of its calibration rows.
        tables: A function that gives these rows again, a bounded number at a time; it
            is called twice.
    """
    sketches = merged_sketches(density.encoder, tables())
    log_prob = density.calibration["log_prob"].astype(np.float64)
    scales = [number_scale(*profile_points(log_prob), labels=SPECIALS)]
    codes: list[tuple[int, ...]] = []
    for j, column in enumerate(density.encoder.columns):
        if isinstance(column, CodeColumn):
            seen = density.calibration[SEGMENT_PREFIX + column.name].astype(np.int64)
            scale, bins = code_scale(density.encoder.labels(j), seen)
        else:
            points = sketches[j].distribution()
            values = points.values.astype(np.float64)
            scale, bins = number_scale(values, points.counts, labels=SPECIALS), ()
        scales.append(scale)
        codes.append(bins)
    empty = Reference(0, tuple(scales), tuple(codes), ())
    rng = np.random.default_rng(0)
    counted = (count(density, empty, table, rng) for table in tables())
    histograms = reduce(add, counted)
    rows = int(histograms[0].counts.sum())
    return Reference(rows, empty.scales, empty.codes, tuple(histograms))


def merged_sketches(
    encoder: TableEncoder, tables: Iterable[pa.Table]
) -> dict[int, NumberSketch]:
    """A sketch of each column of numbers, by the column's place."""
    sketches: dict[int, NumberSketch] = {}
    for table in tables:
        for j, column in enumerate(encoder.columns):
            if isinstance(column, CodeColumn):
                continue
            cell = number_cells(encoder, j, table.column(column.name))
            found = sketch_numbers(cell, type_of(encoder, j), EXACT)
            if j in sketches:
                found = sketches[j].merge(found, EXACT)
            sketches[j] = found
    return sketches


def type_of(encoder: TableEncoder, j: int) -> pa.DataType:
    """The type of what is looked at in a column: of lists and texts, their length."""
    if isinstance(encoder.columns[j], ListColumn):
        return pa.int64()
    return encoder.type_of(j)


def base_of(encoder: TableEncoder, j: int) -> Representation:
    """As what the values of a column of numbers are seen: integers or reals."""
    real = encoder.columns[j].kind == "real"
    return representation_of(type_of(encoder, j), "real" if real else None)


def number_cells(encoder: TableEncoder, j: int, array: pa.ChunkedArray) -> arrow.Cells:
    """A column as numbers; of lists and texts, their length."""
    if isinstance(encoder.columns[j], ListColumn):
        found = list_cells.lists(array)
        return arrow.Cells(found.lengths, found.missing)
    if base_of(encoder, j) == "reals":
        return arrow.reals(array)
    return arrow.integers(array, encoder.type_of(j))


def profile_points(values: Floats) -> tuple[Floats, Integers]:
    """The finite ones among numbers, distinct and ascending, and how often each is."""
    return np.unique(values[np.isfinite(values)], return_counts=True)


def number_scale(
    values: Floats, counts: Floats | Integers, labels: tuple[str, ...]
) -> Scale:
    """Bins of about equal weight, and one on either side of all values.

    Args:
        values: Distinct and ascending, (n,).
        counts: How often each occurs.
        labels: Of what is no number.
    """
    if not len(values):
        return Scale((0.0,), labels)
    reached = np.cumsum(counts) / np.sum(counts)

    def quantile(share: float) -> float:
        place = int(np.searchsorted(reached, share))
        return float(values[min(place, len(values) - 1)])

    inner = {quantile(k / BINS) for k in range(1, BINS)} | {float(values[-1])}
    below = float(np.nextafter(float(values[0]), -np.inf))
    spread = (quantile(0.84) - quantile(0.16)) / 2
    if spread <= 0:
        mean = np.average(values, weights=counts)
        spread = float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))
    return Scale((below, *sorted(inner)), labels, spread if spread > 0 else 1.0)


def code_scale(labels: Sequence[str], seen: Integers) -> tuple[Scale, tuple[int, ...]]:
    """Bins of codes, and the bin of each code.

    Args:
        labels: Names of the codes.
        seen: Codes of the calibration rows, -1 where out of support.
    """
    counts = np.bincount(seen[seen >= 0], minlength=len(labels))
    kept = sorted(np.argsort(-counts, kind="stable")[:CODES].tolist())
    names = [labels[code] for code in kept]
    if len(kept) < len(labels):
        names.append(OTHERS)
    if "missing" not in names:
        names.append("missing")
    names.append(NEW)
    place = {code: k for k, code in enumerate(kept)}
    missing = list(labels).index("missing") if "missing" in labels else -1
    rest = names.index(OTHERS) if OTHERS in names else 0
    bins = [
        names.index("missing") if code == missing else place.get(code, rest)
        for code in range(len(labels))
    ]
    return Scale((), tuple(names)), tuple(bins)


def count(
    density: TableDensity,
    reference: Reference,
    table: pa.Table,
    rng: np.random.Generator,
) -> list[Histogram]:
    """The histograms of the rows of a table, in the reference's order.

    Args:
        density: The model.
        reference: Its scales.
        table: Any number of rows.
        rng: Divides the probability of what is discrete.
    """
    total = empty(reference)
    for rows, encoded in density.batches(table):
        if not len(rows):
            continue
        batch_scores = score_batch(density.model, encoded, "surprisal")
        log_prob = batch_scores.log_prob.sum(axis=1)
        special = np.where(np.isfinite(log_prob), -1, SPECIALS.index("unreadable"))
        u = transforms.integral_transforms(
            batch_scores.conditionals,
            batch_scores.x,
            density.encoder.variables,
            rng.random(batch_scores.log_prob.shape),
        )
        found = [reference.scales[0].count(log_prob, special)]
        for j in range(len(density.columns)):
            values, other = column_values(density.encoder, reference, rows, encoded, j)
            found.append(reference.scales[1 + j].count(values, other))
        present = encoded.out_of_support == IN_SUPPORT
        found += [UNIT.count(u[present[:, j], j]) for j in range(u.shape[1])]
        total = add(total, found)
    return total


def column_values(
    encoder: TableEncoder,
    reference: Reference,
    rows: pa.Table,
    encoded: Encoded,
    j: int,
) -> tuple[Floats, Integers]:
    """Numbers of column `j`, and places of what is none among its scale's labels."""
    column, labels = encoder.columns[j], reference.scales[1 + j].labels
    if isinstance(column, CodeColumn):
        codes = encoder.codes(encoded, column.name)
        table = np.asarray(reference.codes[j])
        places = table[np.maximum(codes, 0)]
        why = encoded.out_of_support[:, j]
        places = np.where(why == IN_SUPPORT, places, labels.index(NEW))
        places = np.where(why == MISSING, labels.index("missing"), places)
        return np.zeros(len(codes)), places
    cell = number_cells(encoder, j, rows.column(column.name))
    values = np.asarray(cell.values, dtype=np.float64)
    other = np.full(len(values), -1)
    for name, holds in (
        ("nan", np.isnan(values)),
        ("+inf", values == np.inf),
        ("-inf", values == -np.inf),
        ("unreadable", cell.off),
        ("missing", cell.missing),
    ):
        if holds is not None:
            other[holds] = SPECIALS.index(name)
    return values, other


def empty(reference: Reference) -> list[Histogram]:
    """Histograms without rows."""
    return [
        Histogram(np.zeros(scale.size, np.int64), np.zeros(scale.size))
        for scale in reference.all_scales
    ]


def add(a: Sequence[Histogram], b: Sequence[Histogram]) -> list[Histogram]:
    """The histograms of the rows of both."""
    return [x + y for x, y in zip(a, b, strict=True)]


def is_moment(encoder: TableEncoder, j: int) -> bool:
    """Whether a column holds dates or timestamps, which move on by nature."""
    return arrow.family(encoder.type_of(j)) in MOMENTS


def read(model: str) -> Reference:
    """The reference in a model's folder, local or S3.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It has another format.
    """
    path = storage.join(model, FILE)
    if not storage.exists(path):
        raise FileNotFoundError(
            f"{model}: holds no {FILE}, so there is nothing to compare with: an "
            "earlier version trained the model, or it has no calibration rows; train "
            "it anew with data.split.calibration above 0"
        )
    content = storage.read_json(path)
    if content["format"] != FORMAT:
        raise ValueError(
            f"{path}: has format {content['format']!r}, this version reads {FORMAT}; "
            "train the model anew"
        )
    return Reference.from_dict(content)
