"""Configuration of the replay of a dataset's history."""

from pydantic import Field, PositiveInt

from tasks.config.section import Section


class ReplayConfig(Section):
    """How a dataset's history is replayed."""

    path: str | None = Field(
        None, description="dataset whose partitions are replayed; data.path if none"
    )
    window: PositiveInt | None = Field(
        None,
        description="partitions, the newest, that a model learns from; all if none",
    )
    rows_per_file: PositiveInt | None = Field(
        None, description="rows of each file that are kept, evenly chosen; all if none"
    )
