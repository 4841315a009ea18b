"""The style of figures, their encoding, and charts with one row per name."""

import base64
import io
import logging
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tasks.runtime import storage

logger = logging.getLogger(__name__)

BLUE, ORANGE, GREY, INK = "#2f6db3", "#d9822b", "#b8bec6", "#22272e"
GRID_COLOUR = "#e4e7eb"

STYLE: dict[Any, Any] = {  # matplotlib's own keys
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a929c",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": "#555c66",
    "ytick.color": "#555c66",
    "figure.dpi": 130,
    "legend.frameon": False,
}

MAX_COLUMNS = 24
"""Maximum number of columns or segments in a figure."""

BARS = 20
"""Number of bars in a histogram over [0, 1]."""

Floats = NDArray[np.float64]
Figures = Mapping[str, Callable[[], Figure]]
"""Functions that draw figures, by the figure's name."""


def save_all(figures: Figures, folder: str) -> None:
    """Draw figures in the common style and publish them as NAME.png in a directory.

    In place of a figure that cannot be drawn stands the reason, see `to_data_urls`.
    """
    with matplotlib.rc_context(STYLE):
        for name, draw in figures.items():
            path = storage.join(folder, f"{name}.png")
            with storage.publish(path) as unfinished:
                unfinished.write_bytes(_png(name, draw))


def to_data_urls(figures: Figures) -> dict[str, str]:
    """Draw figures in the common style and return each as a PNG in a data URL.

    In place of a figure that cannot be drawn stands the reason, which is logged as a
    warning: no model fails for want of a picture of it.
    """
    with matplotlib.rc_context(STYLE):
        return {
            name: f"data:image/png;base64,{base64.b64encode(_png(name, draw)).decode()}"
            for name, draw in figures.items()
        }


def _png(name: str, draw: Callable[[], Figure]) -> bytes:
    """Draw a figure as a PNG, or the reason why it cannot be drawn."""
    try:
        return _to_png(draw())
    except Exception as error:  # whatever a chart of unforeseen values may raise
        reason = f"figure {name} was not drawn: {type(error).__name__}: {error}"
        logger.warning(reason, exc_info=True)
        return _to_png(_draw_text(reason))


def _draw_text(text: str) -> Figure:
    """Draw a text in place of a figure."""
    figure, axes = draw_axes(7, 1.0)
    axes.axis("off")
    shown = textwrap.fill(shorten(text, 300), 100)
    axes.text(0, 0.5, shown, va="center", fontsize=8)
    return figure


def _to_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    _write_png(figure, buffer)
    return buffer.getvalue()


def _write_png(figure: Figure, file: BinaryIO) -> None:
    canvas: Any = FigureCanvasAgg(figure)  # print_png has no annotations
    # Without the version of matplotlib, equal figures give equal bytes.
    canvas.print_png(file, metadata={"Software": None})


def draw_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Create a figure with one chart; width and height are in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def draw_shares(
    axes: Axes,
    names: Sequence[str],
    known: Floats,
    new: Floats,
    labels: tuple[str, str] | tuple[None, None] = (None, None),
) -> None:
    """Draw two shares of each category side by side.

    Args:
        axes: Where to draw.
        names: Names of the categories.
        known: Shares of the categories in the rows to compare with, drawn in grey.
        new: Their shares in the other rows, drawn in blue.
        labels: Names of both kinds of rows in the legend.
    """
    places = np.arange(len(names))
    axes.bar(places - 0.2, known, width=0.4, color=GREY, label=labels[0])
    axes.bar(places + 0.2, new, width=0.4, color=BLUE, label=labels[1])
    ticks = [shorten(name, 7) for name in names]
    axes.set_xticks(places, ticks, fontsize=6.5, rotation=30, ha="right")


def draw_rows(
    names: Sequence[str], label: str, *, row_height: float = 0.26
) -> tuple[Figure, Axes, NDArray[np.int64]]:
    """Create a horizontal chart with one row per name, the first one on top.

    Args:
        names: Names of the rows.
        label: Label of the horizontal axis.
        row_height: Height of a row in inches.

    Returns:
        The figure, its axes and the vertical position of each row.
    """
    figure, axes = draw_axes(7, 1.0 + row_height * len(names))
    places = np.arange(len(names))
    axes.set_yticks(places, list(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID_COLOUR, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(label)
    return figure, axes, places


def draw_intervals(
    segments: Sequence[Mapping[str, Any]], name: str, label: str
) -> Figure:
    """Draw a value of each segment with its confidence interval.

    Args:
        segments: The segments: `value`, `rows`, NAME and NAME_interval.
        name: Key of the drawn value.
        label: Label of the horizontal axis.
    """
    shown = segments[:MAX_COLUMNS]
    names = [f"{shorten(s['value'], 24)}  ({s['rows']:,})" for s in shown]
    figure, axes, places = draw_rows(names, label)
    middle = np.array([segment[name] for segment in shown])
    low, high = np.array([segment[f"{name}_interval"] for segment in shown]).T
    axes.errorbar(
        middle,
        places,
        xerr=np.maximum([middle - low, high - middle], 0),
        fmt="o",
        color=BLUE,
        ecolor=INK,
        elinewidth=0.9,
        capsize=2,
        markersize=5,
    )
    if low.min() < 0 < high.max():
        axes.axvline(0, color=INK, linewidth=0.8)
    return figure


def draw_differences(
    columns: Sequence[Mapping[str, Any]], name: str, label: str
) -> Figure:
    """Draw a signed value of each column as a bar, the largest ones first.

    Args:
        columns: The columns: `name`, NAME and, if intervals are drawn, NAME_interval.
        name: Key of the drawn value.
        label: Label of the horizontal axis.
    """
    shown = sorted(columns, key=lambda column: -column[name])
    figure, axes, places = draw_rows([shorten(c["name"], 28) for c in shown], label)
    values = np.array([column[name] for column in shown])
    bars: dict[str, Any] = {}
    if f"{name}_interval" in shown[0]:
        low, high = np.array([column[f"{name}_interval"] for column in shown]).T
        bars = {
            "xerr": np.maximum([values - low, high - values], 0),
            "error_kw": {"ecolor": INK, "elinewidth": 0.8, "capsize": 2},
        }
    colours = np.where(values >= 0, BLUE, ORANGE)
    axes.barh(places, values, height=0.72, color=colours, **bars)
    axes.axvline(0, color=INK, linewidth=0.8)
    return figure


def draw_panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """Create a figure of small panels, four in a row, each `height` inches high."""
    rows = math.ceil(count / 4)
    figure = Figure(figsize=(9, 0.2 + height * rows), layout="constrained")
    grid = figure.subplots(rows, 4, squeeze=False)
    panels: list[Axes] = list(grid.ravel())
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels


def shorten(name: str, length: int) -> str:
    """Shorten a name to at most `length` characters and escape dollar signs.

    Between dollar signs matplotlib reads a formula.
    """
    cut = name if len(name) <= length else f"{name[: length - 1]}…"
    return cut.replace("$", r"\$")
