"""Configuration of sampling."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from tasks.config.paths import DatasetPath, OutputPath
from tasks.config.section import Section


class SampleConfig(Section):
    """How synthetic rows are drawn."""

    rows: PositiveInt = Field(
        10_000, description="Number of rows to draw; not used together with given."
    )
    output: OutputPath | None = Field(
        None, description="Directory for the results; default: under the storage."
    )
    seed: int = Field(0, description="Random seed.")
    rows_per_shard: PositiveInt = Field(
        50_000,
        description="Rows per output file. The drawn rows depend on it and on the seed "
        "only, not on the number of processes.",
    )
    log_prob: bool = Field(
        False, description="Write the log-probability of each row, in nats."
    )
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        1.0,
        description="Temperature of every conditional distribution; 1 draws from the "
        "model, lower values draw more probable rows.",
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="Probability mass of every conditional distribution that is drawn "
        "from (nucleus sampling); 1 draws from the model.",
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="Precision of the network's matrix products; bf16 is faster and "
        "rounds probabilities.",
    )
    given: DatasetPath | None = Field(
        None,
        description="Dataset of partly known rows to complete: absent columns and "
        "nulls are drawn, given the other values.",
    )
    samples_per_row: PositiveInt = Field(
        1, description="Completions of each row of given."
    )
    null_is_missing: tuple[str, ...] = Field(
        (),
        description="Columns of given in which a null is kept, as a missing value; in "
        "all others a value is drawn for it.",
    )
