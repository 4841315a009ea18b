"""Environment, options and fixtures of all tests."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.runtime import environment
from tests.support.ports import free_port

# Before any test module imports prefect, ray or mlflow. The name is short, since Ray
# puts Unix sockets below it, whose paths may not exceed 107 characters.
STATE = Path(tempfile.mkdtemp(prefix="cr-"))
os.environ.setdefault("RAY_TMPDIR", str(STATE))
(STATE / "storage").mkdir()
environment.configure(str(STATE / "storage"))
# Several processes of tests share few CPUs.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The S3 of the tests; set before Ray starts, whose workers inherit it.
os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{free_port()}"
os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "test"
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

GROUPS = {
    "tests/tasks/training/": "ray",
    "tests/tasks/inference/": "ray",
    "tests/tasks/runtime/": "ray",
    "tests/tasks/evaluation/": "models",
    "tests/tasks/registry/": "models",
    "tests/flows/": "flows",
    "tests/ar_models/families/test_devices.py": "devices",
}
"""Groups of files that share costly fixtures or take long, the longest groups first.

A group is run by one worker; so is every other file.
"""


def group(nodeid: str) -> str:
    """Return the group of a test by its id."""
    found = (name for path, name in GROUPS.items() if nodeid.startswith(path))
    return next(found, nodeid.partition("::")[0])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills",
        type=int,
        default=1,
        help="number of moments at which test_kill kills the pipeline, 10 at most",
    )
    parser.addoption(
        "--examples",
        default="45+4",
        help="first seed and number of the random datasets of test_fuzz",
    )
    parser.addoption(
        "--injections",
        default="0+20",
        help="first seed and number of the faults of test_injections",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort tests by group, the longest groups first."""
    ranks = {name: rank for rank, name in enumerate(dict.fromkeys(GROUPS.values()))}
    items.sort(key=lambda item: ranks.get(group(item.nodeid), len(ranks)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:  # of xdist
    """Give each worker whole groups of tests."""
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return GroupScheduling(config, log)


def pytest_unconfigure() -> None:
    shutil.rmtree(STATE, ignore_errors=True)


@pytest.fixture
def storage_root(tmp_path: Path) -> str:
    """Return an empty root of artifacts."""
    return str(tmp_path / "storage")


@pytest.fixture(scope="session")
def server() -> Iterator[None]:
    """Start a Prefect server for this process, with a database of its own."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=600):
        yield


@pytest.fixture(scope="session")
def ray() -> Iterator[None]:
    """Start a local Ray with two CPUs."""
    import ray

    from tasks.config.resources import Resources
    from tasks.runtime import cluster

    cluster.connect(Resources(), cpus=2)
    yield
    ray.shutdown()


@pytest.fixture
def in_process() -> Iterator[None]:
    """Run pieces of jobs in this process, without Ray."""
    from tests.support.local_jobs import local_jobs

    with local_jobs():
        yield


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """Return the URI of a bucket in an S3 server of this process."""
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
def prepared(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Prepare `tables.small_table` and return the folder."""
    import pyarrow.parquet as pq

    from tasks.config.data import DataConfig
    from tasks.config.resources import Resources
    from tasks.data.prepare import prepare
    from tests.support.local_jobs import local_jobs
    from tests.support.tables import small_table

    folder = tmp_path_factory.mktemp("prepared")
    pq.write_table(small_table(), folder / "small.parquet")
    data = DataConfig(path=str(folder / "small.parquet"), id=("id",))
    with local_jobs():
        return prepare(data, str(folder / "prepared"), Resources()).path


@pytest.fixture(scope="session")
def small_model(prepared: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Train a density of `tables.small_table` a little and return its folder."""
    import pyarrow.parquet as pq
    import torch

    from ar_models.density.saved_form import save_density
    from ar_models.density.table_density import TableDensity
    from ar_models.families.made import MADE
    from ar_models.scoring.nearness import Nearness
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
    density = TableDensity(encoder, model, nearness=Nearness.of(encoder, x.numpy()))
    calibration = pq.read_table(f"{prepared}/calibration")
    density.calibration = density.reference_scores(calibration)
    folder = tmp_path_factory.mktemp("model")
    save_density(density, folder)
    return str(folder)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a `ModelPair`: a prepared dataset and two models of it, evaluated."""
    from tests.support.local_jobs import local_jobs
    from tests.support.model_pair import build_model_pair

    with local_jobs():
        return build_model_pair(tmp_path_factory.mktemp("pair"))
