"""Figures of image columns: grids of images, and values by pixel."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ar_models.density.table_density import TableDensity
from ar_models.tables.encoder import Image
from tasks.reports.figures import Floats

GRID = 8
"""Number of images in each row and each column of a grid."""


def pixel_blocks(density: TableDensity) -> list[Image]:
    """Return the images of a model whose pixels are columns of their own."""
    return [image for image in density.encoder.images if len(image.columns) > 1]


def draw_images(tables: Sequence[pa.Table], image: Image) -> Figure:
    """Draw a grid of the first images of each table, the tables side by side."""
    figure = Figure(figsize=(4.5 * len(tables), 4.6), layout="constrained")
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    height, width, channels = image.shape
    for axes, table in zip(panels, tables, strict=True):
        shown = read_pixels(table.slice(0, GRID * GRID), image)
        grid = np.zeros((GRID * GRID, *image.shape))
        grid[: len(shown)] = shown
        tiled = grid.reshape(GRID, GRID, *image.shape).transpose(0, 2, 1, 3, 4)
        _show(axes, tiled.reshape(GRID * height, GRID * width, channels))
    return figure


def draw_image_row(table: pa.Table, image: Image) -> Figure:
    """Draw the images of a table in one row, numbered from 1."""
    figure = Figure(figsize=(9, 1.3), layout="constrained")
    shown = read_pixels(table, image)
    for k, axes in enumerate(figure.subplots(1, len(shown), squeeze=False)[0]):
        _show(axes, shown[k])
        axes.set_title(f"{k + 1}")
    return figure


def draw_pixel_maps(columns: Sequence[Mapping[str, Any]], image: Image) -> Figure:
    """Draw the NLL, gain and KS distance of each pixel as maps of the image.

    Args:
        columns: The columns of an evaluation: `name`, `nll`, `gain` and `ks`.
        image: The image, whose pixels are among the columns.
    """
    figure = Figure(figsize=(9, 3.0), layout="constrained")
    by_name = {column["name"]: column for column in columns}
    pixels = [by_name[name] for name in image.columns]
    titles = {"nll": "NLL, nats", "gain": "gain, nats", "ks": "KS distance"}
    for axes, (key, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        values = np.array([pixel[key] for pixel in pixels]).reshape(image.shape)
        drawn = axes.imshow(values.sum(-1), cmap="viridis")
        figure.colorbar(drawn, ax=axes, shrink=0.8)
        axes.set_title(title)
        axes.set_axis_off()
    return figure


def read_pixels(table: pa.Table, image: Image) -> Floats:
    """Read the images of a table, (rows, height, width, channels); nulls are black."""
    if len(image.columns) > 1:
        columns = [table[name].cast(pa.float64()).to_numpy() for name in image.columns]
        pixels = np.stack(columns, 1)
    else:
        cells = table[image.columns[0]].to_pylist()
        black = np.zeros(math.prod(image.shape))
        rows = [black if cell is None else np.ravel(cell) for cell in cells]
        pixels = np.array(rows, float)
    return np.asarray(np.nan_to_num(pixels).reshape(-1, *image.shape))


def _show(axes: Axes, picture: Floats) -> None:
    """Draw a picture, (height, width, channels), in colour if it has three channels."""
    low, high = picture.min(), picture.max()
    scaled = (picture - low) / (high - low or 1.0)
    axes.imshow(scaled if picture.shape[-1] == 3 else scaled[..., 0], cmap="gray")
    axes.set_axis_off()
