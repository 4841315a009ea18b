"""The chart of drift over days, weeks or months."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tasks.reports import figures
from tasks.reports.figures import BLUE, GREY, INK, ORANGE

MAX_LINES = 5
"""Maximum number of columns that have a line of their own."""

MAX_TICKS = 12
"""Maximum number of periods that are named below the chart."""

COLOURS = (BLUE, ORANGE, "#4a8f5c", "#8a5aa8", "#a8483f")

Json = dict[str, Any]  # JSON values


def draw_periods(result: Json) -> Figure:
    """Draw the KS distances of the rows' log-probability and of columns over time.

    Shown are the columns with the largest marginal distances of any period.

    Args:
        result: The content of drift.json.
    """
    found = result["periods"]
    figure, axes = figures.draw_axes(7, 3.0)
    places = np.arange(len(found))
    for k, (name, values) in enumerate(_largest_lines(found)):
        label = figures.shorten(name, 24)
        axes.plot(
            places, values, marker="o", markersize=3, color=COLOURS[k], label=label
        )
    log_prob = [_value(period["log_prob_ks"]) for period in found]
    axes.plot(places, log_prob, color=INK, linewidth=1.6, label="log-probability")
    limit = result["limits"].get("ks")
    if limit is not None:
        axes.axhline(limit, color=GREY, linewidth=1.2, linestyle="--", label="limit")
    ticks = places[:: max(1, -(-len(found) // MAX_TICKS))]
    names = [found[k]["period"] for k in ticks]
    axes.set_xticks(ticks, names, rotation=30, ha="right")
    axes.set_ylabel("KS distance")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7)
    return figure


def _largest_lines(found: list[Json]) -> list[tuple[str, list[float]]]:
    """Return the marginal KS distances of the columns that change most, by period."""
    lines: dict[str, list[float]] = {}
    for period in found:
        for column in period["columns"]:
            lines.setdefault(column["name"], []).append(_value(column["marginal"]))
    ranked = sorted(lines.items(), key=lambda line: -float(np.nanmax([0, *line[1]])))
    return ranked[:MAX_LINES]


def _value(size: Json | None) -> float:
    """Return the value of an effect size, NaN where it is not known."""
    return float("nan") if size is None else float(size["value"])
