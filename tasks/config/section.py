"""The base class of all sections of the configuration, and shared field types."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt

Share = Annotated[float, Field(ge=0, lt=1)]
"""A share of rows, values or steps: at least 0 and below 1."""

AUTO: Final = "auto"
"""Value of a setting that `tasks.training.defaults` chooses when training starts."""

Auto = Literal["auto"]
"""The type of `AUTO`."""

Confidence = Annotated[float, Field(gt=0, lt=1)]
"""The level of an interval or a test, such as 0.95."""


class SecretError(ValueError):
    """A mistake in a secret value, which messages do not show."""


def written_null(value: object) -> object:
    """Return the text "null" for None, as which YAML reads null."""
    return "null" if value is None else value


def _share_or_count(budget: float) -> float:
    if budget >= 1 and budget != int(budget):
        raise ValueError("should be a share below 1 or a whole number of rows")
    return budget


Budget = Annotated[float, Field(gt=0), AfterValidator(_share_or_count)]
"""A number of rows, or below 1 a share of all rows."""


FragmentRows = Annotated[
    PositiveInt, Field(description="Maximum number of rows per output file.")
]
"""The size of the units in which a task reads and writes rows."""


class Section(BaseModel):
    """A part of the configuration: immutable, and unknown keys are errors.

    The docstring of a field is the description of the key.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        for field in cls.model_fields.values():
            if field.description:
                field.description = " ".join(field.description.split())
