import pytest
from pydantic import ValidationError

from tasks.config.section import Section


class Example(Section):
    """An example of a section."""

    key: int = 1
    """Description of the key,
    in two lines."""


def test_sections_are_immutable_and_know_their_keys() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example().key = 2  # type: ignore[misc]  # frozen
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Example.model_validate({"unknown": 1})


def test_the_docstring_of_a_field_describes_the_key() -> None:
    description = Example.model_fields["key"].description
    assert description == "Description of the key, in two lines."
