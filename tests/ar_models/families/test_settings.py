"""The settings of the families."""

import dataclasses
import json
import subprocess
import sys
from typing import Any, Literal, get_origin

import pytest

from ar_models.families.settings import (
    SETTINGS,
    MADESettings,
    NADESettings,
)

FIELDS = [
    pytest.param(family, field, id=f"{family}-{field.name}")
    for family, settings in SETTINGS.items()
    for field in dataclasses.fields(settings)
]


@pytest.mark.parametrize(("family", "field"), FIELDS)
def test_every_setting_has_a_description(
    family: str, field: dataclasses.Field[Any]
) -> None:
    assert len(field.metadata["description"]) > 10


@pytest.mark.parametrize(("family", "field"), FIELDS)
def test_a_value_out_of_bounds_is_refused(
    family: str, field: dataclasses.Field[Any]
) -> None:
    bounds = field.metadata
    wrong: list[Any] = ["strange"] if get_origin(field.type) is Literal else []
    wrong += [bounds["ge"] - 1] if "ge" in bounds else []
    wrong += [bounds["lt"]] if "lt" in bounds else []
    required = {"height": 1, "width": 3} if family == "pixelcnn" else {}
    for value in wrong:
        with pytest.raises(ValueError, match=f"{field.name} must be .* got {value!r}"):
            SETTINGS[family](**(required | {field.name: value}))


def test_messages_name_the_bound_or_the_choices() -> None:
    with pytest.raises(ValueError, match="^hidden must be at least 1, got 0$"):
        MADESettings(hidden=0)
    with pytest.raises(ValueError, match="^dropout must be less than 1, got 1.0$"):
        MADESettings(dropout=1.0)
    with pytest.raises(ValueError, match="must be 'relu' or 'sigmoid', got 'tanh'"):
        NADESettings(activation="tanh")  # type: ignore[arg-type] # it is wrong


def test_settings_survive_json() -> None:
    settings = MADESettings(orderings=2, ordering=[[0, 1], [1, 0]])
    content = json.loads(json.dumps(settings.to_dict()))
    assert MADESettings(**content) == settings


def test_settings_are_read_without_torch() -> None:
    code = (
        "import sys, ar_models.families.settings; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numba', 'pyarrow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
