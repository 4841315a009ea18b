"""Tests of failed and unreadable runs of Ray Train."""

import logging
from pathlib import Path

import pytest
from ray import train as ray_train

from tasks.training import driver


def test_failures_are_told_in_a_line_for_each_worker() -> None:
    stack = "Traceback (most recent call last):\n  File x\nValueError: bad rows\n"
    error = ray_train.WorkerGroupError(
        "text", {1: RuntimeError("connection reset\nby peer"), 0: RuntimeError(stack)}
    )

    messages = driver.describe_failure(error)

    assert "worker 0: ValueError: bad rows; worker 1: connection reset; if" in messages


def test_half_written_records_of_ray_start_training_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / driver.SNAPSHOT).write_text('{"ray_version": "2.')

    with caplog.at_level(logging.WARNING):
        driver.discard_unreadable(str(tmp_path / "run"))

    assert "training starts over" in caplog.text
    assert not (tmp_path / "run").exists()
