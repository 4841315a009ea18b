"""Configuration of the extraction of features."""

from pydantic import Field, PositiveInt

from tasks.config.paths import DatasetPath, OutputPath
from tasks.config.section import Section


class EmbedConfig(Section):
    """Rows whose hidden features are written."""

    input: DatasetPath | None = Field(
        None, description="Dataset to embed; default: data.path."
    )
    output: OutputPath | None = Field(
        None, description="Directory for the results; default: under the storage."
    )
    passthrough: tuple[str, ...] = Field(
        (),
        description="Columns to copy to the output besides data.id, such as labels.",
    )
    rows_per_fragment: PositiveInt = Field(
        100_000, description="Maximum number of rows per output file."
    )
