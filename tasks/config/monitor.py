"""Configuration of drift detection."""

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from tasks.config.paths import DatasetPath, ResultPath
from tasks.config.section import Confidence, Section


class MonitorConfig(Section):
    """Limits on the distance between new rows and the calibration rows."""

    input: DatasetPath | None = None
    """Dataset to monitor; default: data.path."""

    output: ResultPath = None

    max_ks: PositiveFloat | None = 0.1
    """Kolmogorov-Smirnov distance above which a column has drifted; null: no limit."""

    max_psi: PositiveFloat | None = 0.25
    """Population stability index above which a column has drifted; null: no limit."""

    max_wasserstein: PositiveFloat | None = None
    """Wasserstein distance, in standard units of the calibration rows, above which a
    column has drifted; default: no limit."""

    ignore: tuple[str, ...] = ()
    """Columns whose drift is not reported. Drift of dates and timestamps never is."""

    by: Literal["day", "week", "month"] | None = None
    """Period to divide the rows into; each is compared with the calibration rows, too.
    By default, only all rows together are compared."""

    time: str | None = None
    """Column of dates or timestamps that divides the rows into periods; default: the
    only one of the dataset."""

    confidence: Confidence = 0.99
    """Level of the intervals; a column has drifted if its whole interval lies above a
    limit."""

    resamples: PositiveInt = 200
    """Bootstrap resamples per confidence interval."""

    rows_per_fragment: PositiveInt = 100_000
    """Maximum number of rows that a process reads at once."""
