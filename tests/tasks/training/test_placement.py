"""Tests of the processors and GPUs of workers."""

import pytest

from tasks.config.resources import Resources
from tasks.training import placement


@pytest.mark.parametrize(
    ("workers", "wanted", "nodes", "expected"),
    [(1, None, [8], 8), (2, None, [8, 3], 4), (3, None, [8, 3], 3), (2, 5, [8, 5], 5)],
)
def test_workers_get_the_processors_that_find_a_place(
    workers: int, wanted: int | None, nodes: list[int], expected: int
) -> None:
    given = Resources(workers=workers, cpus_per_worker=wanted)

    assert placement.cpus_per_worker(given, nodes) == expected


@pytest.mark.parametrize(("least", "cpus"), [(1, 8), (2, 8), (3, 4)])
def test_elastic_workers_get_as_much_as_the_least_number_of_them(
    least: int, cpus: int
) -> None:
    given = Resources(workers={"min": least, "max": 64})

    assert placement.cpus_per_worker(given, [8, 8]) == cpus
    placement.check_gpus(given.model_copy(update={"gpus_per_worker": 1}), least)


@pytest.mark.parametrize(("workers", "wanted"), [(12, None), (2, 8)])
def test_too_many_workers_are_refused(workers: int, wanted: int | None) -> None:
    given = Resources(workers=workers, cpus_per_worker=wanted)

    with pytest.raises(ValueError, match=f"{workers} workers .* lower workers"):
        placement.cpus_per_worker(given, [8, 3])


def test_gpus_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="need 4, the cluster has 3"):
        placement.check_gpus(Resources(workers=2, gpus_per_worker=2), 3)
