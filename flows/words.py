"""What the steps returned, in plain words with rich markup."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

NAMED = 8
"""Reasons for drift that are told, at most; the page has all."""

Result = Mapping[str, Any]
"""What a step, or all steps of a flow by name, returned; JSON-able."""


def text(results: Result) -> str:
    """What a flow did, a paragraph for each of its steps."""
    tell = {
        "prepare": prepared,
        "contract": fitting,
        "train": trained,
        "evaluate": judged,
        "gate": gated,
        "fidelity": compared,
        "register": registered,
        "score": scored,
        "backfill": backfilled,
        "monitor": monitored,
        "compare": weighed,
        "sample": sampled,
        "embed": embedded,
        "impute": imputed,
    }
    parts = [words(results[step]) for step, words in tell.items() if step in results]
    if "report" in results:
        parts.append(f"report     {escape(results['report'])}")
    if results.get("unchanged"):
        parts.append(
            "[green]nothing new[/]: the same data and configuration as before, so "
            "nothing was done again"
        )
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


def fitting(step: Result) -> str:
    """Whether the data is fit to learn from."""
    if step["fit"]:
        return f"[bold]contract[/]   {escape(step['reason'])}"
    lines = ["[bold]contract[/]   [yellow]the data is not as it was[/]"]
    for check in step["checks"]:
        if not check["passed"]:
            failed = f"{check['name']}: {check['remark']}"
            lines.append(f"           [yellow]{escape(failed)}[/]")
    if not step["passed"]:
        lines.append(
            "           nothing was trained; if it is meant so, "
            "[bold]--set contract.on_failure=warn[/]"
        )
    return "\n".join(lines)


def trained(step: Result) -> str:
    """How training ended."""
    lines = [
        f"[bold]train[/]      {step['epochs']} epochs, valid NLL "
        f"{step['valid_nll']:.4f} nats per row; {pace(step)}"
    ]
    if begin := step.get("start"):
        lines.append(
            f"           went on from the champion, on {begin['new']:,} new rows and "
            f"{begin['old']:,} of {begin['old_of']:,} that it knew"
        )
    return "\n".join([*lines, f"           {escape(step['path'])}"])


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


def gated(step: Result) -> str:
    """What the challenger had to show, and what it failed to."""
    lines = [
        f"[bold]gate[/]       {len(step['checks'])} checks on {step['rows']:,} "
        f"held-out rows; {pace(step)}"
    ]
    for check in step["checks"]:
        if not check["passed"]:
            failed = f"{check['name']}: {check['remark']}"
            lines.append(f"           [yellow]{escape(failed)}[/]")
    return "\n".join(lines)


def moved(result: Result) -> str:
    """Which versions are champion and previous now."""
    name = escape(result["name"])
    lines = [f"models:/{name}/{result['champion']} is [green]champion[/]"]
    if result.get("done"):
        lines[0] += ", as before"
    if result["previous"] is not None:
        lines.append(f"models:/{name}/{result['previous']} is previous")
    if "withdrawn" in result:
        lines.append(
            f"models:/{name}/{result['withdrawn']} was rolled back and comes back only "
            "with [bold]chainrule promote[/]"
        )
    return "\n".join(lines)


def deployed(result: Result) -> str:
    """What a deployment changed, or would."""
    colours = {"create": "green", "update": "yellow", "delete": "red"}
    lines = []
    for each in result["changes"]:
        colour = colours.get(each["change"], "dim")
        fields = f" ({', '.join(each['fields'])})" if "fields" in each else ""
        lines.append(
            f"[{colour}]{each['change']:<10}[/]{each['kind']} {escape(each['name'])}"
            f"{escape(fields)}"
        )
    if result["dry_run"]:
        lines.append("nothing was changed: --dry-run")
    elif "pool" in result:
        pool = escape(result["pool"])
        lines.append(f"a worker is needed: [bold]prefect worker start --pool {pool}[/]")
    return "\n".join(lines or ["there was nothing"])


def compared(step: Result) -> str:
    """How much synthetic rows are like real ones."""
    figures = {k.removeprefix("samples/"): v for k, v in step["metrics"].items()}
    told = ", ".join(
        f"{name.replace('_', ' ')} {value:.3f}" for name, value in figures.items()
    )
    return (
        f"[bold]samples[/]    {step['rows']['synthetic']:,} rows: {escape(told)}; "
        f"{pace(step)}\n           {escape(step['page'])}"
    )


def registered(step: Result) -> str:
    """Which version it became."""
    colour = "green" if step["promoted"] else "yellow"
    lines = [
        f"[bold]register[/]   {escape(step['uri'])} is "
        f"[{colour}]{step['alias'] or 'refused'}[/]: {escape(step['reason'])}"
    ]
    if step["person"]:
        _, name, number = step["uri"].split("/")
        lines.append(
            "           a person has to decide: "
            f"[bold]chainrule promote {escape(name)} {number} --reason ...[/]"
        )
    return "\n".join(lines)


def scored(step: Result) -> str:
    """What was found in the scored rows."""
    lines = [
        f"[bold]score[/]      {step['rows_out']:,} rows, {step['anomalies']:,} "
        f"anomalies ({rule(step['rule'])}), {step['rows_quarantined']:,} in "
        f"quarantine; {pace(step)}",
        f"           {escape(step['path'])}",
    ]
    few = [segment["value"] for segment in step["segments"] if not segment["own"]]
    if few:
        lines.append(
            f"           [yellow]compared with all calibration rows, having too few "
            f"of their own: {escape(listed(few))}[/]"
        )
    for number, row in enumerate(step["strangest"], start=1):
        lines.append(f"  {number}. {escape(strange(row))}")
        lines += [f"     {line}" for line in blame(row["explanation"], {})]
    return "\n".join(lines)


def backfilled(step: Result) -> str:
    """How many partitions were scored, and which were the last."""
    lines = [
        f"[bold]backfill[/]   {len(step['scored'])} of {step['partitions']} partitions "
        f"were new: {step['rows_out']:,} rows, {step['anomalies']:,} anomalies, "
        f"{step['rows_quarantined']:,} in quarantine; {pace(step)}"
    ]
    if step["scored"]:
        first, last = escape(step["scored"][0]), escape(step["scored"][-1])
        lines.append(f"           {first}" + (f" to {last}" if first != last else ""))
    return "\n".join([*lines, f"           {escape(step['path'])}"])


def monitored(step: Result) -> str:
    """Whether rows have changed, and which columns."""
    colour = {"drift": "red", "stable": "green"}.get(step["verdict"], "yellow")
    lines = [
        f"[bold]monitor[/]    {step['rows_out']:,} rows: [{colour}]{step['verdict']}[/]"
        f", {step['rows_quarantined']:,} unreadable; {pace(step)}"
    ]
    lines += [f"           {escape(reason)}" for reason in step["reasons"][:NAMED]]
    if len(step["reasons"]) > NAMED:
        lines.append(f"           and {len(step['reasons']) - NAMED} more")
    for said in (step["remedy"], step["caution"]):
        if said:
            lines.append(f"           {escape(said)}")
    lines.append(f"           {escape(step['page'])}")
    return "\n".join(lines)


def weighed(step: Result) -> str:
    """Which of two models is better."""
    low, high = step["difference_interval"]
    first, second = step["nll"]
    return (
        f"[bold]compare[/]    {step['rows_out']:,} rows: NLL {first:.4f} and "
        f"{second:.4f} nats per row; the first model is "
        f"[bold]{gain(step['difference'], 4)}[/] ({low:+.4f} to {high:+.4f}); "
        f"{pace(step)}\n"
        f"           {escape(step['page'])}"
    )


def rule(said: Result) -> str:
    """What an anomaly is."""
    ((kind, value),) = said.items()
    if kind == "threshold":
        return f"severity from {value:g}"
    if kind == "fdr":
        return f"q-value up to {value:g}"
    return (
        f"the strangest {value:,.0f}"
        if value >= 1
        else f"the strangest {100 * value:g} %"
    )


def listed(names: Sequence[str], most: int = 5) -> str:
    """Some names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


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


def imputed(step: Result) -> str:
    """How many cells were filled, and which could not be."""
    lines = [
        f"[bold]impute[/]     {step['rows_out']:,} rows, "
        f"{sum(step['filled'].values()):,} cells filled; {pace(step)}"
    ]
    for what in ("filled", "left"):
        cells = [f"{name} {count:,}" for name, count in step[what].items()]
        if cells:
            note = "" if what == "filled" else " (not modelled, left empty)"
            lines.append(f"           {escape(', '.join(cells))}{note}")
    lines.append(f"           {escape(step['path'])}")
    return "\n".join(lines)


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
