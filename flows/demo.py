"""The demo: the New York flights of 2013, from raw rows to strange ones."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from flows import flights, jobs, words
from flows.terminal import Terminal
from tasks.config import Config, Resources

STEPS = ("prepare", "train", "evaluate", "score", "sample")

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
"""What the columns are called in plain words."""

Result = Mapping[str, Any]
"""What a step returned; JSON-able."""


def run(config: Config, terminal: Terminal) -> dict[str, Any]:  # JSON-able
    """Writes the data, retrains, scores, samples, and shows a summary."""
    written = flights.write(str(Path(config.data.path).parent))
    already = ", already done" if written["done"] else ""
    terminal.say(f"{written['rows_out']:,} flights in {written['path']}{already}")
    result = {
        **jobs.run("retrain", config),
        **jobs.run("score", config),
        **jobs.run("sample", config),
    }
    terminal.result(result, summary(config, result))
    return result


def summary(config: Config, result: Result) -> str:
    """What came out, in plain words with rich markup."""
    return "\n".join(
        [
            "",
            *quality(result),
            "",
            "[bold]The strangest flights of October to December[/]",
            *strange_flights(result["score"]["strangest"]),
            "",
            "[bold]Speed[/]",
            *(f"  {step:<9} {words.pace(result[step])}" for step in STEPS),
            "",
            "[bold]Where things are[/]",
            *places(config, result),
        ]
    )


def quality(result: Result) -> list[str]:
    """How well unseen flights are predicted."""
    figures = result["evaluate"]["metrics"]
    register = result["register"]
    return [
        f"[bold]{result['evaluate']['rows']:,} flights that the model had not seen[/]",
        f"  test log-likelihood  [bold]{-figures['test/nll']:.2f}[/] nats per flight",
        f"  independent columns  {-figures['test/independent_nll']:.2f} nats",
        f"  so the model is [bold]{words.gain(figures['test/gain'], 2)}[/]; "
        f"{escape(register['uri'])} is {register['alias']}: {register['reason']}",
    ]


def strange_flights(rows: Sequence[Result]) -> list[str]:
    """The strangest flights with the columns to blame."""
    lines = []
    for number, row in enumerate(rows, start=1):
        lines.append(f"  {number}. [bold]{escape(flight(row['ids']))}[/]")
        lines += [f"     {line}" for line in words.blame(row["explanation"], LABELS)]
    return lines


def flight(ids: Result) -> str:
    """Which flight a row is."""
    hour = str(ids["time_hour"])[:13]
    return (
        f"{ids['carrier']} {ids['flight']} from {ids['origin']} to {ids['dest']}, "
        f"{hour} h UTC"
    )


def places(config: Config, result: Result) -> list[str]:
    """Where the files, the report and the two user interfaces are."""
    root = config.resources.storage
    option = "" if root == Resources().storage else f" --storage {root}"
    return [
        f"  report         {escape(result['report'])}",
        f"  model          {escape(result['train']['path'])}",
        f"  scored rows    {escape(result['score']['path'])}",
        f"  synthetic rows {escape(result['sample']['path'])}",
        f"  versions       {command()} status{option}",
        f"  Prefect and MLflow: {command()} ui{option}",
    ]


def command() -> str:
    """How to call the command from here."""
    own = Path(sys.executable).with_name("chainrule")
    found = shutil.which("chainrule")
    return "chainrule" if found and Path(found) == own else os.path.relpath(own)
