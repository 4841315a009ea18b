"""Configuration of the comparison of synthetic with real rows."""

from typing import Literal

from pydantic import PositiveInt

from tasks.config.paths import DatasetPath
from tasks.config.section import Confidence, Section


class FidelityConfig(Section):
    """Settings of comparing synthetic rows with real rows."""

    samples: Literal["auto"] | DatasetPath | None = None
    """Dataset of synthetic rows, or auto to draw as many as there are train rows to
    compare with; default: no comparison."""

    target: str | None = None
    """Column to predict by models that are fitted to synthetic and to real rows;
    default: no such test."""

    rows: PositiveInt = 50_000
    """Maximum number of synthetic and of real rows."""

    confidence: Confidence = 0.95
    """Level of confidence intervals."""

    seed: int = 0
    """Seed of the rows that are drawn with auto."""
