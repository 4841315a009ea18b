"""Configuration of the comparison of synthetic with real rows."""

from typing import Literal

from pydantic import Field, PositiveInt

from tasks.config.paths import DatasetPath
from tasks.config.section import Confidence, Section


class FidelityConfig(Section):
    """Whether and how synthetic rows are compared with real rows."""

    samples: Literal["auto"] | DatasetPath | None = Field(
        None,
        description="Dataset of synthetic rows, or auto to draw as many as there are "
        "train rows to compare with; default: no comparison.",
    )
    target: str | None = Field(
        None,
        description="Column to predict by models that are fitted to synthetic and to "
        "real rows; default: no such test.",
    )
    rows: PositiveInt = Field(
        50_000, description="Maximum number of synthetic and of real rows."
    )
    confidence: Confidence = Field(0.95, description="Level of confidence intervals.")
    seed: int = Field(0, description="Seed of the rows that are drawn with auto.")
