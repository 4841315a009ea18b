"""The base class of all sections of the configuration, and shared field types."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, lt=1)]
"""A share of rows, values or steps: at least 0 and below 1."""

Confidence = Annotated[float, Field(gt=0, lt=1)]
"""The level of an interval or a test, such as 0.95."""


def _share_or_count(budget: float) -> float:
    if budget >= 1 and budget != int(budget):
        raise ValueError("should be a share below 1 or a whole number of rows")
    return budget


Budget = Annotated[float, Field(gt=0), AfterValidator(_share_or_count)]
"""A number of rows, or below 1 a share of all rows."""


class Section(BaseModel):
    """A part of the configuration: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
