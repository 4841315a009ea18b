"""A density over the rows of a table: encoder, model and calibration scores."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from ar_models.density.segments import Segment, check_segment_column, segment_columns
from ar_models.families.base import AutoregressiveModel
from ar_models.scoring.choices import (
    DEFAULT_STATISTIC,
    DISTANCES,
    MissingPolicy,
    Precision,
    Statistic,
)
from ar_models.scoring.column_log_prob import log_probs
from ar_models.scoring.conformal import SEGMENT_PREFIX, Ranking
from ar_models.scoring.nearness import Nearness
from ar_models.scoring.robust_scale import RobustScale, combined_scores, robust_scales
from ar_models.scoring.statistics import (
    Scores,
    reference_scores,
    score_batch,
    statistics_of,
)
from ar_models.tables.encoder import Encoded, TableEncoder
from ar_models.tables.list_column import ListColumn

BATCH_ROWS = 4096
"""Rows per pass through the network; larger passes were measured to be slower."""

MIN_SEGMENT_ROWS = 1000
"""Default number of calibration rows that a segment needs for a ranking of its own."""

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]


@dataclass
class TableDensity:
    """A probability density over the rows of a table.

    Attributes:
        encoder: Maps Arrow tables to variables `x` and back.
        model: Density of `x`.
        calibration: Scores of the calibration rows in row order, as `reference_scores`
            returns them; empty if there are none, and then rows get no p-values.
        info: Provenance of the model: name, fingerprints, library versions.
        nearness: Training rows to which distances are measured; None: none are stored.
    """

    encoder: TableEncoder
    model: AutoregressiveModel
    calibration: Mapping[str, Floats | Codes] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)  # any JSON value
    nearness: Nearness | None = None

    def __post_init__(self) -> None:
        self.model.eval()

    @property
    def columns(self) -> list[str]:
        """Names of the modelled columns."""
        return self.encoder.names

    @property
    def sequences(self) -> list[str]:
        """Names of the modelled columns that hold sequences."""
        return [
            column.name
            for column in self.encoder.columns
            if isinstance(column, ListColumn) and not column.shape
        ]

    def column_log_prob(
        self, table: pa.Table, *, missing: MissingPolicy = "model"
    ) -> Floats:
        """Return the log-probability of each column given those before it.

        Args:
            table: Rows with the columns that the encoder knows.
            missing: Meaning of a null. "model": the value is missing, as in training.
                "marginalise": the value is unknown; it adds nothing, and the other
                columns count by their joint density. For order-agnostic families.

        Returns:
            Nats per cell, (n, columns), in units of the original columns: real columns
            are densities per unit. A row's log-probability is the sum over its columns.
        """
        batches = self.batches(table, missing)
        parts = [log_probs(self.model, encoded) for _, encoded in batches]
        return np.concatenate([np.empty((0, len(self.columns))), *parts])

    def log_prob(self, table: pa.Table, *, missing: MissingPolicy = "model") -> Floats:
        """Return the log-probability of each row, (n,), in nats.

        Args:
            table: Rows with the columns that the encoder knows.
            missing: Meaning of a null, see `column_log_prob`.
        """
        return np.asarray(self.column_log_prob(table, missing=missing).sum(axis=1))

    @torch.inference_mode()
    def features(self, table: pa.Table) -> NDArray[np.float32]:
        """Return the network's representation of each row, (n, features)."""
        device = self.model.ordering_table.device
        parts = [
            self.model.features(torch.from_numpy(encoded.x).to(device)).cpu().numpy()
            for _, encoded in self.batches(table)
        ]
        return np.concatenate(parts)

    def score_batch(
        self,
        encoded: Encoded,
        statistic: Statistic = DEFAULT_STATISTIC,
        precision: Precision = "fp32",
    ) -> Scores:
        """Score encoded rows by one statistic.

        Raises:
            ValueError: The model does not support the statistic.
        """
        self.check_statistic(statistic)
        return score_batch(
            self.model, encoded, statistic, self.scales, precision, self.nearness
        )

    def check_statistic(self, statistic: Statistic) -> None:
        """Raise ValueError if the model does not support a statistic."""
        if statistic in DISTANCES and self.nearness is None:
            raise ValueError(
                f"statistic {statistic!r} needs training rows that are stored with the "
                "model, and this one has none: an earlier version trained it, it has "
                "very few training rows, or lists and texts alone; train it again, or "
                "use another statistic"
            )
        if statistic not in statistics_of(self.model, self.nearness):
            raise ValueError(
                f"statistic {statistic!r} needs a model that predicts any column from "
                "all others: family eonade, or transformer with order_agnostic, and no "
                f"ensemble; this one is {type(self.model).__name__}"
            )
        known = ["combined", *self.row_scores]
        if self.calibration and statistic not in known:
            raise ValueError(
                f"statistic {statistic!r} has no calibration scores in this model, "
                f"which has those of {', '.join(known)}; train the model again"
            )

    def reference_scores(self, table: pa.Table) -> dict[str, Floats | Codes]:
        """Compute what `calibration` holds about calibration rows.

        Args:
            table: Calibration rows, n.

        Returns:
            Arrays (n,): `log_prob` and the anomaly score by each statistic, in nats;
            and the codes of each binary or categorical column (-1: unknown value) as
            `segment:COLUMN`, by which rows can be compared within segments.
        """
        parts: list[dict[str, Floats | Codes]] = []
        for rows, encoded in self.batches(table):
            codes = {
                SEGMENT_PREFIX + name: self.encoder.codes(rows, name).astype(np.int32)
                for name in segment_columns(self.encoder)
            }
            scores = reference_scores(self.model, encoded, self.nearness)
            parts.append({**scores, **codes})
        return {
            name: np.concatenate([part[name] for part in parts]) for name in parts[0]
        }

    @cached_property
    def row_scores(self) -> dict[str, Floats]:
        """Calibration scores without segment codes, each (n,)."""
        return {
            name: values.astype(np.float64)
            for name, values in self.calibration.items()
            if not name.startswith(SEGMENT_PREFIX)
        }

    @cached_property
    def scales(self) -> dict[str, RobustScale]:
        """Calibration scales of the components of the statistic `combined`."""
        return robust_scales(self.row_scores)

    def calibration_scores(self, statistic: Statistic) -> Floats:
        """Return the calibration rows' anomaly scores, (n,); NaN where not computed."""
        if statistic == "combined":
            return combined_scores(self.row_scores)
        return self.row_scores[statistic]

    @cached_property
    def rankings(self) -> dict[tuple[str, str | None, int], Ranking]:
        """Rankings that were made before, keyed by the arguments of `ranking`."""
        return {}

    def ranking(
        self,
        statistic: Statistic = DEFAULT_STATISTIC,
        calibrate_by: str | None = None,
        min_segment_rows: int = MIN_SEGMENT_ROWS,
    ) -> Ranking | None:
        """Return the ranking among calibration rows, or None if there are none.

        Args:
            statistic: Statistic that the anomaly score is.
            calibrate_by: Column within whose values rows are ranked.
            min_segment_rows: Calibration rows that a value needs for that.

        Raises:
            ValueError: The column cannot define segments.
        """
        if calibrate_by is not None:
            check_segment_column(self.encoder, self.calibration, calibrate_by)
        if not self.calibration:
            return None
        key = (statistic, calibrate_by, min_segment_rows)
        if key not in self.rankings:
            scores = self.calibration_scores(statistic)
            known = ~np.isnan(scores)  # leave_one_out is known of some rows alone
            codes = None
            if calibrate_by is not None:
                stored = self.calibration[SEGMENT_PREFIX + calibrate_by]
                codes = stored.astype(np.int64)[known]
            self.rankings[key] = Ranking.of(scores[known], codes, min_segment_rows)
        return self.rankings[key]

    def segments(self, column: str, min_segment_rows: int) -> list[Segment]:
        """List the segments of a column in the order of its codes.

        Raises:
            ValueError: The column cannot define segments.
        """
        ranking = self.ranking("surprisal", column, min_segment_rows)
        labels = self.encoder.labels(self.columns.index(column))
        counts = ranking.counts if ranking else {}
        return [
            Segment(label, counts.get(code, 0), counts.get(code, 0) >= min_segment_rows)
            for code, label in enumerate(labels)
        ]

    def batches(
        self, table: pa.Table, missing: MissingPolicy = "model"
    ) -> Iterator[tuple[pa.Table, Encoded]]:
        """Yield the table in batches of `BATCH_ROWS` rows, with their encoding.

        An empty table yields one empty batch.

        Raises:
            ValueError: Nulls are to be marginalised, which the model cannot do.
        """
        if missing not in get_args(MissingPolicy):
            raise ValueError(
                f"missing must be 'model' or 'marginalise', got {missing!r}"
            )
        if missing == "marginalise" and not self.model.order_agnostic:
            raise ValueError(
                f"a {type(self.model).__name__} cannot marginalise missing values; use "
                "missing 'model', or train with model.family eonade, or transformer "
                "with order_agnostic: true"
            )
        table = self.encoder.flatten(table)
        for start in range(0, max(len(table), 1), BATCH_ROWS):
            rows = table.slice(start, BATCH_ROWS)
            encoded = self.encoder.encode(rows)
            if missing == "marginalise":
                encoded = self.encoder.without_nulls(encoded, rows)
            yield rows, encoded
