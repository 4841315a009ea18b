"""Tests of the phases of a command."""

import re
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

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


def test_phases_are_spans_of_a_tracer_provider(
    recorded: list[Span], monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    with (
        provider.get_tracer("prefect").start_as_current_span("flow run"),
        pytest.raises(KeyError),
        span("outer"),
        span("inner"),
    ):
        raise KeyError
    inner, outer, flow_run = exporter.get_finished_spans()
    assert (inner.name, outer.name) == ("inner", "outer")
    assert inner.parent is not None and outer.parent is not None
    assert inner.parent.span_id == outer.get_span_context().span_id
    assert outer.parent.span_id == flow_run.get_span_context().span_id
    assert inner.status.status_code is StatusCode.ERROR
    assert [found.name for found in recorded] == ["inner", "outer"]


def test_nothing_is_exported_while_opentelemetry_is_absent_or_being_imported(
    recorded: list[Span], monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished = ModuleType("opentelemetry.trace")
    unfinished.__spec__ = SimpleNamespace(_initializing=True)  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", unfinished)
    with span("early"):
        pass
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    with span("earlier"):
        pass
    assert [found.name for found in recorded] == ["early", "earlier"]
