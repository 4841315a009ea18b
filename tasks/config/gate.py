"""Configuration of the gate that a challenger must pass to become champion."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from tasks.config.section import Confidence, Section


class GateConfig(Section):
    """Requirements on a challenger, compared with the champion on the same rows."""

    confidence: Confidence = 0.95
    """Level of confidence intervals of differences."""

    min_improvement: float = 0.0
    """Lower limit of the confidence interval of the gain in log-likelihood, in nats per
    row."""

    rows: PositiveInt = 50_000
    """Maximum number of held-out rows to compare, newest first."""

    min_rows: PositiveInt = 100
    """Minimum number of held-out rows; with fewer the version needs manual approval."""

    order_by: str | None = None
    """Column whose largest values are the newest rows; default: data.split.column, or
    else file order."""

    segments: tuple[str, ...] = ()
    """Columns for each of whose values the challenger must not be worse than
    segment_margin."""

    min_segment_rows: PositiveInt = 200
    """Values of segments with fewer rows are not checked."""

    segment_margin: PositiveFloat = 0.5
    """Loss of a segment that is tolerated, in nats per row."""

    column_margin: PositiveFloat = 0.5
    """Loss of a column that is tolerated, in nats per row."""

    calibration_margin: NonNegativeFloat = 0.05
    """Tolerated increase of the Kolmogorov-Smirnov distance between p-values and the
    uniform distribution."""

    max_p_value_ks: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Maximum Kolmogorov-Smirnov distance between p-values on held-out rows and the
    uniform distribution, beyond chance; with more the version needs manual approval,
    also the first one. 1: any distance."""

    min_diversity: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Minimum number of distinct scores per distinct row; fewer mean that the model has
    collapsed."""

    max_latency_ratio: PositiveFloat = 3.0
    """Maximum scoring time per row, relative to the champion."""

    max_size_ratio: PositiveFloat = 4.0
    """Maximum size of the weights, relative to the champion."""

    load_check: Literal["none", "process", "clean"] = "process"
    """Load the registered version as a consumer would: in a process without this
    project, or in a clean environment with the version's requirements only, which takes
    minutes."""
