"""The page about drift: effect sizes, and the distributions then and now."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks import figures
from tasks.drift import UNIT, Floats, Histogram, Scale, shares
from tasks.figures import BLUE, GREY, INK, ORANGE
from tasks.page import DRIFT, STYLE
from tasks.reference import Reference

HEADINGS = {
    "drift": "the rows have changed",
    "stable": "the rows are as they were",
    "unclear": "too few rows to tell",
}

BARS = 12
"""Codes that a panel shows, at most."""

CELLS = 40
"""Bars of a distribution of numbers."""

Json = dict[str, Any]  # JSON-able values


def render(key: str, result: Json, known: Reference, batch: Sequence[Histogram]) -> str:
    """The page; everything that comes from data is escaped.

    Args:
        key: The job key.
        result: The content of drift.json.
        known: The reference.
        batch: The histograms of the new rows.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )

    def over(size: Json | None, effect: str, column: Json) -> str:
        limit = result["limits"].get(effect)
        far = size is not None and limit is not None and size["low"] > limit
        return " over" if far and column["counts"] else ""

    environment.filters |= {
        "count": lambda number: f"{number:,}".replace(",", " "),
        "size": lambda size: "–" if size is None else f"{size['value']:.3f}",
        "change": lambda pair: f"{pair[0]:.1%} → {pair[1]:.1%}" if any(pair) else "–",
        "over": over,
    }
    order = sorted(result["columns"], key=lambda column: -worst(column))
    with matplotlib.rc_context(figures.STYLE):
        images = {
            name: figures.data_url(figure)
            for name, figure in draw(result, known, batch).items()
        }
    return environment.from_string(DRIFT).render(
        key=key,
        name=result["model"].get("name") or "the model",
        heading=HEADINGS[result["verdict"]],
        found=result,
        columns=order,
        tiles=tiles(result),
        images=images,
        style=STYLE,
    )


def tiles(result: Json) -> list[Json]:
    """The main figures: name, value and what it means."""
    means = result["log_prob"]["means"]
    shown = [
        {
            "name": "Log-probability",
            "value": size_text(result["log_prob"]["ks"]),
            "remark": "KS distance; the mean went from "
            + " to ".join("–" if m is None else f"{m:.2f}" for m in means)
            + " nats per row",
        }
    ]
    for kind, remark in (
        ("marginal", "column by itself"),
        ("conditional", "column given those before it"),
    ):
        counted = [c for c in result["columns"] if c["counts"] and c[kind]["ks"]]
        if counted:
            most = max(counted, key=lambda c: c[kind]["ks"]["value"])
            shown.append(
                {
                    "name": f"Most changed {remark}",
                    "value": size_text(most[kind]["ks"]),
                    "remark": f"KS distance of {most['name']}",
                }
            )
    return shown


def size_text(size: Json | None) -> str:
    """An effect size in figures."""
    return "–" if size is None else f"{size['value']:.3f}"


def worst(column: Json) -> float:
    """The greater KS distance of a column."""
    found = [column[kind]["ks"] for kind in ("marginal", "conditional")]
    return max((size["value"] for size in found if size is not None), default=0.0)


def draw(
    result: Json, known: Reference, batch: Sequence[Histogram]
) -> Mapping[str, Figure]:
    """The figures by name."""
    columns = result["columns"]
    count = len(columns)
    pairs = list(zip(known.histograms, batch, strict=True))

    def ranked(kind: str) -> list[int]:
        far = [-(c[kind]["ks"]["value"] if c[kind]["ks"] else 0.0) for c in columns]
        return [int(k) for k in np.argsort(far, kind="stable")[: figures.SHOWN]]

    marginals, grid = figures.panels(min(count, figures.SHOWN), height=1.5)
    for axes, j in zip(grid, ranked("marginal"), strict=False):
        panel(axes, columns[j], "marginal", known.scales[1 + j], pairs[1 + j])
    conditionals, grid = figures.panels(min(count, figures.SHOWN), height=1.25)
    for axes, j in zip(grid, ranked("conditional"), strict=False):
        panel(axes, columns[j], "conditional", UNIT, pairs[1 + count + j])
    log_prob = Figure(figsize=(7, 2.6), layout="constrained")
    axes = log_prob.add_subplot()
    distributions(axes, known.scales[0], pairs[0])
    axes.set_xlabel("log-probability, nats per row")
    return {
        "effects": effects(columns, result["limits"].get("ks")),
        "log_prob": log_prob,
        "marginals": marginals,
        "conditionals": conditionals,
    }


