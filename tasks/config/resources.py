"""Configuration of storage, workers and GPUs."""

from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from tasks.config.section import Section


def _countable(gpus: float) -> float:
    """Ray counts parts of a GPU in steps of 0.0001."""
    if 0 < gpus < 1e-4:
        raise ValueError(f"must be 0 or at least 0.0001, got {gpus}")
    return gpus


class Resources(Section):
    """Where the work runs; never a part of what a result is."""

    storage: str = Field(
        ".chainrule", description="root of all artifacts, local or s3://"
    )
    workers: PositiveInt = Field(1, description="training processes")
    gpus_per_worker: NonNegativeInt = 0
    gpus_per_process: Annotated[
        float, Field(ge=0, le=1), AfterValidator(_countable)
    ] = Field(
        0.0,
        description="part of a GPU for each process that scores, draws or judges rows",
    )
    cpus_per_worker: PositiveInt | None = Field(
        None, description="threads per training process; all, shared out, if none"
    )
    max_failures: NonNegativeInt = Field(
        3, description="how often a dead training worker is replaced"
    )
    checkpoint_seconds: PositiveFloat = Field(
        60.0, description="training that a crash may cost, in seconds"
    )
