"""The names of metrics in Prometheus."""

from tasks.runtime.metrics import METRICS

SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
}
"""What Ray appends to the names of metrics, by kind."""


def exported_names() -> set[str]:
    """Return the names under which Ray exports the metrics of this project."""
    return {
        f"ray_{name}{suffix}"
        for name, metric in METRICS.items()
        for suffix in SUFFIXES[metric.kind]
    }
