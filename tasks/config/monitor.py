"""Configuration of drift detection."""

from pydantic import Field, PositiveFloat, PositiveInt

from tasks.config.paths import DatasetPath, OutputPath
from tasks.config.section import Confidence, Section


class MonitorConfig(Section):
    """Limits on the distance between new rows and the calibration rows."""

    input: DatasetPath | None = Field(
        None, description="Dataset to monitor; default: data.path."
    )
    output: OutputPath | None = Field(
        None, description="Directory for the results; default: under the storage."
    )
    max_ks: PositiveFloat | None = Field(
        0.1,
        description="Kolmogorov-Smirnov distance above which a column has drifted; "
        "null: no limit.",
    )
    max_psi: PositiveFloat | None = Field(
        0.25,
        description="Population stability index above which a column has drifted; "
        "null: no limit.",
    )
    max_wasserstein: PositiveFloat | None = Field(
        None,
        description="Wasserstein distance, in standard units of the calibration rows, "
        "above which a column has drifted; default: no limit.",
    )
    ignore: tuple[str, ...] = Field(
        (),
        description="Columns whose drift is not reported. Drift of dates and "
        "timestamps never is.",
    )
    confidence: Confidence = Field(
        0.99,
        description="Level of the intervals; a column has drifted if its whole "
        "interval lies above a limit.",
    )
    resamples: PositiveInt = Field(
        200, description="Bootstrap resamples per confidence interval."
    )
    rows_per_fragment: PositiveInt = Field(
        100_000, description="Maximum number of rows that a process reads at once."
    )
