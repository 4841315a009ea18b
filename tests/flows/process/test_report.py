"""Tests of what a supervised command reports, and that only it can report."""

import os
from pathlib import Path

import pytest

from flows.process import report
from tasks.runtime.spans import Span


def test_the_log_the_phases_and_the_end_are_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    monkeypatch.setenv(report.VARIABLE, f"{writing} {os.getppid()}")
    spans = (Span("import torch", 1.5, 0.25, 1), Span("command", 1.0, 2.0))
    report.tell_log(Path("/logs/a.log"))
    report.tell_spans(spans)
    report.tell_end()
    os.close(writing)
    assert report.read(reading) == report.Report(True, Path("/logs/a.log"), spans)
    os.close(reading)


def test_the_last_spans_fit_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setenv(report.VARIABLE, f"{writing} {os.getppid()}")
    spans = [Span(f"import {'x' * 60} {i}", 1e9 + i / 3, 1 / 3) for i in range(900)]
    report.tell_spans(spans)
    report.tell_end()
    os.close(writing)
    found = report.read(reading)
    os.close(reading)
    assert found.ended
    assert list(found.spans) == spans[-report.MAX_SPANS :]
