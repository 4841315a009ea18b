"""Alerts about flagged rows and drift, sent once per result and receiver."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import blocks
from flows.outcomes import Alert
from tasks.config.root import Config
from tasks.runtime import manifest, storage, webhooks
from tasks.runtime.redaction import redact

if TYPE_CHECKING:
    from tasks.monitoring.monitor import MonitorResult
    from tasks.registry.downloads import ModelInfo

logger = logging.getLogger(__name__)

FOLDER = "alerts"
"""Directory, within the results of a dataset, of what says which alerts were sent."""

ANOMALIES, DRIFT = "chainrule.anomalies", "chainrule.drift"
"""Kinds of alerts."""

Json = dict[str, Any]  # JSON values


def alert_of_anomalies(
    config: Config, model: ModelInfo, folder: str
) -> tuple[Alert, ...]:
    """Send an alert if scored rows were flagged.

    Args:
        config: Configuration of the dataset and of alerts.
        model: The version that scored.
        folder: Directory of the scored rows.
    """
    if not config.alerts.receivers:
        return ()
    scored = storage.read_json(storage.join(folder, manifest.MANIFEST))
    if scored["anomalies"] < config.alerts.min_anomalies:
        return ()
    shown = min(scored["anomalies"], config.alerts.rows)
    rule = " ".join(f"{kind} {value:g}" for kind, value in scored["rule"].items())
    rows = [
        {
            **{k: row[k] for k in ("source", "row", "ids", "p_value", "severity")},
            "anomaly_score": row["anomaly_score"],
            "reasons": row["explanation"],
        }
        for row in scored["most_anomalous"][:shown]
    ]
    text = (
        f"{config.name}: {scored['anomalies']:,} of {scored['rows_out']:,} rows "
        f"flagged ({rule}) by {model.uri}"
    )
    content = {
        "event": ANOMALIES,
        "dataset": config.name,
        "model": model.uri,
        "input": scored["input"],
        "rows": scored["rows_out"],
        "anomalies": scored["anomalies"],
        "rule": scored["rule"],
        "most_anomalous": rows,
        "results": uri_of(folder),
    }
    lines = [text, *map(describe_row, rows), f"results: {content['results']}"]
    return send(config, scored["job_key"], content, lines)


def alert_of_drift(
    config: Config, model: ModelInfo, monitored: MonitorResult
) -> tuple[Alert, ...]:
    """Send an alert if there is drift.

    Args:
        config: Configuration of the dataset and of alerts.
        model: The version whose reference data rows were compared with.
        monitored: The result of the comparison.
    """
    if not config.alerts.receivers or monitored.verdict != "drift":
        return ()
    source = config.monitor.input or config.data.path
    content = {
        "event": DRIFT,
        "dataset": config.name,
        "model": model.uri,
        "input": source,
        "rows": monitored.rows_out,
        "reasons": monitored.reasons,
        "periods": [
            {k: period[k] for k in ("period", "rows", "verdict", "new_categories")}
            for period in monitored.periods
        ],
        "page": uri_of(monitored.page),
        "results": uri_of(monitored.path),
    }
    text = f"{config.name}: {monitored.rows_out:,} rows drifted from {model.uri}"
    lines = [text, *monitored.reasons[:5], f"page: {content['page']}"]
    return send(config, monitored.key, content, lines)


def send(
    config: Config, key: str, content: Json, lines: list[str]
) -> tuple[Alert, ...]:
    """Send an alert to each receiver that has not got it yet.

    An alert that cannot be sent is a warning, since the results are complete; the next
    run of the command with the same result sends it again.

    Args:
        config: Configuration of the dataset and of alerts.
        key: Job key of the result, which identifies the alert.
        content: The alert as a JSON object.
        lines: The alert as text; the first line says what has happened.
    """
    root = storage.join(config.resources.storage, config.name, FOLDER)
    path = storage.join(root, f"{key}.json")
    told: list[str] = storage.read_json(path) if storage.exists(path) else []
    text = "\n".join(lines)
    alerts = []
    for receiver in config.alerts.receivers:
        if receiver in told:
            continue
        error = _deliver(config, receiver, text, {"text": text, **content})
        if error is None:
            told.append(receiver)
            storage.write_json(path, told)
        alerts.append(Alert(receiver, lines[0], error))
    return tuple(alerts)


def _deliver(config: Config, receiver: str, text: str, content: Json) -> str | None:
    """Send an alert to one receiver and return what went wrong, or None."""
    try:
        if receiver == "webhook":
            assert config.alerts.webhook is not None
            webhooks.post(config.alerts.webhook.get_secret_value(), content)
        else:
            blocks.send(receiver, text, content)
    except Exception as error:  # whatever a block of any type may raise
        reason = redact(f"{type(error).__name__}: {error}")
        logger.warning("the alert to %s was not sent: %s", receiver, reason)
        return reason
    return None


def describe_row(row: Mapping[str, Any]) -> str:
    """Return the place and the ids of a flagged row, and why it is anomalous."""
    ids = " ".join(f"{name}={value}" for name, value in row["ids"].items())
    reasons = ", ".join(
        f"{reason['column']} {reason['value']} (expected {reason['expected']})"
        for reason in row["reasons"] or ()
    )
    place = f"{row['source']} row {row['row']}"
    severity = "" if row["severity"] is None else f" severity {row['severity']:.4g}:"
    return f"{place}{' ' if ids else ''}{ids}{severity} {reasons}".strip()


def uri_of(path: str) -> str:
    """Return the URI of a path of results, local or s3://."""
    return path if "://" in path else Path(path).absolute().as_uri()
