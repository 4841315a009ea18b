"""Tests of the messages for errors of Ray."""

from collections.abc import Iterator

import pytest
from ray import exceptions

from tasks.runtime import memory, ray_errors
from tasks.runtime.failures import ClusterError


def classes(base: type[BaseException]) -> Iterator[type[BaseException]]:
    """Yield all classes of Ray's errors below one."""
    for each in base.__subclasses__():
        if each.__module__ == exceptions.__name__:
            yield each
            yield from classes(each)


ERRORS = sorted(set(classes(exceptions.RayError)), key=lambda each: each.__name__)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_of_ray_has_a_message(kind: type[BaseException]) -> None:
    assert any(each in ray_errors.MESSAGES for each in kind.__mro__)


def test_the_walk_finds_errors_at_every_depth() -> None:
    found = set(ERRORS)
    assert {exceptions.RpcError, exceptions.OwnerDiedError} < found
    assert set(ray_errors.MESSAGES) <= found


def test_an_error_is_told_with_what_to_do() -> None:
    error = exceptions.LocalRayletDiedError()
    with pytest.raises(ClusterError) as caught, ray_errors.explained("score: rows"):
        raise error
    assert str(caught.value) == (
        "score: rows: a process of Ray has died; give the same command again: it "
        "continues with what is finished (Ray: LocalRayletDiedError: The task's local "
        "raylet died. Check raylet.out for more information.)"
    )
    assert caught.value.__cause__ is error


def test_a_death_for_want_of_memory_names_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = iter([0, 1])
    monkeypatch.setattr(memory, "killed_count", lambda: next(counts))
    monkeypatch.setattr(memory, "limit", lambda: 3 * 2**29)
    with (
        pytest.raises(ClusterError, match=r"memory ran out \(the limit is 1\.5 GiB\)"),
        ray_errors.explained("score: rows"),
    ):
        raise exceptions.ActorDiedError()


def test_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError), ray_errors.explained("score: rows"):
        raise ZeroDivisionError
