"""Configuration of the extraction of features."""

from tasks.config.paths import DatasetPath, ResultPath
from tasks.config.section import FragmentRows, Section


class EmbedConfig(Section):
    """Settings of extracting the hidden features of rows."""

    input: DatasetPath | None = None
    """Dataset to embed; default: data.path."""

    output: ResultPath = None

    passthrough: tuple[str, ...] = ()
    """Columns to copy to the output besides data.id, such as labels."""

    rows_per_fragment: FragmentRows = 100_000