def effects(columns: Sequence[Json], limit: float | None) -> Figure:
    """KS distances of the columns, by themselves and given those before them."""
    shown = sorted(columns, key=lambda column: -worst(column))[: figures.SHOWN]
    figure = Figure(figsize=(7, 1.0 + 0.36 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(shown))
    for shift, kind, colour in ((-0.17, "marginal", GREY), (0.17, "conditional", BLUE)):
        sizes = [column[kind]["ks"] for column in shown]
        values = np.array([0.0 if s is None else s["value"] for s in sizes])
        ends = np.array(
            [[0.0, 0.0] if s is None else [s["low"], s["high"]] for s in sizes]
        )
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
    axes.set_yticks(places, [figures.short(c["name"], 28) for c in shown])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel("KS distance from the calibration rows")
    axes.legend(loc="lower right")
    return figure


def panel(
    axes: Axes,
    column: Json,
    kind: str,
    scale: Scale,
    pair: tuple[Histogram, Histogram],
) -> None:
    """Draws one column's two distributions, with its KS distance."""
    size = column[kind]["ks"]
    title = figures.short(column["name"], 20)
    axes.set_title(title if size is None else f"{title}  {size['value']:.3f}")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    if scale.numbers:
        distributions(axes, scale, pair)
        axes.locator_params(axis="x", nbins=3)
    else:
        bars(axes, scale, pair)


def distributions(axes: Axes, scale: Scale, pair: tuple[Histogram, Histogram]) -> None:
    """Draws densities of numbers over the range of the reference's bulk."""
    edges = np.asarray(scale.edges)
    low, high = edges[0], edges[-1]
    if len(edges) > 10:  # 98 of 100 bins; what lies beyond is added to the ends
        low, high = edges[1], edges[-2]
    if low >= high:
        low, high = low - 0.5, high + 0.5
    grid = np.linspace(low, high, CELLS + 1)
    if scale is UNIT:
        low, high, grid = 0.0, 1.0, np.linspace(0, 1, figures.BARS + 1)
    known, new = (regular(scale, histogram, grid) for histogram in pair)
    axes.stairs(known, grid, fill=True, color=GREY, label="calibration rows")
    axes.stairs(new, grid, color=BLUE, linewidth=1.3, label="new rows")
    axes.set_xlim(low, high)
    axes.set_ylim(bottom=0)


def regular(scale: Scale, histogram: Histogram, grid: Floats) -> Floats:
    """Shares of the numbers in the cells of a grid, those of bins spread evenly."""
    counts = histogram.counts[: scale.numbers]
    reached = np.concatenate([[0.0], shares(counts).cumsum()])
    # Up to edge k lie the bins 0 to k.
    at = np.interp(grid, scale.edges, reached[1:-1])
    at[0], at[-1] = 0.0, 1.0
    return np.diff(at)


def bars(axes: Axes, scale: Scale, pair: tuple[Histogram, Histogram]) -> None:
    """Draws shares of codes side by side, the most frequent ones."""
    old, new = (shares(h.counts) for h in pair)
    top = np.argsort(-np.maximum(old, new), kind="stable")[:BARS]
    top = top[np.maximum(old, new)[top] > 0]
    places = np.arange(len(top))
    axes.bar(places - 0.2, old[top], width=0.4, color=GREY)
    axes.bar(places + 0.2, new[top], width=0.4, color=BLUE)
    labels = [figures.short(scale.labels[k], 7) for k in top]
    axes.set_xticks(places, labels, fontsize=6.5, rotation=30, ha="right")
