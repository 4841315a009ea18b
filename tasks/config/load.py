"""Reading and checking a configuration file."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import ValidationError

from tasks.config.root import Config

RENAMED = {
    "card": "model_card",
    "contract": "data_validation",
    "data.sequence.order": "order_by",
    "embed.carry": "passthrough",
    "evaluate.bootstrap": "resamples",
    "gate.load": "load_check",
    "gate.max_growth": "max_size_ratio",
    "gate.max_slowdown": "max_latency_ratio",
    "gate.newest": "order_by",
    "gate.segment_rows": "min_segment_rows",
    "model_card.licence": "license",
    "model_card.limits": "limitations",
    "monitor.bootstrap": "resamples",
    "replay.rows": "rows_per_file",
    "sample.given_missing": "null_is_missing",
    "sample.per_row": "samples_per_row",
    "schedules.pool": "work_pool",
    "schedules.pool_type": "work_pool_type",
    "schedules.when_running": "on_overlap",
    "score.carry": "passthrough",
    "score.segment_rows": "min_segment_rows",
    "train.clip": "max_grad_norm",
    "train.ema": "ema_decay",
    "train.mutation": "swap_noise",
    "train.old_rows": "replay_ratio",
    "train.start": "init_from",
    "train.warmup": "warmup_ratio",
}
"""Former names of configuration keys; an error about one of them names the new one."""


def load(path: Path, overrides: Mapping[str, Any] = MappingProxyType({})) -> Config:
    """The checked configuration in a YAML file.

    Args:
        path: The file.
        overrides: Values that replace those of the file, by dotted key such as
            `data.path`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not YAML or breaks the rules; the message names file, key,
            value and what would do.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a mapping with the keys name and data is needed")
    for key, value in overrides.items():
        replace(content, key, value)
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise ValueError(describe(path, error)) from error


def replace(content: dict[str, Any], key: str, value: Any) -> None:  # YAML values
    """Sets the value of a dotted key; sections on the way are made as needed."""
    *sections, last = key.split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise ValueError(f"{key}: {section} is not a section, so it has no {last}")
    content[last] = value


def describe(path: Path, error: ValidationError) -> str:
    """One line per mistake: the key, what was wrong with it, what was given."""
    lines = [f"{path}:"]
    for problem in error.errors():
        key = _key(problem["loc"])
        given: Any = problem["input"]
        if problem["type"] == "extra_forbidden":
            renamed = f" (was renamed to {RENAMED[key]})" if key in RENAMED else ""
            lines.append(f"  {key}: unknown key{renamed}; see chainrule --help-config")
        elif problem["type"] == "missing":
            lines.append(f"  {key}: is required")
        elif problem["type"] == "union_tag_not_found":
            lines.append(f"  {key}: should be a mapping with a family, got {given!r}")
        elif problem["type"] == "union_tag_invalid":
            context = problem["ctx"]
            lines.append(
                f"  {key}.family: should be one of {context['expected_tags']}, "
                f"got {context['tag']!r}"
            )
        else:
            said = problem["msg"].removeprefix("Value error, ")
            lines.append(f"  {key}: {said[:1].lower()}{said[1:]}, got {given!r}")
    return "\n".join(lines)


def _key(location: tuple[int | str, ...]) -> str:
    """A dotted key as the user wrote it, without families and types of a union."""
    if len(location) > 1 and location[0] == "model":
        location = location[:1] + location[2:]
    return ".".join(str(part) for part in location if "[" not in str(part))
