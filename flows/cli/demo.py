"""The demo: the New York flights of 2013, from raw rows to anomalies."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.markup import escape

from flows.cli import flights, formatting
from flows.cli.console import CommandConsole
from flows.outcomes import Outcome, RetrainOutcome, SampleOutcome, ScoreOutcome
from flows.process import runs
from tasks.config.resources import Resources
from tasks.config.root import Config

if TYPE_CHECKING:
    from tasks.inference.score import AnomalousRow

LABELS = {
    "dep_time": "the time of departure (HHMM)",
    "sched_dep_time": "the scheduled departure (HHMM)",
    "dep_delay": "the delay at departure (minutes)",
    "arr_time": "the time of arrival (HHMM)",
    "sched_arr_time": "the scheduled arrival (HHMM)",
    "arr_delay": "the delay at arrival (minutes)",
    "air_time": "the time in the air (minutes)",
    "distance": "the distance (miles)",
    "carrier": "the carrier",
    "flight": "the flight number",
    "tailnum": "the plane",
    "origin": "the origin",
    "dest": "the destination",
}
"""Names of the columns for readers."""


@dataclass(frozen=True, kw_only=True)
class DemoOutcome(Outcome):
    """Result of the demo.

    Attributes:
        retrain: The retraining on the flights of January to September.
        score: The scored flights of October to December.
        sample: The synthetic flights.
    """

    retrain: RetrainOutcome
    score: ScoreOutcome
    sample: SampleOutcome


def run(config: Config, console: CommandConsole) -> tuple[DemoOutcome, str]:
    """Write the flights, then retrain, score and sample.

    Args:
        config: Configuration of the demo.
        console: Where progress is shown.

    Returns:
        The outcome, and a summary with rich markup.
    """
    written = flights.write(str(Path(config.data.path).parent))
    already = ", already done" if written["done"] else ""
    console.print_line(f"{written['rows_out']:,} flights in {written['path']}{already}")
    outcome = DemoOutcome(
        retrain=cast(RetrainOutcome, runs.run_flow("retrain", config)),
        score=cast(ScoreOutcome, runs.run_flow("score", config)),
        sample=cast(SampleOutcome, runs.run_flow("sample", config)),
    )
    return outcome, describe(config, outcome)


def describe(config: Config, outcome: DemoOutcome) -> str:
    """Return a summary of the demo as text with rich markup."""
    retrained = outcome.retrain
    steps = {
        "prepare": retrained.prepare,
        "train": retrained.train,
        "evaluate": retrained.evaluate,
        "score": outcome.score.score,
        "sample": outcome.sample.sample,
    }
    return "\n".join(
        [
            "",
            *describe_quality(retrained),
            "",
            "[bold]The most anomalous flights of October to December[/]",
            *formatting.anomalies(
                outcome.score.score.most_anomalous, flight_name, LABELS
            ),
            "",
            "[bold]Speed[/]",
            *(f"  {n:<9} {formatting.pace(s)}" for n, s in steps.items() if s),
            "",
            "[bold]Results[/]",
            *describe_paths(config, outcome),
        ]
    )


def describe_quality(retrained: RetrainOutcome) -> list[str]:
    """Return lines on how well flights are predicted that the model has not seen."""
    if retrained.evaluate is None:
        return [retrained.summary()]
    metrics = retrained.evaluate.metrics
    return [
        f"[bold]{retrained.evaluate.rows:,} flights that the model had not seen[/]",
        f"  test log-likelihood  [bold]{-metrics['test/nll']:.2f}[/] nats per flight",
        f"  independent columns  {-metrics['test/independent_nll']:.2f} nats",
        f"  so the model is [bold]{formatting.gain(metrics['test/gain'], 2)}[/]; "
        f"{escape(retrained.summary())}",
    ]


def flight_name(row: AnomalousRow) -> str:
    """Return the name of a flight: carrier, number, airports and hour."""
    ids = row.ids
    hour = str(ids["time_hour"])[:13]
    return (
        f"{ids['carrier']} {ids['flight']} from {ids['origin']} to {ids['dest']}, "
        f"{hour} h UTC"
    )


def describe_paths(config: Config, outcome: DemoOutcome) -> list[str]:
    """Return lines with the paths of the results and the commands that show more."""
    root = config.resources.storage
    option = "" if root == Resources().storage else f" --storage {root}"
    retrained = outcome.retrain
    model = retrained.train.path if retrained.train else "none"
    return [
        f"  report         {escape(retrained.report or 'none')}",
        f"  model          {escape(model)}",
        f"  scored rows    {escape(outcome.score.score.path)}",
        f"  synthetic rows {escape(outcome.sample.sample.path)}",
        f"  versions       {command_name()} status{option}",
        f"  Prefect and MLflow: {command_name()} ui{option}",
    ]


def command_name() -> str:
    """Return how to call `chainrule` from the current directory."""
    own = Path(sys.executable).with_name("chainrule")
    found = shutil.which("chainrule")
    return "chainrule" if found and Path(found) == own else os.path.relpath(own)
