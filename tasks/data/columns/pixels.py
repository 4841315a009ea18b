"""Pixels of images: all pixels of an image are columns of the same kind."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.columns import Column
from ar_models.tables.number_column import NumberColumn
from ar_models.variables import Variable
from tasks.config.data import ImageConfig
from tasks.data.columns.numbers import FEW_VALUES, number_column
from tasks.data.columns.reals import real_column
from tasks.data.columns.states import smoothed_shares
from tasks.data.sketches import NumberSketch, Sketch

ATOM_SHARE = 0.01
"""Share of rows from which a value of a pixel is an atom of its mixture."""

MAX_CODES = 1 << 12
"""Number of values that a softmax over pixels can have."""


def pixel_column(
    name: str, type: pa.DataType, sketch: Sketch, image: ImageConfig, key: str
) -> Column:
    """Return the column that all pixels of an image have.

    Args:
        name: Name of the column.
        type: Arrow type of a pixel.
        sketch: Sketch of all pixels of the training rows.
        image: Its `pixels` says how they are modelled.
        key: Key of the configuration, for messages.

    Raises:
        ValueError: The values do not fit the configuration.
    """
    if not isinstance(sketch, NumberSketch) or sketch.missing or sketch.off:
        raise ValueError(
            f"{key}: pixels must be numbers and not null, their type is {type}"
        )
    kind = image.pixels
    if not sketch.is_whole:
        if kind in ("auto", "mixture"):
            return real_column(name, type, sketch)
        raise ValueError(f"{key}: pixels: {kind} needs whole numbers; use mixture")
    if kind == "auto":
        few = int(sketch.high) - int(sketch.low) < FEW_VALUES
        kind = "binary" if sketch.distinct <= 2 else "softmax" if few else "mixture"
    if kind == "mixture":
        return _without_small_atoms(number_column(name, type, sketch))
    if kind == "binary" and sketch.distinct > 2:
        raise ValueError(
            f"{key}: pixels: binary does not fit {sketch.distinct} values; use softmax"
        )
    return _code_column(name, type, sketch, kind == "binary", key)


def _code_column(
    name: str, type: pa.DataType, sketch: NumberSketch, is_binary: bool, key: str
) -> CodeColumn:
    """Return pixels as codes in the order of their values."""
    low, high = int(sketch.low), int(sketch.high)
    if not is_binary and arrow.plain(type) == pa.uint8():
        low, high = 0, 255
    if is_binary:
        low, high = (low, high) if low < high else (0, max(1, high))
    if high - low >= MAX_CODES and not is_binary:
        raise ValueError(
            f"{key}: pixels: softmax does not fit values from {low} to {high}; use "
            "mixture"
        )
    values = (low, high) if is_binary else tuple(range(low, high + 1))
    given = sketch.distribution()
    at = np.searchsorted(np.asarray(values), given.values)
    counts = np.bincount(at.astype(int), given.counts, minlength=len(values))
    kind: Literal["binary", "categorical"]
    kind = "binary" if len(values) == 2 else "categorical"
    shares = smoothed_shares(counts.tolist())
    variable = Variable(name, kind, 0, size=len(values), frequencies=shares)
    known: tuple[Any, ...] = values
    if arrow.family(type) == "real":
        known = tuple(repr(float(value)) for value in values)
    return CodeColumn(name, kind, str(type), sketch.rows, (variable,), known)


def _without_small_atoms(column: NumberColumn) -> NumberColumn:
    """Return a number column whose mixture has atoms at very frequent values only."""
    variable = column.variables[-1]
    if len(column.variables) > 1 or not variable.atoms:
        return column
    *shares, rest = variable.frequencies
    kept = [k for k, share in enumerate(shares) if share > ATOM_SHARE]
    lost = sum(shares) - sum(shares[k] for k in kept)
    smooth = replace(
        variable,
        atoms=tuple(variable.atoms[k] for k in kept),
        frequencies=(*(shares[k] for k in kept), rest + lost),
    )
    return replace(column, variables=(smooth,))
