"""Progress reports: a message for logs, and numbers for bars."""

import logging

import pytest

from tasks.runtime import progress


def test_a_report_has_a_message_and_numbers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress.report(logging.getLogger("job"), "score: rows", 40, 100)
    (record,) = caplog.records
    assert record.getMessage() == "score: rows 40 of 100"
    assert record.__dict__["progress"] == ("score: rows", 40, 100)
