"""Tests of the phases of a command."""

import re
import threading

import pytest

from tasks.runtime import spans
from tasks.runtime.spans import Span, span


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Span]:
    found: list[Span] = []
    monkeypatch.setattr(spans, "RECORDED", found)
    return found


def test_spans_are_nested_by_thread(recorded: list[Span]) -> None:
    def other() -> None:
        with span("other"):
            pass

    with span("outer"):
        with span("inner"):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert [(s.name, s.depth) for s in recorded] == [
        ("inner", 1),
        ("other", 0),
        ("outer", 0),
    ]
    assert recorded[0].seconds <= recorded[2].seconds


def test_a_phase_that_fails_is_recorded(recorded: list[Span]) -> None:
    with pytest.raises(KeyError), span("failing"):
        raise KeyError
    assert [s.name for s in recorded] == ["failing"]


def test_the_table_covers_the_whole_command() -> None:
    with span(spans.COMMAND), span("work"):
        pass
    lines = spans.to_table(spans.RECORDED).splitlines()
    names = [re.split(r"\s{2,}", line.strip())[0] for line in lines]
    assert names == [
        "phase",
        "start of the processes",
        "command",
        "work",
        "end of the processes",
        "whole command",
    ]
    seconds = [float(line.split()[-1]) for line in lines[1:]]
    assert sum(seconds[i] for i in (0, 1, 3)) == pytest.approx(seconds[-1], abs=0.1)
