"""A first configuration for a dataset, with the kind inferred for each column."""

import math
import re
from typing import Any

import yaml

from tasks.config.data import SplitConfig
from tasks.data.columns.infer import LEAVE_OUT
from tasks.data.fit import preview_dataset
from tasks.data.profile import constraint_text
from tasks.training import defaults

MAX_ROWS = 100_000
"""Maximum number of rows that kinds are inferred from."""

UNIQUE_ID = "a unique id"
"""Start of the reason for leaving out columns that become ids."""

UNPRINTABLE = re.compile(
    "[^ -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""Characters that a line of YAML may not hold, such as line breaks."""

NUMBER = re.compile(r"[-+.]?\d[\w.+-]*")
"""Text that some readers of YAML take for a number."""

Entry = dict[str, Any]
"""Entry of a column, as in profile.json."""


def propose(path: str, name: str | None) -> str:
    """Return a commented YAML configuration for a dataset.

    Args:
        path: The dataset, as for `data.path`.
        name: Name of the model; default: derived from the path.

    Raises:
        ValueError: The dataset cannot be read, or no column of it can be modelled.
    """
    preview = preview_dataset(path, MAX_ROWS)
    entries = preview.columns
    ids = [e["name"] for e in entries if e["reason"].startswith(UNIQUE_ID)]
    return "\n".join(
        [
            "# All keys and their defaults: chainrule --help-config",
            f"name: {quoted(name or model_name(path))}",
            "data:",
            f"  path: {quoted(path)}",
            "  # Columns copied to every output and not modelled.",
            f"  id: {listed(ids)}",
            "  # Columns neither modelled nor copied to outputs.",
            "  exclude: []",
            f"  # Kinds inferred from up to {MAX_ROWS:,} rows. To correct one, set it "
            "under columns:",
            "  # binary, categorical, integer, real, timestamp, sequence (text letter "
            "by letter)",
            f"  # or {LEAVE_OUT}.",
            "  columns: {}",
            *(column_comment(entry) for entry in entries),
            *constraint_lines(preview.constraints),
            *automatic_settings(preview.rows, entries),
            "",
        ]
    )


def constraint_lines(constraints: list[Entry]) -> list[str]:
    """Return the key of the constraints, and those that were found as comments.

    Args:
        constraints: Constraints as in profile.json.
    """
    lines = [
        "  # Constraints between columns, found in training rows. To strike some out, "
        "list their",
        "  # columns under ignore; to add others, see "
        "docs/how-to/choose-constraints.md.",
        "  constraints: {ignore: []}",
    ]
    found = [f"  #   {one_line(constraint_text(entry))}" for entry in constraints]
    return lines + (found or ["  #   none found"])


def automatic_settings(rows: int, entries: list[Entry]) -> list[str]:
    """Return the sections model and train, with what `auto` means for a dataset.

    Args:
        rows: Number of rows of the dataset.
        entries: Its columns.
    """
    split = SplitConfig()
    learned = round(rows * (1 - split.valid - split.calibration - split.test))
    modelled = [e for e in entries if e["kind"] != "left out"]
    lines = [
        f"# auto is chosen when training starts; for about {learned:,} training rows "
        f"and {len(modelled)} columns:"
    ]
    section = ""
    for key, choice in defaults.choose(learned, len(modelled)).items():
        new, name = key.split(".")
        lines += [f"{new}:"] if new != section else []
        lines.append(f"  {name}: auto  # {choice.value:g} {choice.reason}")
        section = new
    return lines


def model_name(path: str) -> str:
    """Return a name for the model: the last part of a path that is not a pattern."""
    parts = [re.sub(r"\.parquet$", "", part) for part in path.split("/")]
    words = [part for part in parts if re.search(r"[A-Za-z0-9]", part)]
    plain = [part for part in words if not re.search(r"[*?\[=]|^(all|data)$", part)]
    last = (plain or words or ["model"])[-1]
    return re.sub(r"[^A-Za-z0-9_-]+", "_", last).strip("_-") or "model"


def column_comment(entry: Entry) -> str:
    """Return a comment with the kind that was inferred for a column, and why."""
    kind = LEAVE_OUT if entry["kind"] == "left out" else entry["kind"]
    nulls = f", {entry['missing']:,} nulls" if entry.get("missing") else ""
    return (
        f"  #   {quoted(entry['name'])}: {{kind: {kind}}}"
        f"  # {one_line(entry['type'])}, {one_line(entry['reason'])}{nulls}"
    )


def listed(names: list[str]) -> str:
    """Return names as a YAML list in one line."""
    return f"[{', '.join(map(quoted, names))}]"


def quoted(text: str) -> str:
    """Return text as a YAML string in one line, quoted where necessary."""
    style = None
    if UNPRINTABLE.search(text):
        style = '"'
    elif re.fullmatch(NUMBER, text):  # some readers of YAML take 1e5 for a number
        style = "'"
    options: dict[str, Any] = {"default_flow_style": True, "allow_unicode": True}
    options |= {"default_style": style, "width": math.inf}
    return str(yaml.safe_dump([text], **options)).strip()[1:-1]


def one_line(text: str) -> str:
    """Return text for a comment, with escapes for what would end the comment."""
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)
