"""The dataset that a bulk job reads, and the columns that it copies to the output."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from ar_models.density.table_density import TableDensity
from ar_models.tables import structs
from ar_models.tables.encoder import TableEncoder
from tasks.config.data import OnBadFile, OnMissing
from tasks.data.datasets import Dataset, open_dataset
from tasks.data.schema import check_columns, trained_schema
from tasks.runtime.model_store import check_readable


@dataclass(frozen=True)
class Source:
    """A dataset whose rows a model processes.

    Attributes:
        path: The dataset, as for `datasets.open_dataset`.
        id_columns: Columns that are copied to the output.
        on_bad_file: Whether an unreadable file stops the job or goes to quarantine.
        on_missing: Whether a column that some files lack is null there, or an error.
        copies_all: Whether all other columns are copied, too.
        adds_place: Whether the output says which file and row its rows come from.
    """

    path: str
    id_columns: tuple[str, ...] = ()
    on_bad_file: OnBadFile = "stop"
    on_missing: OnMissing = "null"
    copies_all: bool = False
    adds_place: bool = False

    def open(self, rows_per_fragment: int, encoder: TableEncoder) -> Dataset:
        """Open the dataset.

        Args:
            rows_per_fragment: Maximum number of rows of a fragment.
            encoder: Encoder of the model, whose types hive keys have.
        """
        return open_dataset(
            self.path,
            rows_per_fragment=rows_per_fragment,
            on_bad_file=self.on_bad_file,
            on_missing=self.on_missing,
            trained=trained_schema(encoder),
        )

    def check_bad_file(self, error: Exception) -> None:
        """Raise ValueError for an unreadable file unless it goes to quarantine.

        Args:
            error: What reading the file raised.
        """
        if self.on_bad_file == "stop":
            raise ValueError(
                f"{error}; replace it, or set data.on_bad_file: quarantine"
            ) from error


@dataclass(frozen=True)
class UnreadableFile:
    """A file that a job set aside.

    Attributes:
        name: Path of the file relative to the dataset.
        reason: Why it cannot be read.
    """

    name: str
    reason: str


def unreadable_files(dataset: Dataset) -> list[dict[str, Any]]:
    """Return the dataset's unreadable files, for a manifest."""
    return [asdict(UnreadableFile(b.name, b.reason)) for b in dataset.bad_files]


def carried_columns(
    density: TableDensity,
    source: Source,
    dataset: Dataset,
    output_columns: Collection[str],
) -> tuple[str, ...]:
    """Return the columns that are copied to the output: ids, partitions and others.

    Args:
        density: The model that reads the dataset.
        source: Names the id columns.
        dataset: The opened dataset.
        output_columns: Other columns of the output and of its quarantine.

    Raises:
        ValueError: There is no such column, the output has another of that name, or
            the model cannot read the dataset.
    """
    check_columns(dataset.schema, {"data.id": source.id_columns})
    check_readable(density, source.path, dataset.schema)
    others = dataset.schema.names if source.copies_all else ()
    ids = structs.with_fields(source.id_columns, dataset.schema)
    carried = tuple(dict.fromkeys([*ids, *dataset.hive_keys, *others]))
    for column in carried:
        if column in output_columns:
            raise ValueError(
                f"{source.path}: column {column!r} has the name of a column of the "
                "output; rename it, or remove it from data.id or score.passthrough"
            )
    return carried
