"""Configuration of the extraction of features."""

from pydantic import Field, PositiveInt

from tasks.config.section import Section


class EmbedConfig(Section):
    """Of which rows the features are written."""

    input: str | None = Field(None, description="dataset; data.path if none")
    output: str | None = Field(None, description="folder; below the storage if none")
    passthrough: tuple[str, ...] = Field(
        (), description="columns carried to the output besides data.id, such as labels"
    )
    rows_per_fragment: PositiveInt = 100_000
