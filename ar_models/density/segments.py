"""Segments: rows with equal values in a column, ranked among calibration rows alike."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ar_models.scoring.conformal import SEGMENT_PREFIX
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.encoder import TableEncoder


@dataclass(frozen=True)
class Segment:
    """One value of the column that rows are ranked within.

    Attributes:
        value: The value, as text.
        calibration_rows: Number of calibration rows with it.
        own: Whether its rows are ranked among these alone; if they are too few, among
            all calibration rows.
    """

    value: str
    calibration_rows: int
    own: bool


def segment_columns(encoder: TableEncoder) -> list[str]:
    """Return the names of the binary and categorical columns, which define segments."""
    return [c.name for c in encoder.columns if isinstance(c.plain, CodeColumn)]


def check_segment_column(
    encoder: TableEncoder, calibration: Mapping[str, NDArray[np.generic]], column: str
) -> None:
    """Raise ValueError if rows cannot be ranked within the values of a column."""
    could = segment_columns(encoder)
    if column in could:
        if calibration and SEGMENT_PREFIX + column not in calibration:
            raise ValueError(
                f"calibrate_by: the calibration rows have no values of {column!r}; "
                "train the model again"
            )
        return
    kinds = {c.name: f"is modelled as {c.kind}" for c in encoder.columns}
    kinds |= {c.name: f"was left out ({c.reason})" for c in encoder.left_out}
    raise ValueError(
        f"calibrate_by: column {column!r} {kinds.get(column, 'is not modelled')}, and "
        f"only binary and categorical columns can be segments: {could!r}; name one of "
        "them, or give it that kind under data.columns and train again"
    )
