"""Metrics that Ray exports to Prometheus, and a log line for each fragment.

Ray's metrics endpoint on each node adds the prefix `ray_` to the names, and `_total` to
those of counters. `infra/grafana/chainrule.json` is a dashboard of these metrics.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tasks.runtime.deferred import DeferredModule

if TYPE_CHECKING:
    import ray
    from ray.util import metrics as ray_metrics
else:  # Modules of tasks import this one whether they use Ray or not.
    ray = DeferredModule("ray")
    ray_metrics = DeferredModule("ray.util.metrics")

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Bounds of the buckets of histograms, in seconds."""


@dataclass(frozen=True)
class Metric:
    """The definition of a Prometheus metric.

    Attributes:
        kind: Type of the metric in Prometheus.
        description: What is measured, with its unit.
        tags: Names of the labels.
    """

    kind: Literal["counter", "gauge", "histogram"]
    description: str
    tags: tuple[str, ...] = ()


METRICS = {
    "chainrule_rows": Metric("counter", "Rows processed by parallel work.", ("task",)),
    "chainrule_fragments": Metric(
        "counter",
        "Fragments by outcome: done, failed (raised an error) or lost (the process "
        "died; the fragment is repeated).",
        ("task", "outcome"),
    ),
    "chainrule_fragments_remaining": Metric(
        "gauge", "Fragments that are not done yet.", ("task",)
    ),
    "chainrule_fragment_seconds": Metric(
        "histogram", "Processing time of a fragment in seconds.", ("task", "node")
    ),
    "chainrule_written_bytes": Metric(
        "counter", "Bytes of the files written by parallel work.", ("task",)
    ),
    "chainrule_training_steps": Metric("counter", "Training steps."),
    "chainrule_training_rows_per_second": Metric(
        "gauge", "Rows per second of the last training epoch."
    ),
    "chainrule_training_workers": Metric("gauge", "Training processes."),
    "chainrule_training_nll": Metric(
        "gauge", "Mean NLL of the last training epoch in nats per row.", ("split",)
    ),
}
"""Definitions of all metrics of this project by name."""


@dataclass(frozen=True)
class Measured:
    """The result of a call in a Ray worker, and what the call took.

    Attributes:
        result: What the function returned.
        seconds: Wall-clock time of the call.
        node: IP address of the node.
    """

    result: Any
    seconds: float
    node: str


def measure(function: Callable[[Item], Any], items: Sequence[Item]) -> list[Measured]:
    """Call a function on some items in a Ray worker and measure every call.

    Args:
        function: The function.
        items: Its arguments.
    """
    results = []
    for item in items:
        began = time.monotonic()
        result = function(item)
        results.append(Measured(result, time.monotonic() - began, _node_address()))
    return results


@functools.cache
def _node_address() -> str:
    address: str = ray.util.get_node_ip_address()
    return address


def record(name: str, value: float, **tags: str) -> None:
    """Record a value of a metric on this node's metrics endpoint.

    Args:
        name: Name in `METRICS`.
        value: Increment of a counter, new value of a gauge or sample of a histogram.
        **tags: A value for each tag of the metric.
    """
    metric = _registered(name)
    kind = METRICS[name].kind
    if kind == "gauge":
        metric.set(value, tags)
    elif kind == "histogram":
        metric.observe(value, tags)
    elif value:  # Ray refuses increments of 0.
        metric.inc(value, tags)


@functools.cache
def _registered(name: str) -> Any:  # a metric of Ray
    """Register a metric with Ray at its first use in this process."""
    metric = METRICS[name]
    about = (name, metric.description)
    if metric.kind == "histogram":
        return ray_metrics.Histogram(*about, list(SECONDS), metric.tags)
    if metric.kind == "gauge":
        return ray_metrics.Gauge(*about, metric.tags)
    return ray_metrics.Counter(*about, metric.tags)


def record_fragment(task: str, number: int, rows: int, measured: Measured) -> None:
    """Record a finished fragment in the metrics and in a line of the log.

    The record has the attribute `fragment` with the same fields, for logging handlers
    that write JSON; the console and Prefect leave it out.

    Args:
        task: What is done, such as "score: rows".
        number: Number of the fragment.
        rows: Number of its rows.
        measured: Result of the call that processed it.
    """
    size = written_bytes(measured.result)
    record("chainrule_rows", rows, task=task)
    record("chainrule_written_bytes", size, task=task)
    record("chainrule_fragments", 1, task=task, outcome="done")
    record(
        "chainrule_fragment_seconds", measured.seconds, task=task, node=measured.node
    )
    fields = {
        "task": task,
        "fragment": number,
        "rows": rows,
        "bytes": size,
        "seconds": round(measured.seconds, 3),
        "node": measured.node,
    }
    logger.info(
        'fragment task="%(task)s" fragment=%(fragment)d rows=%(rows)d bytes=%(bytes)d '
        "seconds=%(seconds)s node=%(node)s",
        fields,
        extra={"fragment": fields},
    )


def written_bytes(result: Any) -> int:  # whatever a call returned
    """Return the size of the files that a call wrote, from their manifest entries."""
    if isinstance(result, dict):
        files = result.get("files", ())
    else:
        files = getattr(result, "files", ())
    return sum(entry["bytes"] for entry in files)
