"""Tests of killed and interrupted commands: the next run ends with the same artifacts.

They take minutes: `make check-kill` kills the pipeline at ten moments and interrupts it
by SIGTERM and Ctrl-C. Single jobs are killed in the tests of `tasks`.
"""

import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.pipeline import LIMIT, Pipeline

pytestmark = pytest.mark.kill

POINTS = (
    "small/prepared/*/_job.json",
    "small/training/*/checkpoint_*",
    "small/models/*/_job.json",
    "small/evaluations/*/_job.json",
    "small/scored/*/part-00000.parquet",
)
"""Patterns of files whose appearance is a moment to kill."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise by the first moments and signals, as many as `--kills` says."""
    kills = metafunc.config.getoption("--kills")
    if "number" in metafunc.fixturenames:
        signals = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
        metafunc.parametrize(("number", "code"), signals[:kills])
    if "moment" in metafunc.fixturenames:
        shares = [(i + 0.5) / 5 for i in range(5)]
        # Every other one takes all processes at once.
        kinds = [(at, i % 2 == 0) for i, at in enumerate([*POINTS, *shares])]
        cases = [kinds[1], kinds[4], kinds[0], kinds[2], kinds[3], *kinds[5:]]
        metafunc.parametrize(("moment", "everything"), cases[:kills])


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, Any], float]:
    pipeline = Pipeline(tmp_path_factory.mktemp("undisturbed") / "job")
    seconds = pipeline.complete()
    assert pipeline.versions() == [(1,)]
    return pipeline.artifacts(), seconds


def test_a_killed_pipeline_ends_with_the_same_artifacts(
    tmp_path: Path,
    undisturbed: tuple[dict[str, Any], float],
    moment: str | float,
    everything: bool,
) -> None:
    expected, seconds = undisturbed
    pipeline = Pipeline(tmp_path / "job")
    at = moment if isinstance(moment, str) else moment * seconds
    assert pipeline.run_until(at, everything=everything)
    pipeline.complete()
    assert pipeline.versions() == [(1,)]
    artifacts = pipeline.artifacts()
    assert artifacts.keys() == expected.keys()
    for name, content in expected.items():
        assert artifacts[name] == content, name


def test_an_interrupted_command_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    pipeline = Pipeline(tmp_path / "job")
    process = pipeline.start("retrain")
    deadline = time.monotonic() + LIMIT
    while not list(pipeline.storage.glob(POINTS[1])):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert pipeline.alive() == set()
    assert not [path for path in pipeline.storage.rglob("*") if ".tmp-" in path.name]
    with sqlite3.connect(pipeline.storage / "prefect" / "prefect.db") as database:
        states = database.execute("select state_type from flow_run").fetchall()
    assert states == [("CRASHED",)]
    assert "interrupted" in (pipeline.folder / "output.txt").read_text()
