"""What the tests share: folders that vanish, and one Ray."""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.runtime import environment


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
(STATE / "storage").mkdir()
environment.configure(str(STATE / "storage"))
# The S3 of the tests; set before Ray starts, whose workers inherit it.
os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{free_port()}"
os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "test"
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills",
        type=int,
        default=1,
        help="at how many moments test_kill kills the pipeline, 10 at most",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that takes longest goes first, so that processes end together."""
    items.sort(key=lambda item: item.path.stem != "test_kill")


def pytest_unconfigure() -> None:
    shutil.rmtree(STATE, ignore_errors=True)


@pytest.fixture
def storage_root(tmp_path: Path) -> str:
    """An empty root of artifacts."""
    return str(tmp_path / "storage")


@pytest.fixture(scope="session")
def server() -> Iterator[None]:
    """A Prefect server of this process, with a database of its own."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=600):
        yield


@pytest.fixture(scope="session")
def ray() -> Iterator[None]:
    """A local Ray with 2 processors, started once."""
    import ray

    from tasks.config.resources import Resources
    from tasks.runtime import cluster

    cluster.connect(Resources(), cpus=2)
    yield
    ray.shutdown()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Bulk jobs run here, one piece after the other, as in a single actor."""
    import torch

    from tasks.runtime import cluster

    def stream(
        make: Callable[[], Callable[[Any], Any]], items: list[Any], **_: object
    ) -> Iterator[Any]:
        yield from map(make(), items)

    monkeypatch.setattr(cluster, "connect", lambda resources: None)
    monkeypatch.setattr(cluster, "stream_actors", stream)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, ray: None) -> str:
    """The folder of `tables.small_table`, prepared."""
    import pyarrow.parquet as pq

    from tasks.config.data import DataConfig
    from tasks.config.resources import Resources
    from tasks.data.prepare import prepare
    from tests.support.tables import small_table

    folder = tmp_path_factory.mktemp("prepared")
    pq.write_table(small_table(), folder / "small.parquet")
    data = DataConfig(path=str(folder / "small.parquet"), id=("id",))
    return prepare(data, str(folder / "prepared"), Resources()).path


@pytest.fixture(scope="session")
def small_model(prepared: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a density of `tables.small_table`, trained a little."""
    import pyarrow.parquet as pq
    import torch

    from ar_models.density.saved_form import save_density
    from ar_models.density.table_density import TableDensity
    from ar_models.families.made import MADE
    from tasks.data.prepared import read_encoder

    encoder = read_encoder(prepared)
    train = pq.read_table(f"{prepared}/train")
    torch.manual_seed(0)
    model = MADE(encoder.variables, MADE.Settings(hidden=16, layers=1, components=2))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    x = torch.from_numpy(encoder.encode(train).x)
    for batch in x.split(128) * 3:
        optimizer.zero_grad()
        (-model.log_prob(batch).mean()).backward()
        optimizer.step()
    density = TableDensity(encoder, model)
    calibration = density.reference_scores(pq.read_table(f"{prepared}/calibration"))
    folder = tmp_path_factory.mktemp("model")
    save_density(TableDensity(encoder, model, calibration), folder)
    return str(folder)


@pytest.fixture(scope="session")
def pair(ray: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A `ModelPair`: a prepared dataset and two models of it, evaluated."""
    from tests.support.model_pair import build_model_pair

    return build_model_pair(tmp_path_factory.mktemp("pair"))
