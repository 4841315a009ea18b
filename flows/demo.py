"""The demo: the New York flights of 2013, from raw rows to strange ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from flows import flights, jobs, words
from flows.terminal import Terminal
from tasks.config import Config

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
    result = jobs.run("retrain", config)
    result |= jobs.run("score", config)
    result |= jobs.run("sample", config)
    terminal.result(result, summary(config, result))
    return result


def summary(config: Config, result: Result) -> str:
    """What came out, in plain words with rich markup."""
    lines = ["", "[bold]Speed[/]"]
    for step in ("prepare", "train", "evaluate", "score", "sample"):
        lines.append(f"  {step:<9} {words.pace(result[step])}")
    lines += ["", "[bold]The strangest flights of October to December[/]"]
    for i, row in enumerate(result["score"]["strangest"], start=1):
        lines.append(f"  {i}. {flight(row)}")
        lines += [f"     {line}" for line in words.blame(row["explanation"], LABELS)]
    return "\n".join(lines)


def flight(row: Result) -> str:
    """Which flight a strange row is."""
    ids = row["ids"]
    return escape(
        f"{ids['carrier']} {ids['flight']} from {ids['origin']} to {ids['dest']}, "
        f"{ids['time_hour']}"
    )
