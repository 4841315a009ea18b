"""The base class of all sections of the configuration, and shared field types."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, lt=1)]


def _share_or_count(budget: float) -> float:
    if budget >= 1 and budget != int(budget):
        raise ValueError("should be a share below 1 or a whole number of rows")
    return budget


Budget = Annotated[float, Field(gt=0), AfterValidator(_share_or_count)]
"""How many rows can be looked at: a number, or a share below 1."""


class Section(BaseModel):
    """A part of the configuration: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
