"""Histograms of a model's calibration rows, with which new rows are compared.

They are stored beside the model, so that the rows themselves are no longer needed: the
distributions of the log-probability, of each column, and of each column given those
before it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from ar_models.density.table_density import TableDensity
from ar_models.scoring.conformal import SEGMENT_PREFIX
from ar_models.scoring.statistics import score_batch
from ar_models.tables import arrow, list_cells
from ar_models.tables.arrow import MOMENTS
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.columns import IN_SUPPORT, MISSING
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.list_column import ListColumn
from tasks.data.cells import representation_of, to_cells
from tasks.data.sketches import NumberSketch, sketch_numbers
from tasks.evaluation import transforms
from tasks.monitoring import violations
from tasks.monitoring.histograms import UNIT, Floats, Histogram, Integers, Scale
from tasks.runtime import storage

FILE = "reference.json"
"""Name of the file in the directory of a model."""

FORMAT = 1
"""Version of the file, and the only one that is read."""

BINS = 100
"""Number of bins of a column of numbers, each with about as many calibration rows."""

CODES = 40
"""Number of the most frequent codes of a column that have a bin of their own."""

EXACT = 1 << 14
"""Number of distinct values of a column that are counted exactly to choose its bins,
and of rows that are counted at a time."""

SPECIALS = ("missing", "nan", "+inf", "-inf", "unreadable")
"""Labels of cells of a column of numbers that are no finite number."""

OTHERS, NEW = "(others)", "(new)"
"""Labels of codes without a bin of their own, and of cells out of support."""

Json = dict[str, Any]  # JSON-able values


@dataclass(frozen=True)
class Reference:
    """The histograms of a model's calibration rows, and their bins.

    The order of histograms is the same everywhere: that of the log-probability, those
    of the columns, those of the columns' probability integral transforms given the
    columns before them, and those of the constraints of each derived column and of the
    inequalities.

    Attributes:
        rows: Number of calibration rows.
        scales: Bins of the log-probability and of each column, (1 + columns).
        codes: Bin of each code, by column; () for columns without codes.
        histograms: The histograms, (1 + 2 * columns + derived columns).
        gates: Bins of the constraints of each derived column, and of the inequalities.
    """

    rows: int
    scales: tuple[Scale, ...]
    codes: tuple[tuple[int, ...], ...]
    histograms: tuple[Histogram, ...]
    gates: tuple[Scale, ...] = ()

    @property
    def all_scales(self) -> list[Scale]:
        """The scale of each histogram."""
        return [*self.scales, *[UNIT] * (len(self.scales) - 1), *self.gates]

    def to_dict(self) -> Json:
        """Return the content of reference.json."""
        return {"format": FORMAT, **ADAPTER.dump_python(self, mode="json")}


ADAPTER = TypeAdapter(Reference)
"""Converts references to and from JSON values."""


def build(density: TableDensity, tables: Callable[[], Iterable[pa.Table]]) -> Reference:
    """Build the reference of a calibrated density.

    Args:
        density: The model, with the scores of its calibration rows.
        tables: Function that returns these rows in tables of bounded size; it is
            called twice.
    """
    sketches = merged_sketches(density.encoder, tables())
    log_prob = density.calibration["log_prob"].astype(np.float64)
    finite = np.unique(log_prob[np.isfinite(log_prob)], return_counts=True)
    scales = [number_scale(*finite, labels=SPECIALS)]
    codes: list[tuple[int, ...]] = []
    for j, column in enumerate(density.encoder.columns):
        if isinstance(column.plain, CodeColumn):
            seen = density.calibration[SEGMENT_PREFIX + column.name].astype(np.int64)
            scale, bins = code_scale(density.encoder.labels(j), seen)
        else:
            points = sketches[j].distribution()
            values = points.values.astype(np.float64)
            scale, bins = number_scale(values, points.counts, labels=SPECIALS), ()
        scales.append(scale)
        codes.append(bins)
    gates = violations.gate_scales(density.encoder)
    empty = Reference(0, tuple(scales), tuple(codes), (), gates)
    rng = np.random.default_rng(0)
    histograms = reduce(add, (count(density, empty, t, rng) for t in tables()))
    rows = int(histograms[0].counts.sum())
    return replace(empty, rows=rows, histograms=tuple(histograms))


def merged_sketches(
    encoder: TableEncoder, tables: Iterable[pa.Table]
) -> dict[int, NumberSketch]:
    """Sketch the columns of numbers, and the lengths of lists, by column index."""
    sketches: dict[int, NumberSketch] = {}
    for table in tables:
        for j, column in enumerate(encoder.columns):
            if isinstance(column.plain, CodeColumn):
                continue
            cells, type = number_cells(encoder, j, table.column(column.name))
            found = sketch_numbers(cells, type, EXACT)
            if j in sketches:
                found = sketches[j].merge(found, EXACT)
            sketches[j] = found
    return sketches


def number_cells(
    encoder: TableEncoder, j: int, array: pa.ChunkedArray
) -> tuple[arrow.Cells, pa.DataType]:
    """Return column `j` as numbers, and their type; of lists and text the lengths."""
    column, type = encoder.columns[j], encoder.type_of(j)
    if isinstance(column, ListColumn):
        lists = list_cells.lists(array)
        return arrow.Cells(lists.lengths, lists.missing), pa.int64()
    kind = "real" if column.kind == "real" else None
    cells = to_cells(array, type, representation_of(type, kind))
    assert isinstance(cells, arrow.Cells)
    return cells, type


def number_scale(
    values: Floats, counts: Floats | Integers, labels: tuple[str, ...]
) -> Scale:
    """Return bins with about as many rows each, and one on either side of all values.

    Args:
        values: Distinct values, ascending, (n,).
        counts: Number of rows of each value, (n,).
        labels: Labels of cells that are not numbers.
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
    """Return the bins of codes, and the bin of each code.

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
    """Return the histograms of the rows of a table, in the order of the reference.

    Args:
        density: The model.
        reference: The bins.
        table: Rows, any number.
        rng: Source of the noise of probability integral transforms.
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
            values, other = column_values(density.encoder, reference, rows, j)
            found.append(reference.scales[1 + j].count(values, other))
        present = encoded.out_of_support == IN_SUPPORT
        found += [UNIT.count(u[present[:, j], j]) for j in range(u.shape[1])]
        found += violations.count_gates(density.encoder, reference.gates, rows, encoded)
        total = add(total, found)
    return total


