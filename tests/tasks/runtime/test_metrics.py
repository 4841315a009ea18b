"""Tests of the metrics that Prometheus reads, and of the log lines of fragments."""

import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import ray as ray_module

from tasks.runtime import cluster, metrics
from tests.support.prometheus import exported_names

DEADLINE_SECONDS = 60.0
"""Ray's processes report their metrics every ten seconds."""


def exported(expected: str) -> str:
    """Return the text of Ray's metrics endpoint as soon as it has a line.

    Args:
        expected: Regular expression of the line.
    """
    port = ray_module.nodes()[0]["MetricsExportPort"]
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text: str = answer.read().decode()
        if re.search(expected, text, re.MULTILINE):
            return text
        time.sleep(1)
    raise AssertionError(f"no line {expected!r}")


def test_rays_endpoint_exports_every_metric(
    ray: None, caplog: pytest.LogCaptureFixture
) -> None:
    def write(unit: SimpleNamespace) -> dict[str, Any]:
        return {"files": [{"bytes": 100 * unit.rows}]}

    units = [SimpleNamespace(index=i, rows=i) for i in (7, 8)]
    task = "exported: rows"
    with caplog.at_level("INFO", logger="tasks.runtime.metrics"):
        done = cluster.stream_actors(
            lambda: write, units, what=task, units=lambda unit: unit.rows
        )
        assert len(list(done)) == 2
    for name, metric in metrics.METRICS.items():
        metrics.record(name, 1, **dict.fromkeys(metric.tags, "every metric"))

    text = exported(f'^ray_chainrule_rows_total{{.*task="{task}".*}} 15.0')
    values = {
        "ray_chainrule_written_bytes_total": 1500.0,
        "ray_chainrule_fragment_seconds_count": 2.0,
        "ray_chainrule_fragments_remaining": 0.0,
    }
    for name, value in values.items():
        assert re.search(f'^{name}{{.*task="{task}".*}} {value}$', text, re.M), name
    for name in exported_names():
        assert re.search(f"^{name}{{", text, re.MULTILINE), name

    lines = sorted(record.getMessage() for record in caplog.records)
    assert len(lines) == 2
    assert re.fullmatch(
        r'fragment task="exported: rows" fragment=7 rows=7 bytes=700 '
        r"seconds=[\d.]+ node=[\d.]+",
        lines[0],
    )
    fields: Any = [record.fragment for record in caplog.records]  # type: ignore[attr-defined]
    assert {field["fragment"]: field["bytes"] for field in fields} == {7: 700, 8: 800}


Recorded = list[tuple[str, float, dict[str, str]]]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Return what is recorded in place of being exported."""
    found: Recorded = []

    def record(name: str, value: float, **tags: str) -> None:
        found.append((name, value, tags))

    monkeypatch.setattr(metrics, "record", record)
    return found


@pytest.mark.parametrize(("fault", "outcome"), [("raises", "failed"), ("dies", "lost")])
def test_fragments_that_fail_or_are_lost_are_counted(
    ray: None, recorded: Recorded, fault: str, outcome: str
) -> None:
    def make() -> Callable[[int], int]:
        def call(item: int) -> int:
            if fault == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("not readable")

        return call

    with pytest.raises((ValueError, RuntimeError)):
        list(cluster.stream_actors(make, [1], what="fault: rows"))
    counted = [tags for name, _, tags in recorded if name == "chainrule_fragments"]
    assert counted
    assert {tags["outcome"] for tags in counted} == {outcome}


def test_only_files_of_a_result_have_a_size() -> None:
    files = [{"bytes": 3}, {"bytes": 4}]
    assert metrics.written_bytes({"files": files}) == 7
    assert metrics.written_bytes(SimpleNamespace(files=files)) == 7
    assert metrics.written_bytes([1, 2]) == 0
