from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flows.cli.config_reference import sections_of, type_name
from tasks.config.paths import is_path_field, make_paths_absolute
from tasks.config.root import Config
from tasks.config.section import Section

PATHS = {
    "data.path",
    "fidelity.samples",
    "score.input",
    "score.output",
    "monitor.input",
    "monitor.output",
    "sample.output",
    "sample.given",
    "impute.input",
    "impute.output",
    "embed.input",
    "embed.output",
    "replay.path",
    "resources.storage",
}
# Text that is no path; a new field of text must be listed here or be typed as a path.
TEXT = {
    "name",
    "data.sequence.key",
    "data.sequence.order_by",
    "data.split.column",
    "tune.budget",
    "evaluate.label",
    "fidelity.target",
    "gate.order_by",
    "monitor.time",
    "alerts.webhook",
    "score.calibrate_by",
    "model_card.description",
    "model_card.license",
    "model_card.limitations",
    "schedules.work_pool",
    *(
        f"schedules.{kind}.{key}"
        for kind in ("retrain", "score", "monitor", "sample")
        for key in ("cron", "rrule", "timezone")
    ),
}


def text_fields(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, bool]]:
    """Yield the dotted key of every field of text and whether it is a path."""
    for name, field in section.model_fields.items():
        for inner in sections_of(field.annotation):
            yield from text_fields(inner, f"{prefix}{name}.")
        if "text" in type_name(field.annotation).split(" "):
            yield f"{prefix}{name}", is_path_field(field)


def value(config: Config, key: str) -> Any:
    """Return the value of a dotted key."""
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part)
    return found


def configured(path: str) -> Config:
    """Return a configuration with one value for all path fields."""
    content: dict[str, Any] = {"name": "a"}
    for key in PATHS:
        section, name = key.split(".")
        content.setdefault(section, {})[name] = path
    return Config.model_validate(content)


def test_every_text_field_is_known_to_be_a_path_or_not() -> None:
    fields = dict(text_fields(Config, ""))
    fields.pop("schedules.job_variables")
    assert {key for key, is_path in fields.items() if is_path} == PATHS
    assert {key for key, is_path in fields.items() if not is_path} == TEXT


@pytest.mark.parametrize("key", sorted(PATHS))
def test_a_relative_path_becomes_absolute(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = make_paths_absolute(configured("in/{key}/day=*.parquet"))
    assert value(config, key) == f"{tmp_path}/in/{{key}}/day=*.parquet"


@pytest.mark.parametrize("path", ["s3://bucket/x", "models:/orders/1", "/data/x"])
def test_uris_and_absolute_paths_are_kept(path: str) -> None:
    config = configured(path)
    assert make_paths_absolute(config) == config


def test_words_and_unset_paths_are_kept() -> None:
    content = {"name": "a", "data": {"path": "/x"}, "fidelity": {"samples": "auto"}}
    config = make_paths_absolute(Config.model_validate(content))
    assert config.fidelity.samples == "auto"
    assert config.score.input is None
    assert config.data.path == "/x"


def test_text_without_a_marker_is_no_path() -> None:
    class Example(Section):
        plain: str = "x"

    field: FieldInfo = Example.model_fields["plain"]
    assert not is_path_field(field)
    assert make_paths_absolute(Example()).plain == "x"