def column_values(
    encoder: TableEncoder,
    reference: Reference,
    rows: pa.Table,
    j: int,
) -> tuple[Floats, Integers]:
    """Return the numbers of column `j`, and the label index of other cells, else -1."""
    column, labels = encoder.columns[j], reference.scales[1 + j].labels
    if isinstance(column.plain, CodeColumn):
        coded = encoder.encode_plain(j, rows)
        codes = np.nan_to_num(coded.x[:, 0], nan=-1.0).astype(np.int64)
        table = np.asarray(reference.codes[j])
        places = table[np.maximum(codes, 0)]
        why = coded.out_of_support
        places = np.where(why == IN_SUPPORT, places, labels.index(NEW))
        places = np.where(why == MISSING, labels.index("missing"), places)
        return np.zeros(len(codes)), places
    cell, _ = number_cells(encoder, j, rows.column(column.name))
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
    """Return histograms without rows, in the order of the reference."""
    return [scale.empty() for scale in reference.all_scales]


def add(a: Sequence[Histogram], b: Sequence[Histogram]) -> list[Histogram]:
    """Add up two lists of histograms of the same bins."""
    return [x + y for x, y in zip(a, b, strict=True)]


def is_moment(encoder: TableEncoder, j: int) -> bool:
    """Return whether a column holds dates or timestamps, which always drift."""
    return arrow.family(encoder.type_of(j)) in MOMENTS


def read(model: str) -> Reference:
    """Read the reference in the directory of a model, local or S3.

    Raises:
        FileNotFoundError: The model has no reference.
        ValueError: The reference has another format.
    """
    path = storage.join(model, FILE)
    if not storage.exists(path):
        raise FileNotFoundError(
            f"{model}: holds no {FILE}: the model was trained by an earlier version "
            "or without calibration rows; train it again with "
            "data.split.calibration above 0"
        )
    content = storage.read_json(path)
    if content["format"] != FORMAT:
        raise ValueError(
            f"{path}: has format {content['format']!r}, this version reads {FORMAT}; "
            "train the model again"
        )
    return ADAPTER.validate_python(content)
