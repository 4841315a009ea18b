"""Imputation of the nulls in a table."""

from dataclasses import dataclass, replace

import pyarrow as pa
import torch

from ar_models.density.random_streams import stream_seed
from ar_models.density.table_density import BATCH_ROWS, TableDensity
from ar_models.scoring.choices import ImputationMethod
from ar_models.scoring.completions import Completer, Effectiveness
from ar_models.scoring.filled_cells import Filling, details, fill
from ar_models.scoring.imputation import METHODS, impute
from ar_models.scoring.weighted_imputation import impute_by_weights
from ar_models.tables import structs

DETAILS_COLUMN = "imputed"
"""Name of the column that lists the filled cells of each row."""


@dataclass(frozen=True)
class ImputeOptions:
    """Options of imputation.

    Attributes:
        method: "draw", or a point estimate: the mode of a category and the "median" or
            the "mean" of a number.
        confidence: Coverage of the central intervals of numbers that are not drawn.
        details: Whether to add the column `imputed`, which lists for each filled cell
            its column, the conditional probability of the value and, unless drawn, the
            ends of its interval as text. Models that are not order-agnostic know the
            probabilities of categories only.
    """

    method: ImputationMethod = "draw"
    confidence: float = 0.9
    details: bool = False


DEFAULT_OPTIONS = ImputeOptions()


class Imputer:
    """Fills the nulls of modelled columns with one density and one set of options.

    Args:
        density: The density.
        options: How cells are filled.

    Attributes:
        effectiveness: Numbers of rows that were completed by weights so far.

    Raises:
        ValueError: The family cannot condition on columns, or an option is out of its
            range.
    """

    def __init__(
        self, density: TableDensity, options: ImputeOptions = DEFAULT_OPTIONS
    ) -> None:
        if options.method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {options.method!r}")
        if not 0 < options.confidence < 1:
            raise ValueError(
                f"confidence must lie between 0 and 1, got {options.confidence}"
            )
        self.density, self.options = density, options
        self.effectiveness = Effectiveness()
        self.completer: Completer | None = None
        if not density.model.order_agnostic:
            self.completer = Completer(density.encoder, density.model)

    def impute(self, table: pa.Table, *, seed: int = 0, stream: int = 0) -> pa.Table:
        """Fill the nulls of the modelled columns and leave all other cells unchanged.

        A null is an unknown value, also where nulls occurred in training; NaN is a
        value, and a null struct stays null. See `ar_models.scoring.imputation.impute`,
        and `impute_by_weights` for models that are not order-agnostic.

        Args:
            table: Rows with the columns that the encoder knows.
            seed: Random seed; with `stream`, it determines every draw.
            stream: Number of an independent random stream.
        """
        first = stream_seed(seed, stream)
        generator = torch.Generator().manual_seed(first)
        parts = []
        for start in range(0, max(len(table), 1), BATCH_ROWS):
            rows = table.slice(start, BATCH_ROWS)
            fillings = self._fillings(rows, generator, (first << 40) + start)
            fillings = [self._as_written(self._kept(f, rows)) for f in fillings]
            filled = fill(rows, fillings)
            if self.options.details:
                listed = details(fillings, len(rows))
                filled = filled.append_column(DETAILS_COLUMN, listed)
            parts.append(filled)
        return pa.concat_tables(parts)

    def _fillings(
        self, rows: pa.Table, generator: torch.Generator, seed: int
    ) -> list[Filling]:
        """Impute the nulls of a batch of rows."""
        density, options = self.density, self.options
        if self.completer is not None:
            return impute_by_weights(
                self.completer,
                rows,
                options.method,
                generator,
                confidence=options.confidence,
                seed=seed,
                effectiveness=self.effectiveness,
            )
        return impute(
            density.encoder,
            density.model,
            rows,
            options.method,
            torch.rand(BATCH_ROWS, density.model.dim, 2, generator=generator),
            confidence=options.confidence,
            seed=seed,
        )

    def _kept(self, filling: Filling, rows: pa.Table) -> Filling:
        """Return a filling without the cells in structs that are null."""
        schema = self.density.encoder.schema
        null = structs.null_structs(filling.column, schema, structs.columns_of(rows))
        return filling if null is None else filling.keep(~null[filling.rows])

    def _as_written(self, filling: Filling) -> Filling:
        """Return a filling with values of the training table's type."""
        encoder = self.density.encoder
        values = encoder.as_written(filling.column, filling.values)
        return replace(filling, values=values)
