"""Fixtures that the tests of tasks share."""

from collections.abc import Iterator

import pytest

from tests.support.local_jobs import local_jobs


@pytest.fixture(scope="module", autouse=True)
def jobs_without_ray(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run pieces of jobs in this process unless a test of the file uses Ray."""
    tests = [item for item in request.session.items if item.path == request.path]
    if any("ray" in getattr(item, "fixturenames", ()) for item in tests):
        yield
        return
    with local_jobs():
        yield
