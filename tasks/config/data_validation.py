"""Configuration of the validation of a dataset before training."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from tasks.config.section import Section

_Share = Annotated[float, Field(ge=0, le=1)]


class DataValidationConfig(Section):
    """Limits on how a dataset may differ from the champion's dataset."""

    on_failure: Literal["stop", "warn"] = Field(
        "stop",
        description="Whether a violation stops the run before training or is only "
        "reported.",
    )
    columns: Literal["same", "grow", "any"] = Field(
        "grow",
        description="Permitted changes of the columns: none, new columns, or any.",
    )
    min_rows: PositiveInt = Field(1, description="Minimum number of rows.")
    min_rows_ratio: NonNegativeFloat = Field(
        0.5, description="Minimum number of rows, relative to the champion's dataset."
    )
    max_quarantined: _Share = Field(
        0.05, description="Maximum share of rows in quarantined files."
    )
    max_null_increase: _Share = Field(
        0.1, description="Maximum increase of a column's share of nulls."
    )
    max_drift: _Share = Field(
        0.3,
        description="Maximum distance between a column's distribution and that of the "
        "champion's dataset: Kolmogorov-Smirnov for numbers, total variation for "
        "categories.",
    )
