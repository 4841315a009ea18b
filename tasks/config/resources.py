"""Configuration of storage, workers and GPUs."""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
)

from tasks.config.paths import OutputPath
from tasks.config.section import Section


def _check_gpu_share(gpus: float) -> float:
    # Ray counts GPUs in steps of 0.0001.
    if 0 < gpus < 1e-4:
        raise ValueError(f"must be 0 or at least 0.0001, got {gpus}")
    return gpus


def _check_range(workers: dict[str, int]) -> dict[str, int]:
    if workers.keys() != {"min", "max"}:
        raise ValueError(f"needs the keys min and max, got {', '.join(workers)}")
    if workers["min"] > workers["max"]:
        raise ValueError(
            f"min must not exceed max, got {workers['min']} and {workers['max']}"
        )
    return workers


def _worker_kind(workers: object) -> str:
    return f"constrained-{'range' if isinstance(workers, dict) else 'number'}"


WorkerRange = Annotated[
    dict[Literal["min", "max"], PositiveInt],
    AfterValidator(_check_range),
    Tag("constrained-range"),
]
"""Least and largest number of workers."""

Workers = Annotated[
    Annotated[PositiveInt, Tag("constrained-number")] | WorkerRange,
    Discriminator(_worker_kind),
]
"""A number of workers, or the least and largest number."""


class Resources(Section):
    """Storage of the results, and number and size of the processes.

    Results do not depend on these keys, and job keys do not contain them.
    """

    storage: OutputPath = ".chainrule"
    """Root directory of all results, local or s3://."""

    workers: Workers = 1
    """Number of training processes; `{min: 2, max: 16}` trains on as many as the
    cluster has room for, and goes on with fewer or more when nodes leave or join."""

    gpus_per_worker: NonNegativeInt = 0
    """GPUs per training process; 0 trains on CPUs."""

    gpus_per_process: Annotated[
        float, Field(ge=0, le=1), AfterValidator(_check_gpu_share)
    ] = 0.0
    """Share of a GPU for each process that scores, samples or evaluates; 0 uses CPUs,
    0.25 puts four processes on a GPU."""

    cpus_per_worker: PositiveInt | None = None
    """Threads per training process; default: all CPUs, divided among the workers, or
    among the least number of workers."""

    max_failures: NonNegativeInt = 3
    """Number of times that training restarts after a worker died."""

    checkpoint_seconds: PositiveFloat = 60.0
    """Seconds between checkpoints of training, which is what a crash costs at most."""

    @property
    def min_workers(self) -> int:
        """Least number of training processes."""
        return self.workers if isinstance(self.workers, int) else self.workers["min"]

    @property
    def max_workers(self) -> int:
        """Largest number of training processes."""
        return self.workers if isinstance(self.workers, int) else self.workers["max"]
