"""The figures of an evaluation, as PNG files."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import matplotlib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ar_models.density import TableDensity
from ar_models.encoder import Image
from tasks import storage
from tasks.summaries import summarised

BLUE, ORANGE, GREY, INK = "#2f6db3", "#d9822b", "#b8bec6", "#22272e"

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

REAL: dict[str, Any] = {"fill": True, "color": GREY, "label": "test rows"}
SYNTHETIC: dict[str, Any] = {"color": BLUE, "linewidth": 1.3, "label": "synthetic"}

SHOWN = 24
"""Columns that a figure shows, at most."""

GRID = 8
"""Images in each row and column of a grid."""

BARS = 20
"""Bars of a histogram of what should be uniform."""

Floats = NDArray[np.float64]
Json = Mapping[str, Any]


def draw(folder: str, evaluation: Json, rows: pa.Table) -> None:
    """Writes the figures of an evaluation below its folder.

    Args:
        folder: Of the evaluation.
        evaluation: The content of evaluation.json.
        rows: What was found for each test row, as `tasks.evaluate.read_rows` gives it.
    """
    with matplotlib.rc_context(STYLE):
        drawn = {
            "columns": gains(evaluation["columns"]),
            "calibration": calibration(evaluation["columns"]),
            "scores": scores(rows["anomaly_score"].to_numpy()),
        }
        if evaluation["p_value_ks"] is not None:
            drawn["p_values"] = p_values(rows["p_value"].to_numpy())
        for name, figure in drawn.items():
            save(figure, storage.join(folder, "figures", f"{name}.png"))


def save(figure: Figure, path: str) -> None:
    """Publishes a figure as PNG; equal figures give equal bytes."""
    with storage.publish(path) as unfinished, open(unfinished, "wb") as file:
        write(figure, file)


def write(figure: Figure, file: BinaryIO) -> None:
    """Writes a figure as PNG to an open file."""
    canvas: Any = FigureCanvasAgg(figure)  # print_png has no annotations
    canvas.print_png(file, metadata={"Software": None})


def data_url(figure: Figure) -> str:
    """A figure as a PNG within a URL."""
    buffer = io.BytesIO()
    write(figure, buffer)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def blocks(density: TableDensity) -> list[Image]:
    """The images whose pixels are columns of their own."""
    return [image for image in density.encoder.images if len(image.columns) > 1]


def plain(
    tables: Sequence[pa.Table], density: TableDensity
) -> tuple[list[pa.Table], list[str]]:
    """Tables with plain columns for those of lists, and which of them are no pixels."""
    found, names = summarised(tables, density.encoder)
    pixels = {
        part
        for image in density.encoder.images
        for name in image.columns
        for part in names.get(name, [name])
    }
    return found, [name for name in found[0].column_names if name not in pixels]


def gains(columns: Sequence[Json]) -> Figure:
    """How many nats each column gains over independent columns, with intervals."""
    ranked = sorted(columns, key=lambda column: -column["gain"])[:SHOWN]
    figure = Figure(figsize=(7, 1.0 + 0.26 * len(ranked)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(ranked))
    gain = np.array([column["gain"] for column in ranked])
    low, high = np.array([column["gain_interval"] for column in ranked]).T
    axes.barh(
        places,
        gain,
        height=0.72,
        color=np.where(gain >= 0, BLUE, ORANGE),
        xerr=np.maximum([gain - low, high - gain], 0),
        error_kw={"ecolor": INK, "elinewidth": 0.8, "capsize": 2},
    )
    axes.set_yticks(places, [short(column["name"], 28) for column in ranked])
    axes.invert_yaxis()
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel("nats per row gained over independent columns")
    return figure


def intervals(values: Sequence[Json], name: str, label: str) -> Figure:
    """A figure of each segment, with its interval.

    Args:
        values: The segments, each with value, rows, and what is shown.
        name: What is shown; its interval is NAME_interval.
        label: Of the axis.
    """
    shown = values[:SHOWN]
    figure = Figure(figsize=(7, 0.9 + 0.26 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(shown))
    middle = np.array([value[name] for value in shown])
    low, high = np.array([value[f"{name}_interval"] for value in shown]).T
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
    names = [f"{short(v['value'], 24)}  ({v['rows']:,})" for v in shown]
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(label)
    return figure


def detection(scores: Floats, truth: NDArray[np.bool_]) -> Figure:
    """What share of anomalies stands among the strangest rows, and how pure they are.

    Args:
        scores: Anomaly scores, (n,).
        truth: Whether each row is an anomaly, (n,).
    """
    figure = Figure(figsize=(7, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    hits = truth[np.argsort(-scores, kind="stable")].cumsum()
    taken = np.arange(1, len(hits) + 1)
    recall, wrong = hits / hits[-1], (taken - hits) / (len(hits) - hits[-1])
    # As many points as a figure can show.
    points = np.unique(np.linspace(0, len(hits) - 1, 2000).astype(int))
    left.plot([0, *wrong[points]], [0, *recall[points]], color=BLUE)
    left.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    left.set_xlabel("ordinary rows flagged")
    left.set_ylabel("anomalies found")
    right.plot(recall[points], (hits / taken)[points], color=BLUE)
    right.axhline(hits[-1] / len(hits), color=GREY, linewidth=1)
    right.set_xlabel("anomalies found")
    right.set_ylabel("precision")
    for axes in (left, right):
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
    return figure


def calibration(columns: Sequence[Json]) -> Figure:
    """Histograms of each column's probability integral transform, the worst first."""
    ranked = sorted(columns, key=lambda column: -column["ks"])[:SHOWN]
    figure, grid = panels(len(ranked), height=1.25)
    for axes, column in zip(grid, ranked, strict=False):
        counts = np.array(column["pit"], dtype=float)
        density = counts / max(counts.sum(), 1) * len(counts)
        edges = np.linspace(0, 1, len(counts) + 1)
        axes.stairs(density, edges, fill=True, color=BLUE, alpha=0.85)
        axes.axhline(1, color=ORANGE, linewidth=1)
        axes.set_title(f"{short(column['name'], 20)}  {column['ks']:.3f}")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, max(2, 1.1 * float(density.max())))
        axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        axes.set_yticks([0, 1])
    return figure


