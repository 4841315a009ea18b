"""Tests of starting Ray, and of a Ray that cannot be started."""

import subprocess
import sys
from typing import Any

import pytest
import ray

from tasks.config.resources import Resources
from tasks.runtime import cluster
from tasks.runtime.failures import ClusterError


@pytest.fixture(scope="module", autouse=True)
def jobs_without_ray() -> None:
    """Leave `cluster` as it is, other than for the other tests of tasks."""


class RayInit:
    """Stands for `ray.init` that fails a number of times; keeps the options given."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls: list[dict[str, Any]] = []

    def __call__(self, **options: Any) -> None:
        self.calls.append(options)
        if len(self.calls) <= self.failures:
            raise Exception("The current node timed out\nduring startup.")


def start(monkeypatch: pytest.MonkeyPatch, failures: int) -> RayInit:
    """Connect to a Ray that fails a number of times first."""
    init = RayInit(failures)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    cluster.connect(Resources())
    return init


def test_a_local_ray_that_is_late_is_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert len(start(monkeypatch, cluster.STARTS - 1).calls) == cluster.STARTS
    assert "Ray did not start in time" in caplog.text


def test_a_local_ray_that_never_starts_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    said = "Ray did not start, 3 times: The current node timed out; the machine may be"
    with pytest.raises(ClusterError, match=said):
        start(monkeypatch, cluster.STARTS)


def test_a_cluster_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(ClusterError, match="RAY_ADDRESS is ray://head:10001, but no"):
        start(monkeypatch, 1)


@pytest.mark.parametrize("hook", [None, "chainrule_entry.use_own_packages"])
def test_workers_call_the_hook_first(
    hook: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(cluster.WORKER_HOOK, raising=False)
    if hook is not None:
        monkeypatch.setenv(cluster.WORKER_HOOK, hook)
    given = start(monkeypatch, 0).calls[0].get("runtime_env")
    assert given == (hook and {"worker_process_setup_hook": hook})


EARLY = """
import threading
from tasks.config.resources import Resources
from tasks.runtime import cluster
cluster.connect_early(Resources())
cluster.connect_early(Resources())
cluster.connect(Resources())
starters = [t for t in threading.enumerate() if t.name == cluster.STARTER]
print(len(starters), list(cluster.stream(str.upper, ["a", "b"], what="letters")))
cluster.wait_until_connected()
"""


def test_ray_that_was_started_early_serves_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", EARLY], capture_output=True, text=True, timeout=600
    )
    assert ended.stdout == "1 ['A', 'B']\n", ended.stderr
