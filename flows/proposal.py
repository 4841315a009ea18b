"""A first configuration for a dataset, with what was found out about each column."""

import re
from typing import Any

from tasks import prepare

ROWS = 100_000
"""Rows that are looked at."""

Entry = dict[str, Any]
"""What is known of a column, as in profile.json."""


def propose(path: str, name: str | None) -> str:
    """A commented YAML file for the dataset at `path`.

    Raises:
        ValueError: The dataset cannot be read, or no column of it can be modelled.
    """
    entries = prepare.preview(path, ROWS)
    kinds = {entry["kind"] for entry in entries}
    if kinds <= {"exclude", "left out"}:
        why = "; ".join(f"{entry['name']}: {entry['why']}" for entry in entries)
        raise ValueError(f"{path}: no column can be modelled: {why}")
    ids = [entry["name"] for entry in entries if entry["why"].startswith("a unique id")]
    excluded = [entry["name"] for entry in entries if entry["kind"] == "exclude"]
    return "\n".join(
        [
            "# Every key and its default: chainrule --help-config",
            f"name: {name or name_of(path)}",
            "data:",
            f"  path: {quoted(path)}",
            "  # Carried to the output, not modelled.",
            f"  id: {listed(ids)}",
            "  # Neither used nor carried.",
            f"  exclude: {listed(excluded)}",
            f"  # What was inferred from up to {ROWS:,} rows; name only what is wrong:",
            "  # binary, categorical, integer, real, timestamp, sequence (of text, its "
            "letters)",
            "  # or leave_out.",
            "  columns: {}",
            *(remark(entry) for entry in entries),
            "train:",
            "  epochs: 30",
            "",
        ]
    )


def name_of(path: str) -> str:
    """A name for the model: the last part of the path that has letters of its own."""
    parts = [re.sub(r"\.parquet$", "", part) for part in path.split("/")]
    words = [part for part in parts if re.search(r"[A-Za-z0-9]", part)]
    plain = [part for part in words if not re.search(r"[*?\[=]|^(all|data)$", part)]
    last = (plain or words or ["model"])[-1]
    return re.sub(r"[^A-Za-z0-9_-]+", "_", last).strip("_-") or "model"


def remark(entry: Entry) -> str:
    """A comment that says what a column was taken for."""
    kind = "leave_out" if entry["kind"] == "left out" else entry["kind"]
    nulls = f", {entry['missing']:,} null" if entry.get("missing") else ""
    return (
        f"  #   {quoted(entry['name'])}: {{kind: {kind}}}"
        f"  # {entry['type']}, {entry['why']}{nulls}"
    )


def listed(names: list[str]) -> str:
    """A YAML list in one line."""
    return "[" + ", ".join(quoted(name) for name in names) + "]"


def quoted(text: str) -> str:
    """A YAML string, in quotes where it needs them."""
    plain = re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_./ -]*", text)
    reserved = text.lower() in {"null", "true", "false", "yes", "no", "on", "off", "~"}
    if plain and not reserved and text == text.strip():
        return text
    return "'" + text.replace("'", "''") + "'"
