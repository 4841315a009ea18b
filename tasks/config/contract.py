"""Configuration of the validation of a dataset before training."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from tasks.config.section import Section


class ContractConfig(Section):
    """What a dataset must look like, against what the champion learned from."""

    on_failure: Literal["stop", "warn"] = Field(
        "stop", description="stop before training, or only say what was found"
    )
    columns: Literal["same", "grow", "any"] = Field(
        "grow",
        description="how columns may change: not at all, by new ones, or freely",
    )
    min_rows: PositiveInt = Field(1, description="rows that there must be")
    min_rows_ratio: NonNegativeFloat = Field(
        0.5, description="rows, against those of the champion's dataset"
    )
    max_quarantined: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05, description="share of rows in quarantine"
    )
    max_null_increase: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="by how much a column's share of nulls may grow"
    )
    max_drift: Annotated[float, Field(ge=0, le=1)] = Field(
        0.3,
        description="distance of a column's distribution from the champion's: KS for "
        "numbers, total variation for words",
    )
