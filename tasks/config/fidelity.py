"""Configuration of the comparison of synthetic with real rows."""

from typing import Annotated

from pydantic import Field, PositiveInt

from tasks.config.section import Section


class FidelityConfig(Section):
    """Whether and how synthetic rows are compared with real ones."""

    samples: str | None = Field(
        None,
        description="dataset of synthetic rows, or auto: drawn now, as many as train "
        "rows are compared; none: not done",
    )
    target: str | None = Field(
        None, description="column that is predicted after learning from synthetic rows"
    )
    rows: PositiveInt = Field(50_000, description="rows of each kind, at most")
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seed: int = Field(0, description="of the rows that are drawn")