def scores(values: Floats) -> Figure:
    """The distribution of the test rows' anomaly scores."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(values, bins=80, color=BLUE, log=True)
    axes.set_xlabel("anomaly score, nats")
    axes.set_ylabel("test rows")
    return figure


def scores_with_threshold(values: Floats, threshold: float, label: str) -> Figure:
    """The same, and from which score on a row is an anomaly."""
    figure = scores(values)
    axes = figure.axes[0]
    axes.axvline(threshold, color=ORANGE, linewidth=1.4)
    axes.annotate(
        label,
        (threshold, 0.95),
        xycoords=("data", "axes fraction"),
        xytext=(5, 0),
        textcoords="offset points",
        color=ORANGE,
        va="top",
    )
    return figure


def p_values(values: Floats) -> Figure:
    """The distribution of the test rows' p-values, which should be uniform."""
    figure = Figure(figsize=(7, 2.4), layout="constrained")
    axes = figure.add_subplot()
    counts, edges = np.histogram(values, bins=BARS, range=(0, 1))
    density = counts / len(values) * BARS
    axes.stairs(density, edges, fill=True, color=BLUE, alpha=0.85)
    axes.axhline(1, color=ORANGE, linewidth=1.2, label="uniform")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, max(1.5, 1.1 * float(density.max())))
    axes.set_xlabel("p-value of test rows against calibration rows")
    axes.set_ylabel("density")
    axes.legend(loc="lower right", frameon=True, facecolor="white", edgecolor="none")
    return figure


