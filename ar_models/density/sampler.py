"""Synthetic rows drawn from a density, unconditionally or given some of their cells."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.density.given import Given, given_table, restore_given, rows_in_order
from ar_models.density.random_streams import stream_seed
from ar_models.density.table_density import BATCH_ROWS, TableDensity
from ar_models.distributions.sampling import SamplingParams
from ar_models.scoring.choices import Precision
from ar_models.scoring.completions import Completer, Effectiveness, KnownCells
from ar_models.tables.derivations import known_cells
from ar_models.tables.frequent_codes import without_rare_values
from ar_models.tables.given_cells import check_determined, encode_given, solve_given
from ar_models.tables.inequality import log_tilts
from ar_models.tables.ranges import rare_atoms, rows_outside, rows_with, within_range

LOG_PROB_COLUMN = "log_prob"
"""Name of the column of samples that holds each row's log-probability."""


@dataclass(frozen=True)
class SampleOptions:
    """Options of drawing rows: all but their number, seed and given cells.

    Attributes:
        log_prob: Whether to add the column log_prob, in nats, as
            `TableDensity.log_prob` gives it for the drawn rows.
        temperature: Temperature of every conditional, see `SamplingParams`; 1 is exact.
        top_p: Nucleus sampling of every conditional, see `SamplingParams`; 1 is exact.
        precision: Number format of the network's products. bf16 is faster, and rows
            then follow a density that is off by its rounding; log_prob is always
            computed in fp32.
        min_category_count: Number of training rows from which a category is drawn. A
            frequent one takes the place of a rarer one, or null where most rows hold
            rare ones, as in free text; 1 draws every category.
    """

    log_prob: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    precision: Precision = "fp32"
    min_category_count: int = 5


DEFAULT_OPTIONS = SampleOptions()

MAX_REDRAWS = 20
"""Maximum number of times that rows whose constraints are undefined are drawn again."""

RANGE_REDRAWS = 4
"""Maximum number of times that rows with a value outside the range of its column are
drawn again; then the value becomes the nearest end of the range."""

MIN_REDRAWN = 64
"""Minimum number of rows that are drawn again together."""


