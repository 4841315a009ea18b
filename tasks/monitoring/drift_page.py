"""The HTML page of a drift report: effect sizes and distributions."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.evaluation.distances import shares
from tasks.monitoring import period_figure, periods
from tasks.monitoring.histograms import UNIT, Floats, Histogram, Scale
from tasks.monitoring.reference import Reference
from tasks.reports import figures, pages
from tasks.reports.figures import BLUE, GREY, INK, ORANGE
from tasks.reports.pages import Tile

HEADINGS = {
    "drift": "drift detected",
    "stable": "no drift detected",
    "unclear": "too few rows to detect drift",
}

MAX_CATEGORIES = 12
"""Maximum number of categories in a panel."""

CELLS = 40
"""Number of bars in a histogram of numbers."""

Json = dict[str, Any]  # JSON values
Pair = tuple[Histogram, Histogram]
"""Histograms of the calibration rows and of the new rows."""


def render(
    key: str, result: Json, reference: Reference, batch: Sequence[Histogram]
) -> str:
    """Render the page of a drift report.

    Args:
        key: The job key.
        result: The content of drift.json.
        reference: The reference distributions of the model.
        batch: The histograms of the new rows, in the order of the reference.
    """
    columns, limits = result["columns"], result["limits"]

    def exceeds_limit(column: Json, kind: str, effect: str) -> bool:
        size, limit = column[kind][effect], limits.get(effect)
        known = size is not None and limit is not None and column["monitored"]
        return bool(known and size["low"] > limit)

    pairs = list(zip(reference.histograms, batch, strict=True))
    marginals = list(zip(columns, reference.scales[1:], pairs[1:], strict=False))
    conditionals = [
        (column, UNIT, pair)
        for column, pair in zip(columns, pairs[1 + len(columns) :], strict=False)
    ]
    return pages.render(
        "drift.html.j2",
        key=key,
        name=result["model"].get("name") or "the model",
        heading=HEADINGS[result["verdict"]],
        result=result,
        columns=sorted(columns, key=lambda column: -largest_ks(column)),
        exceeds_limit=exceeds_limit,
        largest_change=periods.largest_change,
        describe_new=periods.describe_new,
        tiles=tiles(result),
        figures=figures.to_data_urls(
            {
                **(
                    {"periods": partial(period_figure.draw_periods, result)}
                    if result["periods"]
                    else {}
                ),
                "effects": partial(draw_effects, columns, limits.get("ks")),
                "log_prob": partial(draw_log_prob, reference.scales[0], pairs[0]),
                "marginals": partial(draw_columns, marginals, "marginal", 1.5),
                "conditionals": partial(
                    draw_columns, conditionals, "conditional", 1.25
                ),
            }
        ),
    )


def tiles(result: Json) -> list[Tile]:
    """Return the key figures of a drift report with their explanation."""
    before, after = (
        "–" if mean is None else f"{mean:.2f}" for mean in result["log_prob"]["means"]
    )
    shown = [
        Tile(
            "Log-probability",
            pages.format_effect_size(result["log_prob"]["ks"]),
            f"KS distance; mean {before} nats per calibration row, {after} per new row",
        )
    ]
    for kind in ("marginal", "conditional"):
        counted = [c for c in result["columns"] if c["monitored"] and c[kind]["ks"]]
        if counted:
            largest = max(counted, key=lambda c: ks_value(c, kind))
            size = pages.format_effect_size(largest[kind]["ks"])
            remark = f"KS distance of {largest['name']}"
            shown.append(Tile(f"Largest {kind} drift", size, remark))
    return shown


def ks_value(column: Json, kind: str) -> float:
    """Return the KS distance of a column, 0 where it is unknown."""
    size = column[kind]["ks"]
    return 0.0 if size is None else float(size["value"])


def largest_ks(column: Json) -> float:
    """Return the larger of the marginal and conditional KS distances of a column."""
    return max(ks_value(column, kind) for kind in ("marginal", "conditional"))


def draw_effects(columns: Sequence[Json], limit: float | None) -> Figure:
    """Draw the marginal and conditional KS distances of columns with intervals.

    Args:
        columns: The columns of drift.json.
        limit: KS distance above which there is drift, if one is set.
    """
    shown = sorted(columns, key=lambda column: -largest_ks(column))
    shown = shown[: figures.MAX_COLUMNS]
    figure, axes, places = figures.draw_rows(
        [figures.shorten(column["name"], 28) for column in shown],
        "KS distance from the calibration rows",
        row_height=0.36,
    )
    for shift, kind, colour in ((-0.17, "marginal", GREY), (0.17, "conditional", BLUE)):
        values = np.array([ks_value(column, kind) for column in shown])
        sizes = [column[kind]["ks"] or {"low": 0.0, "high": 0.0} for column in shown]
        ends = np.array([[size["low"], size["high"]] for size in sizes])
        axes.barh(
            places + shift,
            values,
            height=0.32,
            color=colour,
            label=kind,
            xerr=np.abs(ends.T - values),
            error_kw={"ecolor": INK, "elinewidth": 0.8, "capsize": 2},
        )
    if limit is not None:
        axes.axvline(limit, color=ORANGE, linewidth=1.2, label="limit")
    axes.legend(loc="lower right")
    return figure


def draw_log_prob(scale: Scale, pair: Pair) -> Figure:
    """Draw the distributions of the log-probability of rows."""
    figure, axes = figures.draw_axes(7, 2.6)
    _draw_densities(axes, scale, pair)
    axes.set_xlabel("log-probability, nats per row")
    return figure


def draw_columns(
    columns: Sequence[tuple[Json, Scale, Pair]], kind: str, height: float
) -> Figure:
    """Draw distributions of the columns with the largest KS distances.

    Args:
        columns: Each column of drift.json with its bins and histograms.
        kind: `marginal` or `conditional`, the KS distance that ranks the columns.
        height: Height of a panel in inches.
    """
    ranked = sorted(columns, key=lambda entry: -ks_value(entry[0], kind))
    ranked = ranked[: figures.MAX_COLUMNS]
    figure, panels = figures.draw_panels(len(ranked), height)
    for axes, (column, scale, pair) in zip(panels, ranked, strict=False):
        size = column[kind]["ks"]
        title = figures.shorten(column["name"], 20)
        axes.set_title(title if size is None else f"{title}  {size['value']:.3f}")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        if scale.numbers:
            _draw_densities(axes, scale, pair)
            axes.locator_params(axis="x", nbins=3)
        else:
            _draw_categories(axes, scale, pair)
    return figure


def _draw_densities(axes: Axes, scale: Scale, pair: Pair) -> None:
    """Draw histograms of numbers over the central range of the calibration rows."""
    edges = np.asarray(scale.edges)
    low, high = edges[0], edges[-1]
    if len(edges) > 10:  # The outermost bins are added to the outermost bars.
        low, high = edges[1], edges[-2]
    if low >= high:
        low, high = low - 0.5, high + 0.5
    grid = np.linspace(low, high, CELLS + 1)
    if scale is UNIT:
        low, high, grid = 0.0, 1.0, np.linspace(0, 1, figures.BARS + 1)
    known, new = (_regrid(scale, histogram, grid) for histogram in pair)
    axes.stairs(known, grid, fill=True, color=GREY, label="calibration rows")
    axes.stairs(new, grid, color=BLUE, linewidth=1.3, label="new rows")
    axes.set_xlim(low, high)
    axes.set_ylim(bottom=0)


def _regrid(scale: Scale, histogram: Histogram, grid: Floats) -> Floats:
    """Return the shares of numbers in the cells of a grid, uniform within each bin."""
    counts = histogram.counts[: scale.numbers]
    reached = np.concatenate([[0.0], shares(counts).cumsum()])
    # Bins 0 to k lie up to edge k.
    at = np.interp(grid, scale.edges, reached[1:-1])
    at[0], at[-1] = 0.0, 1.0
    return np.diff(at)


def _draw_categories(axes: Axes, scale: Scale, pair: Pair) -> None:
    """Draw the shares of the most frequent categories side by side."""
    old, new = (shares(histogram.counts) for histogram in pair)
    either = np.maximum(old, new)
    top = np.argsort(-either, kind="stable")[:MAX_CATEGORIES]
    top = top[either[top] > 0]
    figures.draw_shares(axes, [scale.labels[k] for k in top], old[top], new[top])
