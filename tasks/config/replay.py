"""Configuration of the replay of a dataset's history."""

from pydantic import PositiveInt

from tasks.config.paths import DatasetPath
from tasks.config.section import Section


class ReplayConfig(Section):
    """Settings of replaying the partitions of a dataset as if they had just arrived."""

    path: DatasetPath | None = None
    """Partitioned dataset to replay; default: data.path."""

    window: PositiveInt | None = None
    """Number of most recent partitions to train on; default: all."""

    rows_per_file: PositiveInt | None = None
    """Rows to use of each file, evenly spaced; default: all."""