def learning_curve(history: Sequence[Json]) -> Figure:
    """The NLL of training and of valid rows by epoch."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axes = figure.add_subplot()
    epochs = [record["epoch"] for record in history]
    valid = [record["valid_nll"] for record in history]
    axes.plot(
        epochs, [r["train_nll"] for r in history], color=GREY, label="train", lw=1.6
    )
    axes.plot(epochs, valid, color=BLUE, label="valid", lw=1.8, marker="o", ms=3)
    best = int(np.argmin(valid))
    axes.plot(epochs[best], valid[best], "o", color=ORANGE, ms=7, label="kept")
    axes.set_xlabel("epoch")
    axes.set_ylabel("nats per row")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.7)
    axes.legend()
    return figure


def replayed(months: Sequence[Json]) -> Figure:
    """The NLL of each month's unseen rows, by who might have predicted them."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(months))
    styles: dict[str, dict[str, Any]] = {
        "never retrained": {"color": GREY, "marker": "s"},
        "champion": {"color": ORANGE, "marker": "o"},
        "challenger": {"color": BLUE, "marker": "o"},
    }
    for name, style in styles.items():
        seen = [k for k in places if months[k][name] is not None]
        nll = [months[k][name]["nll"] for k in seen]
        axes.plot(seen, nll, label=name, lw=1.6, ms=4, **style)
        axes.fill_between(
            seen,
            [months[k][name]["low"] for k in seen],
            [months[k][name]["high"] for k in seen],
            color=style["color"],
            alpha=0.15,
            linewidth=0,
        )
    for k in places:
        if not months[k]["promoted"]:
            axes.axvspan(k - 0.5, k + 0.5, color="#f4e3dc", zorder=0, lw=0)
        if months[k]["drift"] is not None and months[k]["drift"]["verdict"] == "drift":
            top = axes.get_xaxis_transform()
            axes.plot(k, 0.97, marker="v", color=ORANGE, ms=7, transform=top)
    axes.set_xticks(places, [short(month["partition"], 12) for month in months])
    axes.tick_params(axis="x", labelrotation=30)
    axes.set_ylabel("NLL of the month's unseen rows, nats")
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_title(
        "shaded: the challenger was refused; triangle: the month had drifted",
        loc="right",
        fontsize=8,
    )
    axes.legend()
    return figure


def images(tables: Sequence[pa.Table], image: Image) -> Figure:
    """The first images of each table side by side, `GRID` in a row and a column."""
    figure = Figure(figsize=(4.5 * len(tables), 4.6), layout="constrained")
    panes = figure.subplots(1, len(tables), squeeze=False)[0]
    height, width, channels = image.shape
    for axes, table in zip(panes, tables, strict=True):
        found = pixels(table.slice(0, GRID * GRID), image)
        every = np.zeros((GRID * GRID, *image.shape))
        every[: len(found)] = found
        tiled = every.reshape(GRID, GRID, *image.shape).transpose(0, 2, 1, 3, 4)
        show(axes, tiled.reshape(GRID * height, GRID * width, channels))
    return figure


def pixels(table: pa.Table, image: Image) -> Floats:
    """The images of a table, (rows, height, width, channels); black where null."""
    if len(image.columns) > 1:
        columns = [table[name].cast(pa.float64()).to_numpy() for name in image.columns]
        found = np.stack(columns, 1)
        return np.asarray(np.nan_to_num(found).reshape(-1, *image.shape))
    cells = table[image.columns[0]].to_pylist()
    black = np.zeros(math.prod(image.shape))
    rows = [black if cell is None else np.ravel(cell) for cell in cells]
    return np.asarray(np.nan_to_num(np.array(rows, float)).reshape(-1, *image.shape))


def show(axes: Axes, picture: Floats) -> None:
    """Draws a picture (height, width, channels): in colour where there are three."""
    low, high = picture.min(), picture.max()
    scaled = (picture - low) / (high - low or 1.0)
    axes.imshow(scaled if picture.shape[-1] == 3 else scaled[..., 0], cmap="gray")
    axes.set_axis_off()


def strange_images(table: pa.Table, image: Image) -> Figure:
    """The images of some rows in a line, numbered from 1."""
    figure = Figure(figsize=(9, 1.3), layout="constrained")
    found = pixels(table, image)
    for k, axes in enumerate(figure.subplots(1, len(found), squeeze=False)[0]):
        show(axes, found[k])
        axes.set_title(f"{k + 1}")
    return figure


