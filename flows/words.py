"""What the steps returned, in plain words with rich markup."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

Result = Mapping[str, Any]
"""What a step, or all steps of a flow by name, returned; JSON-able."""


def text(results: Result) -> str:
    """What a flow did, a paragraph for each of its steps."""
    tell = {
        "prepare": prepared,
        "train": trained,
        "evaluate": judged,
        "register": registered,
        "score": scored,
        "sample": sampled,
        "embed": embedded,
    }
    parts = [words(results[step]) for step, words in tell.items() if step in results]
    if "report" in results:
        parts.append(f"report     {escape(results['report'])}")
    return "\n".join(parts)


def prepared(step: Result) -> str:
    """What became of the rows."""
    rows = step["rows"]
    counts = ", ".join(f"{count:,} {split}" for split, count in rows.items())
    left_out = [name for name, kind in step["columns"].items() if kind == "left out"]
    lines = [f"[bold]prepare[/]    {sum(rows.values()):,} rows: {counts}; {pace(step)}"]
    if left_out:
        lines.append(f"           left out: {escape(', '.join(left_out))}")
    if step["quarantined"] or step["bad_files"]:
        lines.append(
            f"           [yellow]in quarantine: {step['quarantined']:,} rows, "
            f"{len(step['bad_files'])} files[/]"
        )
    lines.append(f"           {escape(step['path'])}")
    return "\n".join(lines)


def trained(step: Result) -> str:
    """How training ended."""
    return (
        f"[bold]train[/]      {step['epochs']} epochs, valid NLL "
        f"{step['valid_nll']:.4f} nats per row; {pace(step)}\n"
        f"           {escape(step['path'])}"
    )


def judged(step: Result) -> str:
    """What the held-out rows said."""
    figures = step["metrics"]
    return (
        f"[bold]evaluate[/]   test NLL [bold]{figures['test/nll']:.4f}[/] nats per "
        f"row, independent columns {figures['test/independent_nll']:.4f}: "
        f"[bold]{gain(figures['test/gain'], 4)}[/]; {pace(step)}\n"
        f"           {escape(step['path'])}"
    )


def gain(nats: float, digits: int) -> str:
    """By how much a model beats independent columns, or is beaten by them."""
    return f"{abs(nats):.{digits}f} nats {'better' if nats >= 0 else 'worse'}"


def registered(step: Result) -> str:
    """Which version it became."""
    colour = "green" if step["promoted"] else "yellow"
    return (
        f"[bold]register[/]   {escape(step['uri'])} is [{colour}]{step['alias']}[/]: "
        f"{escape(step['reason'])}"
    )


def scored(step: Result) -> str:
    """What was found in the scored rows."""
    lines = [
        f"[bold]score[/]      {step['rows_out']:,} rows, {step['anomalies']:,} "
        f"anomalies, {step['rows_quarantined']:,} in quarantine; {pace(step)}",
        f"           {escape(step['path'])}",
    ]
    for number, row in enumerate(step["strangest"], start=1):
        lines.append(f"  {number}. {escape(strange(row))}")
        lines += [f"     {line}" for line in blame(row["explanation"], {})]
    return "\n".join(lines)


def sampled(step: Result) -> str:
    """How many rows were drawn."""
    return (
        f"[bold]sample[/]     {step['rows_out']:,} rows; {pace(step)}\n"
        f"           {escape(step['path'])}"
    )


def embedded(step: Result) -> str:
    """Of how many rows there are features."""
    return (
        f"[bold]embed[/]      {step['rows_out']:,} rows, {step['features']:,} "
        f"features, {step['rows_quarantined']:,} in quarantine; {pace(step)}\n"
        f"           {escape(step['path'])}"
    )


def pace(step: Result) -> str:
    """How fast a step was, or that there was nothing left to do."""
    if step["done"]:
        return "[green]already done[/]"
    if "rows_per_s" in step:
        return f"{step['seconds']:.1f} s, {step['rows_per_s']:,.0f} rows/s"
    return f"{step['seconds']:.1f} s"


def strange(row: Result) -> str:
    """Which row a strange one is: its carried columns, or where it came from."""
    ids = ", ".join(f"{name}={value}" for name, value in row["ids"].items())
    return ids or f"row {row['row']} of {row['source']}"


def blame(explanation: Sequence[Result], labels: Mapping[str, str]) -> list[str]:
    """The columns to blame for a strange row, a line each.

    Args:
        explanation: The columns, strangest first, with value and expectation.
        labels: What columns are called in plain words; their names if not here.
    """
    return [
        f"{escape(labels.get(each['column'], each['column']))} was "
        f"[bold]{escape(str(each['value']))}[/], "
        f"expected {escape(str(each['expected']))} ({each['contribution']:+.1f} nats)"
        for each in explanation
    ]
