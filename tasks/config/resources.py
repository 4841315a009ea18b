"""Configuration of storage, workers and GPUs."""

from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from tasks.config.paths import OutputPath
from tasks.config.section import Section


def _check_gpu_share(gpus: float) -> float:
    # Ray counts GPUs in steps of 0.0001.
    if 0 < gpus < 1e-4:
        raise ValueError(f"must be 0 or at least 0.0001, got {gpus}")
    return gpus


class Resources(Section):
    """Storage of the results, and number and size of the processes.

    Results do not depend on these keys, and job keys do not contain them.
    """

    storage: OutputPath = ".chainrule"
    """Root directory of all results, local or s3://."""

    workers: PositiveInt = 1
    """Number of training processes."""

    gpus_per_worker: NonNegativeInt = 0
    """GPUs per training process; 0 trains on CPUs."""

    gpus_per_process: Annotated[
        float, Field(ge=0, le=1), AfterValidator(_check_gpu_share)
    ] = 0.0
    """Share of a GPU for each process that scores, samples or evaluates; 0 uses CPUs,
    0.25 puts four processes on a GPU."""

    cpus_per_worker: PositiveInt | None = None
    """Threads per training process; default: all CPUs, divided among the workers."""

    max_failures: NonNegativeInt = 3
    """Number of times that training restarts after a worker died."""

    checkpoint_seconds: PositiveFloat = 60.0
    """Seconds between checkpoints of training, which is what a crash costs at most."""
