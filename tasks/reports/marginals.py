"""Figures of the marginal distributions of columns in real and in synthetic rows."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ar_models.density.table_density import TableDensity
from ar_models.tables import arrow
from tasks.reports.column_values import to_distances, to_numbers, to_strings
from tasks.reports.figures import (
    BLUE,
    GREY,
    MAX_COLUMNS,
    Floats,
    draw_panels,
    draw_shares,
    shorten,
)
from tasks.reports.list_columns import flatten_lists

REAL: dict[str, Any] = {"fill": True, "color": GREY, "label": "test rows"}
SYNTHETIC: dict[str, Any] = {"color": BLUE, "linewidth": 1.3, "label": "synthetic rows"}

MAX_EXACT = 2.0**52
"""Up to this, distances of one between integers are exact as floats."""

CATEGORIES = 6
"""Maximum number of categories in a panel."""


def flatten_columns(
    tables: Sequence[pa.Table], density: TableDensity
) -> tuple[list[pa.Table], list[str]]:
    """Flatten the columns of lists and name the columns that are not pixels.

    Args:
        tables: Tables with all modelled columns.
        density: The model.

    Returns:
        The tables, and the names of the columns whose marginals can be drawn.
    """
    flat, parts = flatten_lists(tables, density.encoder)
    pixels = {
        part
        for image in density.encoder.images
        for name in image.columns
        for part in parts.get(name, [name])
    }
    return flat, [name for name in flat[0].column_names if name not in pixels]


def draw_marginals(
    real: pa.Table, synthetic: pa.Table, columns: Sequence[str]
) -> Figure:
    """Draw the distribution of each column among real and among synthetic rows."""
    shown = columns[:MAX_COLUMNS]
    figure, panels = draw_panels(len(shown), height=1.5)
    for axes, name in zip(panels, shown, strict=False):
        _draw_marginal(axes, name, real[name], synthetic[name])
    panels[0].legend(fontsize=8, handlelength=1.2)
    return figure


def _draw_marginal(
    axes: Axes, name: str, real: pa.ChunkedArray, synthetic: pa.ChunkedArray
) -> None:
    title = shorten(name, 24)
    if real.null_count or synthetic.null_count:
        shares = (real.null_count / len(real), synthetic.null_count / len(synthetic))
        title += "\nmissing {:.1%} | {:.1%}".format(*shares)
    axes.set_title(title, fontsize=9)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    kind, origin = arrow.plain(real.type), None
    if pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        origin = _origin(real)
        numbers = to_distances(real, origin), to_distances(synthetic, origin)
    else:
        known, drawn = to_numbers(real), to_numbers(synthetic)
        if known is None or drawn is None:
            _draw_categories(axes, real, synthetic)
            return
        numbers = known, drawn
    finite = [values[np.isfinite(values)] for values in numbers]
    _draw_histograms(axes, finite[0], finite[1], whole=pa.types.is_integer(kind))
    if origin is not None and (origin or pa.types.is_temporal(kind)):
        low, high = axes.get_xlim()
        ticks = [low + (high - low) * share for share in (0.15, 0.85)]
        axes.set_xticks(ticks, [_tick_label(origin, t, kind) for t in ticks])


def _origin(array: pa.ChunkedArray) -> int:
    """Return the number from which the numbers of a column are measured.

    It is 0 if all of them are exact as floats, else the median.
    """
    cells = arrow.integers(array, array.type)
    known = cells.values if cells.missing is None else cells.values[~cells.missing]
    if not len(known) or np.abs(known.astype(np.float64)).max() < MAX_EXACT:
        return 0
    return int(np.sort(known)[len(known) // 2])


def _draw_histograms(
    axes: Axes, real: Floats, synthetic: Floats, *, whole: bool
) -> None:
    """Draw histograms of numbers over the central 99 % of the real ones."""
    low, high = np.quantile(real, [0.005, 0.995]) if len(real) else (0.0, 1.0)
    if high - low < 64 * np.spacing(max(abs(low), abs(high))):
        room = max(0.5, 1e-6 * max(abs(low), abs(high)))
        low, high = low - room, high + room
    edges = np.linspace(low, high, 31)
    if whole and high - low <= 30:
        low, high = np.floor(low) - 0.5, np.ceil(high) + 0.5
        edges = np.arange(low, high + 1)
    for values, style in ((real, REAL), (synthetic, SYNTHETIC)):
        counts, _ = np.histogram(values, edges)
        axes.stairs(counts / max(len(values), 1), edges, **style)
    axes.set_xlim(low, high)
    axes.locator_params(axis="x", nbins=3)


def _draw_categories(
    axes: Axes, real: pa.ChunkedArray, synthetic: pa.ChunkedArray
) -> None:
    """Draw the shares of the most frequent real categories side by side."""
    real_counts, counts = _count_categories(real), _count_categories(synthetic)
    top = sorted(real_counts, key=lambda name: (-real_counts[name], name))[:CATEGORIES]
    shares = np.array([real_counts[name] for name in top]) / len(real)
    others = np.array([counts.get(name, 0) for name in top]) / len(synthetic)
    draw_shares(axes, top, shares, others, (REAL["label"], SYNTHETIC["label"]))


def _count_categories(array: pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(to_strings(array).drop_null()).to_pylist()
    return {entry["values"]: entry["counts"] for entry in counted}


def _tick_label(origin: int, distance: float, kind: pa.DataType) -> str:
    """Return the label of a place on the axis of integers or times.

    Args:
        origin: The number from which places are measured.
        distance: Distance of the place from it.
        kind: Type of the numbers.
    """
    bounds = np.iinfo(np.int64)
    value = min(max(origin + math.floor(distance), int(bounds.min)), int(bounds.max))
    cell = arrow.from_integers(np.array([value]), None, kind)
    if arrow.family(kind) == "timestamp":
        cell = cell.cast(pa.date32(), safe=False)
    text = str(arrow.python_values(cell)[0])
    return text.partition(".")[0] if pa.types.is_temporal(kind) else text
