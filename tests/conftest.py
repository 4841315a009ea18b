"""What the tests share: folders that vanish, and one Ray."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import environment

# Before any test module imports prefect, ray or mlflow. The name is short, since Ray
# puts Unix sockets below it, whose paths may not exceed 107 characters.
STATE = Path(tempfile.mkdtemp(prefix="cr-"))
os.environ.setdefault("RAY_TMPDIR", str(STATE))
environment.configure(str(STATE / "storage"))


def pytest_unconfigure() -> None:
    shutil.rmtree(STATE, ignore_errors=True)


@pytest.fixture
def storage_root(tmp_path: Path) -> str:
    """An empty root of artifacts."""
    return str(tmp_path / "storage")


@pytest.fixture(scope="session")
def ray() -> Iterator[None]:
    """A local Ray with 2 processors, started once."""
    import ray

    from tasks import cluster
    from tasks.config import Resources

    cluster.connect(Resources(), cpus=2)
    yield
    ray.shutdown()
