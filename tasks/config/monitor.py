"""Configuration of drift detection."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from tasks.config.section import Section


class MonitorConfig(Section):
    """When new rows are no longer what the model learned."""

    input: str | None = Field(None, description="dataset to look at; data.path if none")
    output: str | None = Field(None, description="folder; below the storage if none")
    max_ks: PositiveFloat | None = Field(
        0.1, description="distance of distributions above which there is drift"
    )
    max_psi: PositiveFloat | None = Field(
        0.25, description="population stability index above which there is"
    )
    max_wasserstein: PositiveFloat | None = Field(
        None, description="distance in spreads of the calibration rows above which"
    )
    ignore: tuple[str, ...] = Field(
        (), description="columns that may drift; dates and timestamps always may"
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.99, description="of the intervals, which must lie above a limit"
    )
    resamples: PositiveInt = Field(200, description="resamples of an interval")
    rows_per_fragment: PositiveInt = 100_000
