"""Configuration of the validation of a dataset before training."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from tasks.config.section import Section

_Share = Annotated[float, Field(ge=0, le=1)]


class DataValidationConfig(Section):
    """Limits on how a dataset may differ from the champion's dataset."""

    on_failure: Literal["stop", "warn"] = "stop"
    """Consequence of a violation: the run stops before training, or only reports it."""

    columns: Literal["same", "grow", "any"] = "grow"
    """Permitted changes of the columns: none, new columns, or any."""

    min_rows: PositiveInt = 1
    """Minimum number of rows."""

    min_rows_ratio: NonNegativeFloat = 0.5
    """Minimum number of rows, relative to the champion's dataset."""

    max_quarantined: _Share = 0.05
    """Maximum share of rows in quarantined files."""

    max_null_increase: _Share = 0.1
    """Maximum increase of a column's share of nulls."""

    max_drift: _Share = 0.3
    """Maximum distance between a column's distribution and that of the champion's
    dataset: Kolmogorov-Smirnov for numbers, total variation for categories."""
