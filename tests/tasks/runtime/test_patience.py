"""Tests of what is said while the outside does not answer."""

import threading

import pytest

from tasks.runtime.patience import waiting_for, within


def test_a_long_silence_is_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    said = threading.Event()
    caplog.handler.addFilter(lambda record: said.set() or True)
    with waiting_for("MLflow at http://me:password@tracking", seconds=0.01):
        assert said.wait(10)
    assert caplog.messages[0].startswith("MLflow at http://***@tracking has taken")


def test_an_answer_in_time_is_not_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    with waiting_for("MLflow", seconds=60):
        pass
    assert caplog.messages == []


def test_a_function_that_takes_too_long_is_given_up() -> None:
    never = threading.Event()
    with pytest.raises(TimeoutError, match="no answer within 0.01 s"):
        within(0.01, lambda: never.wait(30))
    never.set()


def test_values_and_errors_are_passed_on() -> None:
    assert within(30, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(30, lambda: 1 // 0)
