"""What the tests share: folders that vanish, and one Ray."""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import environment


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


# Before any test module imports prefect, ray or mlflow. The name is short, since Ray
# puts Unix sockets below it, whose paths may not exceed 107 characters.
STATE = Path(tempfile.mkdtemp(prefix="cr-"))
os.environ.setdefault("RAY_TMPDIR", str(STATE))
environment.configure(str(STATE / "storage"))
# The S3 of the tests; set before Ray starts, whose workers inherit it.
os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{free_port()}"
os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "test"
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


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


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """The URI of a bucket in an S3 server of this process."""
    import pyarrow.fs as pafs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    server = ThreadedMotoServer("127.0.0.1", int(endpoint.rpartition(":")[2]))
    server.start()
    s3 = pafs.S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True)
    s3.create_dir("bucket")
    yield "s3://bucket"
    server.stop()
