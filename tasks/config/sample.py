"""Configuration of sampling."""

from typing import Annotated

from pydantic import BeforeValidator, Field, PositiveInt

from ar_models.scoring.choices import Precision
from ar_models.tables.key_styles import KeyStyle
from tasks.config.paths import DatasetPath, ResultPath
from tasks.config.section import Section, written_null

Keys = Annotated[KeyStyle, BeforeValidator(written_null)]
"""Form of new values of columns that are not modelled."""


class SampleConfig(Section):
    """Settings of drawing synthetic rows."""

    rows: PositiveInt = 10_000
    """Number of rows to draw; not used together with given."""

    output: ResultPath = None

    seed: int = 0
    """Random seed."""

    rows_per_shard: PositiveInt = 50_000
    """Rows per output file. The drawn rows depend on it and on the seed only, not on
    the number of processes."""

    log_prob: bool = False
    """Write the log-probability of each row, in nats."""

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Temperature of every conditional distribution; 1 draws from the model, lower
    values draw more probable rows."""

    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Probability mass of every conditional distribution that is drawn from (nucleus
    sampling); 1 draws from the model."""

    precision: Precision = "fp32"
    """Precision of the network's matrix products; bf16 is faster and rounds
    probabilities."""

    min_category_count: PositiveInt = 5
    """Train rows from which a category is drawn, so that no rare text is copied: a
    frequent category takes the place of a rarer one, or null where most rows hold rare
    ones, as in free text. 1 draws every category."""

    new_keys: Keys = "pattern"
    """New values of columns that are not modelled, such as ids: texts with the pattern
    of the training rows, such as AB-12345, consecutive numbers (sequence), UUIDs, or
    null. Numbers continue after the greatest of the training rows, irregular text is
    null with pattern, and values of other types always are."""

    given: DatasetPath | None = None
    """Dataset of partly known rows to complete: absent columns and nulls are drawn,
    given the other values."""

    samples_per_row: PositiveInt = 1
    """Completions of each row of given."""

    null_is_missing: tuple[str, ...] = ()
    """Columns of given in which a null is kept, as a missing value; in all others a
    value is drawn for it."""
