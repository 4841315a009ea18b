"""Tests of failed and unreadable runs of Ray Train."""

import logging
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import train as ray_train

from tasks.runtime import metrics
from tasks.training import driver


def test_failures_are_told_in_a_line_for_each_worker() -> None:
    stack = "Traceback (most recent call last):\n  File x\nValueError: bad rows\n"
    error = ray_train.WorkerGroupError(
        "text", {1: RuntimeError("connection reset\nby peer"), 0: RuntimeError(stack)}
    )

    messages = driver.describe_failure(error)

    assert "worker 0: ValueError: bad rows; worker 1: connection reset; if" in messages


def test_steps_are_counted_once_and_not_again_after_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    epoch = {"epoch": 1, "train_nll": 2.0, "valid_nll": 3.0, "rows_per_s": 500.0}
    messages = [
        *(("steps", (step, 100)) for step in (10, 25, 20, 30)),
        ("epoch", epoch),
        ("epoch", epoch),
        (driver.END, None),
    ]
    queue: Any = SimpleNamespace(get=lambda timeout: messages.pop(0))
    found: list[tuple[str, float]] = []

    def record(name: str, value: float, **tags: str) -> None:
        found.append((" ".join([name, *tags.values()]), value))

    monkeypatch.setattr(metrics, "record", record)
    driver.pass_on_messages(queue, Future(), lambda _: None)
    steps = [value for name, value in found if name == "chainrule_training_steps"]
    assert sum(steps) == 15 + 10
    assert found[len(steps) :] == [
        ("chainrule_training_rows_per_second", 500.0),
        ("chainrule_training_nll train", 2.0),
        ("chainrule_training_nll valid", 3.0),
    ]


def test_a_change_of_the_number_of_workers_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    messages = [*(("workers", count) for count in (4, 4, 3)), (driver.END, None)]
    queue: Any = SimpleNamespace(get=lambda timeout: messages.pop(0))
    found: list[float] = []
    monkeypatch.setattr(metrics, "record", lambda name, value: found.append(value))
    driver.pass_on_messages(queue, Future(), lambda _: None)
    assert found == [4, 4, 3]
    told = [record.getMessage() for record in caplog.records]
    assert told == ["training goes on with 3 workers"]


def test_half_written_records_of_ray_start_training_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / driver.SNAPSHOT).write_text('{"ray_version": "2.')

    with caplog.at_level(logging.WARNING):
        driver.discard_unreadable(str(tmp_path / "run"))

    assert "training starts over" in caplog.text
    assert not (tmp_path / "run").exists()
