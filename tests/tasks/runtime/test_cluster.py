"""Tests of starting Ray, and of the devices that it gives to processes."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import ray
import torch
from pydantic import ValidationError

from tasks.config.resources import Resources
from tasks.runtime import actors, cluster

pytestmark = pytest.mark.usefixtures("ray")

# Functions that go to workers are closures: workers cannot import test modules.


def test_connecting_twice_is_harmless() -> None:
    cluster.connect(Resources())
    assert actors.cpu_count() == 2


def test_a_local_ray_has_no_dashboard_and_a_cluster_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cluster.dashboard_url() is None
    context = SimpleNamespace(dashboard_url="10.0.0.7:8265")
    monkeypatch.setattr(ray, "init", lambda **_: context)
    assert cluster.dashboard_url() == "http://10.0.0.7:8265"
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    assert cluster.dashboard_url() is None


LENT = """
import ray, torch
from tasks.runtime import actors, cluster
from tasks.config.resources import Resources

ray.init("local", num_cpus=3, num_gpus=1, include_dashboard=False)

def where():
    import ray
    from tasks.runtime import cluster
    given = ray.get_runtime_context().get_accelerator_ids()["GPU"]
    return lambda item: (given, cluster.device().type)

assert actors.ActorPool(0.5).capacity() == 2
assert actors.ActorPool(0.25).capacity() == actors.ActorPool().capacity() == 3
assert actors.ActorPool(1).capacity() == 1
assert cluster.device() == torch.device("cpu")
for gpus, expected in ((0, ([], "cpu")), (0.5, (["0"], "cuda"))):
    try:
        found = list(
            cluster.stream_actors(where, range(4), what="ask: items", gpus=gpus)
        )
        assert found == [expected] * 4, found
    except RuntimeError as error:
        assert gpus and not torch.cuda.is_available()
        print(error)
"""


def test_a_process_computes_on_the_gpu_that_it_was_given() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LENT],
        capture_output=True,
        timeout=120,
        check=False,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    if not torch.cuda.is_available():
        said = "Ray assigned GPU 0 to this process, but torch "
        assert done.stdout.startswith(f"{said}{torch.__version__} finds none")
        assert "gpus_per_process: 0" in done.stdout


@pytest.mark.parametrize("gpus", [-1, 1.5, 0.00001])
def test_a_process_computes_on_one_gpu_at_most(gpus: float) -> None:
    with pytest.raises(ValidationError, match="gpus_per_process"):
        Resources(gpus_per_process=gpus)
