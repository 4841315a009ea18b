"""The families' names, arguments and configurations agree."""

import inspect
import json
from pathlib import Path
from typing import Any, get_args

import pytest

from ar_models.autoregressive import AutoregressiveModel
from ar_models.families import MODELS
from ar_models.variables import binary
from tasks import config
from tasks.config import Config, ModelConfig, Section

SECTIONS: dict[str, type[Section]] = {
    tag.tag: section
    for section, tag in (
        get_args(member) for member in get_args(get_args(ModelConfig)[0])
    )
}
OF_DATA = {"pixelcnn": {"height": 1, "width": 3, "channels": 1}}
"""Arguments that are no settings, since the data say them: of three variables."""
CONFIGURED = pytest.mark.parametrize("family", SECTIONS)


def arguments(family: type[AutoregressiveModel]) -> dict[str, inspect.Parameter]:
    """A constructor's keyword arguments."""
    parameters = inspect.signature(family).parameters
    return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def load(tmp_path: Path, model: str) -> Config:
    """A configuration of images with that line for `model`."""
    path = tmp_path / "config.yaml"
    images = "{x*: {height: 1, width: 3}}"
    path.write_text(f"name: a\ndata: {{path: x, images: {images}}}\n{model}\n")
    return config.load(path)


def test_every_family_but_the_baseline_can_be_configured() -> None:
    assert set(SECTIONS) == set(MODELS) - {"independent"}


@CONFIGURED
def test_a_section_has_the_keys_of_the_constructor(family: str) -> None:
    keys = set(SECTIONS[family].model_fields) - {"family", "ensemble"}
    assert keys == set(arguments(MODELS[family])) - set(OF_DATA.get(family, {}))


@CONFIGURED
def test_a_model_is_built_from_a_section_and_rebuilt_from_its_config(
    family: str,
) -> None:
    section = SECTIONS[family]()
    settings = section.model_dump(mode="json", exclude={"family", "ensemble"})
    settings |= OF_DATA.get(family, {})
    model = MODELS[family](binary(3), **settings)
    assert model.config() == settings
    again = MODELS[family](binary(3), **model.config())
    again.load_state_dict(model.state_dict())


@CONFIGURED
def test_the_family_picks_the_section(family: str, tmp_path: Path) -> None:
    keys = json.dumps({"family": family})
    loaded = load(tmp_path, f"model: {keys}")
    assert type(loaded.model) is SECTIONS[family]
    again = Config.model_validate_json(loaded.model_dump_json())
    assert again == loaded


@pytest.mark.parametrize("model", ["", "model: {}", "model: {hidden: 7}"])
def test_the_family_is_made_if_none_is_given(model: str, tmp_path: Path) -> None:
    assert load(tmp_path, model).model.family == "made"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("{family: nada}", r"model\.family: should be one of 'made', .*, got 'nada'"),
        ("3", "model: should be a mapping with a family, got 3"),
        ("{hidden: 0}", r"model\.hidden: input should be greater than 0, got 0"),
        ("{family: fvsbn, hidden: 3}", r"model\.hidden: no such key"),
        ("{family: pixelcnn, width: 3}", r"model\.width: no such key"),
    ],
)
def test_a_mistake_is_named(model: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load(tmp_path, f"model: {model}")


def test_pixelcnn_wants_to_know_where_the_pixels_are(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("name: a\ndata: {path: x}\nmodel: {family: pixelcnn}\n")
    with pytest.raises(ValueError, match=r"pixelcnn is for one image per row; say"):
        config.load(path)


def test_the_schema_shows_every_family() -> None:
    schema: dict[str, Any] = Config.model_json_schema()
    shown = schema["properties"]["model"]["oneOf"]
    names = {schema["$defs"][one["$ref"].split("/")[-1]]["title"] for one in shown}
    assert names == {section.__name__ for section in SECTIONS.values()}
