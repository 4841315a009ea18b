"""Configuration of sampling."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from tasks.config.section import Section


class SampleConfig(Section):
    """How many rows are drawn, given what, and from which random stream."""

    rows: PositiveInt = Field(10_000, description="how many; without `given` only")
    output: str | None = Field(None, description="folder; below the storage if none")
    seed: int = 0
    rows_per_shard: PositiveInt = 50_000
    log_prob: bool = Field(False, description="write each row's log_prob")
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        1.0, description="of every conditional; 1 is exact, less is likelier"
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of every conditional's likeliest values; 1 is exact"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the network's products; bf16 is faster, and rounds"
    )
    given: str | None = Field(
        None, description="dataset of known columns, whose rows are completed"
    )
    samples_per_row: PositiveInt = Field(
        1, description="completions of each row of `given`"
    )
    null_is_missing: tuple[str, ...] = Field(
        (), description="columns of `given` where null is missing; else null is free"
    )
