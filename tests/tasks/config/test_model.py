"""The sections of the model families."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ar_models.families.settings import SETTINGS
from tasks.config.load import load
from tasks.config.model import SECTIONS, model_config
from tasks.config.root import Config

FROM_DATA = {"pixelcnn": {"height", "width", "channels"}}
"""Settings that are not keys, since the data determine them."""

every_section = pytest.mark.parametrize("family", SECTIONS)


def image_config(tmp_path: Path, model: str) -> Config:
    """Return a configuration of images with that line for `model`."""
    path = tmp_path / "config.yaml"
    images = "{x*: {height: 1, width: 3}}"
    path.write_text(f"name: a\ndata: {{path: x, images: {images}}}\n{model}\n")
    return load(path)


def test_every_family_but_the_baseline_can_be_configured() -> None:
    assert set(SECTIONS) == set(SETTINGS) - {"independent"}


@every_section
def test_a_section_has_the_settings_of_the_family(family: str) -> None:
    section, settings = SECTIONS[family], SETTINGS[family]
    keys = set(section.model_fields) - {"family", "ensemble"}
    fields = {each.name: each for each in dataclasses.fields(settings)}
    assert keys == set(fields) - FROM_DATA.get(family, set())
    for key in keys:
        assert section.model_fields[key].default in (fields[key].default, "auto")
        assert section.model_fields[key].description
    assert section.__doc__ == settings.__doc__


@every_section
def test_the_family_picks_the_section(family: str, tmp_path: Path) -> None:
    keys = json.dumps({"family": family})
    loaded = image_config(tmp_path, f"model: {keys}")
    assert type(loaded.model) is SECTIONS[family]
    assert loaded.model == model_config(family=family)
    again = Config.model_validate_json(loaded.model_dump_json())
    assert again == loaded


@pytest.mark.parametrize("model", ["", "model: {}", "model: {hidden: 7}"])
def test_the_family_is_made_if_none_is_given(model: str, tmp_path: Path) -> None:
    assert image_config(tmp_path, model).model.family == "made"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("{family: nada}", r"model\.family: should be one of .*, got 'nada'"),
        ("3", "model: should be a mapping with a family, got 3"),
        ("{hidden: 0}", r"model\.hidden: input should be greater than .* 1, got 0"),
        ("{dropout: 1}", r"model\.dropout: input should be less than 1, got 1"),
        ("{ordering: up}", r"model\.ordering: input should be 'auto', .*got 'up'"),
        ("{family: fvsbn, hidden: 3}", r"model\.hidden: unknown key"),
        ("{family: pixelcnn, width: 3}", r"model\.width: unknown key"),
        ("{family: pixelcnn, ordering: random}", r"model\.ordering: unknown key"),
    ],
)
def test_a_mistake_is_named(model: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        image_config(tmp_path, f"model: {model}")


def test_pixelcnn_wants_to_know_where_the_pixels_are(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("name: a\ndata: {path: x}\nmodel: {family: pixelcnn}\n")
    with pytest.raises(ValueError, match=r"pixelcnn is for one image per row; name"):
        load(path)


def test_the_schema_shows_every_family() -> None:
    schema: dict[str, Any] = Config.model_json_schema()
    shown = schema["properties"]["model"]["oneOf"]
    names = {schema["$defs"][one["$ref"].split("/")[-1]]["title"] for one in shown}
    assert names == {section.__name__ for section in SECTIONS.values()}
