"""Configuration of the gate that a challenger must pass to become champion."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from tasks.config.section import Section


class GateConfig(Section):
    """What a challenger must show before it becomes champion."""

    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    min_improvement: float = Field(
        0.0, description="nats per row that the interval must lie above"
    )
    rows: PositiveInt = Field(
        50_000, description="newest held-out rows that are compared, at most"
    )
    min_rows: PositiveInt = Field(
        100, description="with fewer held-out rows a person has to decide"
    )
    order_by: str | None = Field(
        None,
        description="column whose greatest values are the newest rows; "
        "data.split.column if none, or else the order of the files",
    )
    segments: tuple[str, ...] = Field(
        (), description="columns in each value of which it must not be worse"
    )
    min_segment_rows: PositiveInt = Field(
        200, description="values with fewer rows are not looked at"
    )
    segment_margin: PositiveFloat = Field(
        0.5, description="nats per row that a segment may lose, with confidence"
    )
    column_margin: PositiveFloat = Field(
        0.5, description="nats per row that a column may lose, with confidence"
    )
    calibration_margin: NonNegativeFloat = Field(
        0.05, description="by how much KS distances from uniform may grow"
    )
    min_diversity: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="different scores per different row"
    )
    max_latency_ratio: PositiveFloat = Field(
        3.0, description="work to score a row, against the champion"
    )
    max_size_ratio: PositiveFloat = Field(
        4.0, description="bytes of weights, against the champion"
    )
    load_check: Literal["none", "process", "clean"] = Field(
        "process",
        description="load the version as a consumer: in a process without this "
        "project, or in a fresh environment with its requirements, which takes minutes",
    )
