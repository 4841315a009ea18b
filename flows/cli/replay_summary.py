"""Describe the results of a replay as text with rich markup."""

from rich.markup import escape

from flows.deploy.replay import MODELS, ReplayOutcome
from flows.outcomes import Json


def describe(outcome: ReplayOutcome) -> str:
    """Return promotions, drift and the mean negative log-likelihood of each model."""
    partitions = outcome.partitions
    lines = [
        f"{len(partitions)} partitions, "
        f"{sum(p['promoted'] for p in partitions)} promotions, "
        f"{sum(has_drifted(p) for p in partitions)} drifted"
    ]
    compared = [p for p in partitions if p["champion"] and p["challenger"]]
    if compared:
        rows = sum(p["rows"] for p in compared)
        lines.append("mean NLL of unseen rows after the first partition")
        for model in MODELS:
            total = sum(p[model]["nll"] * p["rows"] for p in compared)
            lines.append(f"  {model:<16} {total / rows:.3f} nats per row")
    return "\n".join([*lines, f"chart      {escape(outcome.chart)}"])


def line(partition: Json) -> str:
    """Return one line about a partition: verdicts and the NLL of its unseen rows."""
    figures = ", ".join(
        f"{model} {partition[model]['nll']:.3f}"
        for model in MODELS
        if partition[model] is not None
    )
    promoted = "[green]promoted[/]" if partition["promoted"] else "[yellow]refused[/]"
    drift = "[red]drift[/]" if has_drifted(partition) else "     "
    return (
        f"{escape(partition['partition']):<12} {promoted}  {drift}  NLL of "
        f"{partition['rows']:,} unseen rows: {figures}"
    )


def has_drifted(partition: Json) -> bool:
    """Return whether a partition had drifted from the data of the champion."""
    return partition["drift"] is not None and partition["drift"]["verdict"] == "drift"