class Sampler:
    """Draws rows from one density with one set of options.

    Args:
        density: The density.
        options: How rows are drawn.

    Attributes:
        effectiveness: Numbers of rows that were completed by weights so far.
    """

    def __init__(
        self, density: TableDensity, options: SampleOptions = DEFAULT_OPTIONS
    ) -> None:
        least = options.min_category_count
        encoder = without_rare_values(density.encoder, least)
        self.density, self.options = replace(density, encoder=encoder), options
        self.rare = rare_atoms(encoder, least)
        self.sampling = SamplingParams(options.temperature, options.top_p)
        self.effectiveness = Effectiveness()

    def sample(
        self,
        count: int,
        *,
        seed: int,
        stream: int = 0,
        given: Given | None = None,
        missing: Collection[str] = (),
    ) -> pa.Table:
        """Draw rows with the original columns and types.

        Args:
            count: Number of rows to draw; the first rows do not depend on it.
            seed: Random seed; with `stream`, it determines every row.
            stream: Number of an independent random stream, such as that of a shard.
            given: Known cells of the rows. Either values by column, the same in all
                rows, where None means that the value is missing. Or a table of `count`
                rows with some of the modelled columns, whose nulls are free. Given
                cells, and other columns of that table, are returned unchanged.
            missing: Columns of that table in which a null says that the value is
                missing.

        Raises:
            ValueError: The family cannot condition on any column, a given value never
                occurred in training, or no row with these cells was found.

        A row whose given columns come first in no ordering of the model is completed
        several times and one completion chosen by weight, see `Completer`.

        A row in which a derived cell should follow from cells that do not determine it,
        such as a pair of values that its table lacks, has no probability and is drawn
        again. So is a row with a value outside the range of its column, and a row that
        violates an inequality, unless it is kept with the weight as probability.
        """
        density = self.density
        table, missing = given_table(density.encoder, given, missing, count)
        if table is not None:
            table = solve_given(density.encoder, table, missing)
        first = stream_seed(seed, stream)
        generator = torch.Generator().manual_seed(first)
        parts = []
        for start in range(0, max(count, 1), BATCH_ROWS):
            # Always draw a full batch: the last digits depend on the batch size.
            rows = table.slice(start, BATCH_ROWS) if table is not None else None
            batch_seed = (first << 40) + start
            if rows is None:
                part = self._draw(None, None, generator, batch_seed)
                part = part.slice(0, min(BATCH_ROWS, count - start))
            else:
                part = self._complete(rows, missing, start, generator, batch_seed)
            if rows is not None:
                part = restore_given(part, rows)
            if self.options.log_prob:
                log_prob = pa.array(density.log_prob(part))
                part = part.append_column(LOG_PROB_COLUMN, log_prob)
            parts.append(part)
        return pa.concat_tables(parts, promote_options="permissive")

    def _draw(
        self,
        known: Tensor | None,
        rows: pa.Table | None,
        generator: torch.Generator,
        seed: int,
    ) -> pa.Table:
        """Draw and decode a batch of rows.

        Args:
            known: Given variables, (BATCH_ROWS, dim), NaN where free.
            rows: Given cells of the first rows.
            generator: Source of all draws.
            seed: Chooses among the rare categories that share a code.
        """
        encoder = self.density.encoder
        x = self._variables(BATCH_ROWS, known, generator)
        part = encoder.decode(x, seed=seed, given=rows)
        uniform = self._uniform(BATCH_ROWS, generator)
        for attempt in range(MAX_REDRAWS):
            bad = encoder.undefined(x, part)
            bad |= rows_with(self.rare, encoder, part, rows)
            if uniform is not None:
                tilts = log_tilts(encoder.inequalities, part, encoder.schema, rows)
                bad |= tilts < np.log(uniform)
            if attempt < RANGE_REDRAWS:
                bad |= rows_outside(encoder, part, rows)
            wrong = np.flatnonzero(bad)
            if not len(wrong):
                break
            # Few sizes, as the last digits depend on the number of rows.
            size = max(MIN_REDRAWN, 1 << (len(wrong) - 1).bit_length())
            again = None
            if known is not None:
                again = known[torch.from_numpy(np.resize(wrong, size))]
            x[wrong] = self._variables(size, again, generator)[: len(wrong)]
            if uniform is not None:
                fresh = self._uniform(size, generator)
                assert fresh is not None
                uniform[wrong] = fresh[: len(wrong)]
            part = encoder.decode(x, seed=seed, given=rows)
        if rows_outside(encoder, part, rows).any():
            part = encoder.decode(x, seed=seed, given=rows, adjust=within_range)
        return part

    def _uniform(
        self, count: int, generator: torch.Generator
    ) -> NDArray[np.float64] | None:
        """Draw numbers from (0, 1] that decide which violations of inequalities stay.

        Without weighted inequalities, nothing is drawn.
        """
        if not any(each.log_weight for each in self.density.encoder.inequalities):
            return None
        drawn = torch.rand(count, generator=generator, dtype=torch.float64)
        return np.asarray(1 - drawn.numpy())

    def _variables(
        self, count: int, known: Tensor | None, generator: torch.Generator
    ) -> NDArray[np.float32]:
        """Draw variables of rows, (count, dim), given some of them."""
        model = self.density.model
        device = model.ordering_table.device.type
        rough = self.options.precision == "bf16"
        with torch.autocast(device, torch.bfloat16, enabled=rough):
            x = model.sample(
                count, given=known, generator=generator, sampling=self.sampling
            )
        return np.asarray(x.cpu().numpy())

    def _complete(
        self,
        rows: pa.Table,
        missing: Collection[str],
        start: int,
        generator: torch.Generator,
        seed: int,
    ) -> pa.Table:
        """Draw the unknown cells of a batch of rows.

        Args:
            rows: The rows.
            missing: Columns in which a null says that the value is missing.
            start: Number of the first row, for messages.
            generator: Source of all draws.
            seed: Chooses among the rare categories that share a code.
        """
        density = self.density
        x, late = encode_given(density.encoder, rows, missing, first=start)
        names = [name for name in rows.column_names if name in density.columns]
        known = {name: known_cells(rows, name, missing) for name in names}
        in_order = rows_in_order(density.model, density.columns, known)
        if density.model.order_agnostic:
            check_determined(density.encoder, rows, late, missing)
        in_order &= ~late.any(1)
        fit, other = np.flatnonzero(in_order), np.flatnonzero(~in_order)
        parts = []
        if len(fit) or not len(other):
            # Always draw a full batch: the last digits depend on the batch size.
            padding = np.full((BATCH_ROWS - len(fit), x.shape[1]), np.nan, np.float32)
            own = rows.take(pa.array(fit))
            given = torch.from_numpy(np.concatenate([x[fit], padding]))
            drawn = self._draw(given, own, generator, seed)
            parts.append(drawn.slice(0, len(fit)))
        if len(other):
            cells = KnownCells(rows, x, late, np.zeros_like(late)).take(other)
            parts.append(self._weighted(cells, start + other, generator, seed))
        place = np.argsort(np.concatenate([fit, other]))
        return pa.concat_tables(parts, promote_options="permissive").take(
            pa.array(place)
        )

    def _weighted(
        self,
        known: KnownCells,
        numbers: NDArray[np.int64],
        generator: torch.Generator,
        seed: int,
    ) -> pa.Table:
        """Draw the unknown cells of rows by weights.

        Args:
            known: The known cells of the rows.
            numbers: Numbers of the rows, for messages.
            generator: Source of all draws.
            seed: Chooses among the rare categories that share a code.
        """
        completer = Completer(self.density.encoder, self.density.model)
        parts, order = [], []
        for found in completer.complete(known, generator, seed):
            impossible = found.rows[found.weights.sum(1) == 0]
            if len(impossible):
                raise ValueError(
                    f"row {numbers[impossible[0]]}: the given cells contradict each "
                    "other, or are so improbable together that no row with them was "
                    "found; give fewer of them"
                )
            self.effectiveness.add(found)
            uniform = torch.rand(len(found.rows), generator=generator).numpy()
            parts.append(found.table.take(pa.array(found.choose(uniform))))
            order.append(found.rows)
        place = np.argsort(np.concatenate(order))
        return pa.concat_tables(parts, promote_options="permissive").take(
            pa.array(place)
        )
