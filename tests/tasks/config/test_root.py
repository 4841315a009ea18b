from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from flows.cli.config_reference import sections_of
from tasks.config.root import Config
from tasks.config.section import Section


def config(**sections: Any) -> Config:
    """Return a valid configuration with the given sections."""
    return Config.model_validate({"name": "a", "data": {"path": "p"}, **sections})


def fields(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    """Yield every field that holds a value, by dotted key."""
    for name, field in section.model_fields.items():
        inner = sections_of(field.annotation)
        for choice in inner:
            yield from fields(choice, f"{prefix}{name}.")
        if not inner:
            yield f"{prefix}{name}", field


def test_every_key_is_described_by_a_phrase() -> None:
    texts = {
        key: field.description or ""
        for key, field in fields(Config, "")
        if not key.startswith("model.")
    }
    poor = {k: t for k, t in texts.items() if not t.endswith(".") or len(t) < 12}
    assert poor == {}


def test_a_label_is_carried_along_and_not_modelled() -> None:
    data = {"path": "p", "id": ["k"], "exclude": ["y", "z"]}
    plain = config(data=data)
    assert plain.prepared_data == plain.data
    labelled = config(data=data, evaluate={"label": "y"})
    assert labelled.prepared_data.id == ("k", "y")
    assert labelled.prepared_data.exclude == ("z",)


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b"])
def test_a_name_is_fit_for_directories(name: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        config(name=name)


def test_pixelcnn_needs_one_image() -> None:
    model = {"family": "pixelcnn"}
    with pytest.raises(ValidationError, match="one image per row; name its pixels"):
        config(model=model)
    images = {"x*": {"height": 2, "width": 2}}
    loaded = config(data={"path": "p", "images": images}, model=model)
    assert loaded.model.family == "pixelcnn"


def test_no_key_hides_what_makes_a_section_a_mapping() -> None:
    # Prefect takes the sections of a configuration apart by dict.
    for name, section in config():
        if isinstance(section, Section):
            assert dict(section).keys() == type(section).model_fields.keys(), name