def of_pixels(columns: Sequence[Json], image: Image) -> Figure:
    """What was found of each pixel, in its place.

    Args:
        columns: What was found of the columns, in an evaluation.
        image: Which of them are the pixels of an image.
    """
    figure = Figure(figsize=(9, 3.0), layout="constrained")
    of_name = {column["name"]: column for column in columns}
    found = [of_name[name] for name in image.columns]
    titles = {"nll": "NLL, nats", "gain": "gain, nats", "ks": "KS distance"}
    for axes, (key, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        values = np.array([column[key] for column in found]).reshape(image.shape)
        drawn = axes.imshow(values.sum(-1), cmap="viridis")
        figure.colorbar(drawn, ax=axes, shrink=0.8)
        axes.set_title(title)
        axes.set_axis_off()
    return figure


def marginals(real: pa.Table, synthetic: pa.Table, columns: Sequence[str]) -> Figure:
    """Each column's distribution among test rows and among synthetic rows."""
    shown = columns[:SHOWN]
    figure, grid = panels(len(shown), height=1.5)
    for axes, name in zip(grid, shown, strict=False):
        marginal(axes, name, real[name], synthetic[name])
    grid[0].legend(fontsize=8, handlelength=1.2)
    return figure


def marginal(
    axes: Axes, name: str, real: pa.ChunkedArray, synthetic: pa.ChunkedArray
) -> None:
    """Draws one column's two distributions; its title says the shares of nulls."""
    title = short(name, 24)
    if real.null_count or synthetic.null_count:
        shares = (real.null_count / len(real), synthetic.null_count / len(synthetic))
        title += "\nmissing {:.1%} | {:.1%}".format(*shares)
    axes.set_title(title, fontsize=9)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    left, right = numeric(real), numeric(synthetic)
    if left is None or right is None:
        bars(axes, real, synthetic)
        return
    low, high = np.quantile(left, [0.005, 0.995]) if len(left) else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, 31)
    if pa.types.is_integer(real.type) and high - low <= 30:
        low, high = np.floor(low) - 0.5, np.ceil(high) + 0.5
        edges = np.arange(low, high + 1)
    for values, style in ((left, REAL), (right, SYNTHETIC)):
        counts, _ = np.histogram(values, edges)
        axes.stairs(counts / max(len(values), 1), edges, **style)
    axes.set_xlim(low, high)
    axes.locator_params(axis="x", nbins=3)
    if pa.types.is_temporal(real.type) and not pa.types.is_time(real.type):
        ticks = [low + (high - low) * share for share in (0.15, 0.85)]
        axes.set_xticks(ticks, [f"{day(tick, real.type)}" for tick in ticks])


def bars(axes: Axes, real: pa.ChunkedArray, synthetic: pa.ChunkedArray) -> None:
    """Shares of the most frequent values, side by side."""
    counted = pc.value_counts(real.drop_null().cast(pa.string())).to_pylist()
    top = sorted(counted, key=lambda entry: (-entry["counts"], entry["values"]))[:6]
    places = np.arange(len(top))
    other = pc.value_counts(synthetic.drop_null().cast(pa.string())).to_pylist()
    drawn = {entry["values"]: entry["counts"] for entry in other}
    shares = [entry["counts"] / len(real) for entry in top]
    again = [drawn.get(entry["values"], 0) / len(synthetic) for entry in top]
    axes.bar(places - 0.2, shares, width=0.4, color=GREY, label="test rows")
    axes.bar(places + 0.2, again, width=0.4, color=BLUE, label="synthetic")
    labels = [short(entry["values"], 7) for entry in top]
    axes.set_xticks(places, labels, fontsize=6.5, rotation=30, ha="right")


def numeric(array: pa.ChunkedArray) -> Floats | None:
    """The finite values of a column of numbers or moments; None for other types."""
    kind = array.type
    if pa.types.is_temporal(kind):
        array = array.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        if not pa.types.is_decimal(kind):
            return None
    values = array.drop_null().cast(pa.float64(), safe=False).to_numpy()
    return np.asarray(values[np.isfinite(values)])


def day(value: float, kind: pa.DataType) -> str:
    """The day of a moment that `numeric` made a number."""
    whole = pa.array([int(value)], pa.int32() if kind.bit_width == 32 else pa.int64())
    return str(whole.cast(kind).cast(pa.date32())[0].as_py())


def panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of `count` small panels, four in a row, each `height` inches high."""
    rows = math.ceil(count / 4)
    figure = Figure(figsize=(9, 0.2 + height * rows), layout="constrained")
    grid = figure.subplots(rows, 4, squeeze=False)
    flat: list[Axes] = list(grid.ravel())
    for axes in flat[count:]:
        axes.set_visible(False)
    return figure, flat


def short(name: str, length: int) -> str:
    """A name of at most so many characters; a dollar sign would start a formula."""
    cut = name if len(name) <= length else f"{name[: length - 1]}…"
    return cut.replace("$", r"\$")
