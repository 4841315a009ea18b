"""Reading and validation of configuration files."""

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import ValidationError

from tasks.config.root import Config
from tasks.config.section import SecretError

TEXT = "tag:yaml.org,2002:str"
"""YAML's tag of text."""

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
    "sample.keys": "new_keys",
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
    """Read and validate a configuration file in YAML.

    Args:
        path: The YAML file.
        overrides: Values that replace those of the file, by dotted key such as
            `data.path`.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not valid YAML or the configuration is invalid; the
            message names the file and, per mistake, the key and the value.
    """
    try:
        content, written = parse(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: should be a mapping with the keys name and data")
    for key, value in overrides.items():
        replace_value(content, key, value)
    try:
        return _validate(content, written)
    except ValidationError as error:
        raise ValueError(describe_errors(path, error)) from error


class _TextKeys(yaml.SafeLoader):
    """A YAML loader whose keys are text, also those such as 2024 and no."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        # The signature is PyYAML's, which has no types.
        self.flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = TEXT
        return super().construct_mapping(node, deep=deep)


def parse(text: str) -> tuple[Any, Any]:  # YAML values and nodes, without types
    """Parse YAML to its values and to the nodes that hold them as they are written.

    Raises:
        yaml.YAMLError: It is not valid.
    """
    loader = _TextKeys(text)
    try:
        node = loader.get_single_node()
        return None if node is None else loader.construct_document(node), node
    finally:
        loader.dispose()


def _validate(content: dict[str, Any], written: Any) -> Config:  # YAML values, a node
    """Validate a configuration, taking numbers and dates for text where it is needed.

    Raises:
        ValidationError: The configuration is invalid.
    """
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        places = [e for e in error.errors() if e["type"] == "string_type"]
        if not any([_take_as_text(content, written, e["loc"]) for e in places]):
            raise
    return Config.model_validate(content)


def _take_as_text(content: Any, written: Any, location: tuple[int | str, ...]) -> bool:
    """Replace the scalar at a location by its text; return whether there is one."""
    *sections, last = location
    try:
        for step in sections:
            content, written = content[step], _child(written, step)
        given, node = content[last], _child(written, last)
    except (KeyError, IndexError, TypeError):  # a part of the location is not a key
        return False
    if isinstance(node, yaml.ScalarNode) and given == yaml.safe_load(node.value):
        content[last] = node.value
    elif isinstance(given, int | float | date) and not isinstance(given, bool):
        content[last] = str(given)  # of an override
    else:
        return False
    return True


def _child(node: Any, step: int | str) -> Any:  # YAML nodes, without types
    """Return the node at a key or an index of a node, or None."""
    if isinstance(node, yaml.MappingNode):
        return next((v for key, v in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        return node.value[step] if step < len(node.value) else None
    return None


def replace_value(content: dict[str, Any], key: str, value: Any) -> None:  # YAML values
    """Set the value of a dotted key in place, creating sections as needed.

    Raises:
        ValueError: A part of the key holds a value other than a mapping.
    """
    *sections, last = key.split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise ValueError(f"{key}: {section} is not a section, so it has no {last}")
    content[last] = value


def describe_errors(path: Path, error: ValidationError) -> str:
    """Return a message with one line per mistake: key, reason and given value."""
    return "\n".join([f"{path}:", *(f"  {_line(e)}" for e in error.errors())])


def _line(problem: Any) -> str:  # pydantic_core.ErrorDetails
    key, kind = _dotted_key(problem["loc"]), problem["type"]
    given: Any = problem["input"]
    if kind == "extra_forbidden":
        hint = f" (was renamed to {RENAMED[key]})" if key in RENAMED else ""
        return f"{key}: unknown key{hint}; see chainrule --help-config"
    if kind == "missing":
        return f"{key}: is required"
    if kind == "union_tag_not_found":
        return f"{key}: should be a mapping with a family, got {given!r}"
    if kind == "union_tag_invalid":
        context = problem["ctx"]
        return (
            f"{key}.family: should be one of {context['expected_tags']}, "
            f"got {context['tag']!r}"
        )
    reason = problem["msg"].removeprefix("Value error, ")
    if isinstance(problem.get("ctx", {}).get("error"), SecretError):
        return f"{key}: {reason}"
    return f"{key}: {reason[:1].lower()}{reason[1:]}, got {given!r}"


def _dotted_key(location: tuple[int | str, ...]) -> str:
    """Return the key as the user wrote it, without the tags of pydantic's unions."""
    if len(location) > 1 and location[0] == "model":
        location = location[:1] + location[2:]
    parts = [str(part) for part in location]
    return ".".join(p for p in parts if not re.search(r"\[|^constrained-", p))
