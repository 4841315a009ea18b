"""A density over the rows of a table, as its consumers hold it, and its saved form."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ar_models.distributions.sampling import SamplingParams
from ar_models.families.base import AutoregressiveModel
from ar_models.families.registry import build, family_name
from ar_models.scoring import explanation
from ar_models.scoring.conformal import (
    SEGMENT,
    Counts,
    Integers,
    Reference,
    Rule,
    flags,
    optional,
)
from ar_models.scoring.imputation import (
    METHODS,
    Method,
    decoded,
    fill,
    impute,
    patched,
    require_order_agnostic,
)
from ar_models.scoring.imputation import details as imputation_details
from ar_models.scoring.statistics import (
    DEFAULT,
    STATISTICS,
    Floats,
    Precision,
    RobustScale,
    Scores,
    Statistic,
    combined_scores,
    log_probs,
    reference_scores,
    robust_scales,
    score_batch,
    statistics_of,
)
from ar_models.tables import arrow
from ar_models.tables.columns import CodeColumn
from ar_models.tables.encoder import Encoded, TableEncoder
from ar_models.tables.lists import ListColumn

FORMAT = 2
"""Number of the saved form that this version writes, and the only one it reads."""

MODEL, WEIGHTS, CALIBRATION = "model.json", "weights.safetensors", "calibration.parquet"
DETAILS = "imputed"
"""Column of imputed rows that tells which cells were filled."""

LOG_PROB = "log_prob"
"""Column of samples with each row's log-probability."""

BATCH = 4096
"""Rows per pass through the network; larger passes were measured to be slower."""

Given: TypeAlias = Mapping[str, object] | pa.Table
"""What is known of rows to draw: values by column, or a row for each."""

MIN_SEGMENT_ROWS = 1000
"""Calibration rows that a segment needs to be compared with its own, by default."""

Missing = Literal["model", "marginalise"]
Explain = Literal["all", "flagged", "none"]

Codes = NDArray[np.int32]


@dataclass
class TableDensity:
    """p(row) of a table's rows: likelihoods, anomaly scores, samples.

    Attributes:
        encoder: From an Arrow table to `x` and back.
        model: The density of `x`.
        calibration: What `reference_scores` gave for the calibration rows, in row
            order; empty if there were none, and then nothing has a p-value.
        info: What the model was made of: name, fingerprints, library versions.
    """

    encoder: TableEncoder
    model: AutoregressiveModel
    calibration: Mapping[str, Floats | Codes] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)  # any JSON value

    def __post_init__(self) -> None:
        self.model.eval()

    @cached_property
    def references(self) -> dict[tuple[str, str | None, int], Reference]:
        """What `reference` has made so far."""
        return {}

    def reference(
        self,
        statistic: Statistic = DEFAULT,
        calibrate_by: str | None = None,
        min_segment_rows: int = MIN_SEGMENT_ROWS,
    ) -> Reference | None:
        """The calibration rows' anomaly scores, or None if there are none.

        Args:
            statistic: What the anomaly score is.
            calibrate_by: The column whose values are segments with a scale of their
                own.
            min_segment_rows: Calibration rows that a segment needs for that.

        Raises:
            ValueError: The column cannot serve.
        """
        if calibrate_by is not None:
            check_segments(self, calibrate_by)
        if not self.calibration:
            return None
        key = (statistic, calibrate_by, min_segment_rows)
        if key not in self.references:
            scores = self.calibration_scores(statistic)
            known = ~np.isnan(scores)  # leave_one_out is told of some rows alone
            codes = None
            if calibrate_by is not None:
                codes = self.calibration[SEGMENT + calibrate_by].astype(np.int64)[known]
            self.references[key] = Reference.of(scores[known], codes, min_segment_rows)
        return self.references[key]

    def segments(
        self, calibrate_by: str, min_segment_rows: int
    ) -> list[dict[str, Any]]:
        """The segments of the calibration rows, JSON-able, by the column's codes.

        Returns:
            For each code its `value`, how many `calibration_rows` have it, and whether
            its rows are compared with its `own`, or, being too few, with all.
        """
        reference = self.reference("surprisal", calibrate_by, min_segment_rows)
        labels = self.encoder.labels(self.columns.index(calibrate_by))
        counts = reference.counts if reference else {}
        return [
            {
                "value": label,
                "calibration_rows": counts.get(code, 0),
                "own": counts.get(code, 0) >= min_segment_rows,
            }
            for code, label in enumerate(labels)
        ]

    def calibration_scores(self, statistic: Statistic) -> Floats:
        """The calibration rows' anomaly scores, in row order, NaN where untold."""
        if statistic == "combined":
            return combined_scores(self.scores)
        return self.scores[statistic]

    @cached_property
    def scores(self) -> dict[str, Floats]:
        """What is known of the calibration rows but for their segments."""
        return {
            name: values.astype(np.float64)
            for name, values in self.calibration.items()
            if not name.startswith(SEGMENT)
        }

    @cached_property
    def scales(self) -> dict[str, RobustScale]:
        """What is usual of the statistics that `combined` is made of."""
        return robust_scales(self.scores)

    @property
    def columns(self) -> list[str]:
        """Names of the modelled columns."""
        return self.encoder.names

    @property
    def sequences(self) -> list[str]:
        """Names of those that are sequences."""
        return [
            column.name
            for column in self.encoder.columns
            if isinstance(column, ListColumn) and not column.shape
        ]

    def column_log_prob(self, table: pa.Table, *, missing: Missing = "model") -> Floats:
        """Log-probability of each column given those before it, (n, columns).

        In nats of the original columns; real columns are densities per unit of the
        column. A row's log-probability is the sum over its columns.

        Args:
            table: Rows with the columns that the encoder knows.
            missing: What a null is: "model": a value that is missing, as in training.
                "marginalise": unknown, so that it counts nothing, and the others count
                by their own joint density; for order-agnostic families.
        """
        batches = self.batches(table, missing)
        parts = [log_probs(self.model, encoded) for _, encoded in batches]
        return np.concatenate([np.empty((0, len(self.columns))), *parts])

    def log_prob(self, table: pa.Table, *, missing: Missing = "model") -> Floats:
        """Log-probability of each row, in nats, (n,); see `column_log_prob`."""
        return np.asarray(self.column_log_prob(table, missing=missing).sum(axis=1))

    def reference_scores(self, table: pa.Table) -> dict[str, Floats | Codes]:
        """What is kept of calibration rows, each (n,).

        Returns:
            log_prob and the score by each statistic, in nats; and for each binary or
            categorical column its codes (-1: none of the known), as `segment:COLUMN`,
            by which rows can be compared with their likes.
        """
        parts: list[dict[str, Floats | Codes]] = []
        for _, encoded in self.batches(table):
            codes = {
                SEGMENT + name: codes_of(self.encoder, encoded, name).astype(np.int32)
                for name in segment_columns(self)
            }
            scores = reference_scores(self.model, encoded)
            parts.append({**scores, **codes})
        return {
            name: np.concatenate([part[name] for part in parts]) for name in parts[0]
        }

    def score(
        self,
        table: pa.Table,
        *,
        statistic: Statistic = DEFAULT,
        threshold: float | None = None,
        fdr: float | None = None,
        budget: float | None = None,
        calibrate_by: str | None = None,
        min_segment_rows: int = MIN_SEGMENT_ROWS,
        missing: Missing = "model",
        explain: Explain = "all",
        explain_columns: int = 3,
        column_log_prob: bool = False,
        precision: Precision = "fp32",
    ) -> pa.Table:
        """How anomalous each row is, and which columns are to blame.

        See `statistics.score_batch` for the statistics. The default, `combined`,
        weighs what was found against what the model expects, in three ways of which
        the greatest counts, so that units cancel and a noisy column does not drown an
        exact one.

        The rows of `table` are taken for the whole dataset where their number matters:
        in q-values, and in a budget. At most one of `threshold`, `fdr` and `budget`
        says what an anomaly is; a severity of 99.9 if none does.

        Args:
            table: Rows with the columns that the encoder knows, in any order.
            statistic: What the anomaly score is.
            threshold: Severity from which a row is an anomaly.
            fdr: q_value up to which a row is an anomaly: the expected share of false
                alarms among the anomalies.
            budget: Rows that are anomalies: their number, or a share below 1. Ties go
                by p-value, then by anomaly score, then to the earlier row.
            calibrate_by: A binary or categorical column: p_value and severity compare a
                row with the calibration rows of the same value.
            min_segment_rows: Calibration rows that a value needs for that; rows of
                rarer ones, and of ones never seen, are compared with all.
            missing: What a null is, see `column_log_prob`. The calibration rows' nulls
                were modelled; one that is marginalised adds 0 to a score, which is the
                expected excess of any column.
            explain: Which rows get an explanation; the others have null.
            explain_columns: How many columns an explanation names, at most.
            column_log_prob: Whether to add each column's log-probability, and of
                sequences each place's.
            precision: Of the network's products; bf16 is faster, and numbers are off by
                some hundredths of a nat, where the calibration rows' are not.

        Returns:
            A row for each given one: log_prob (nats), anomaly_score (nats), uncertainty
            (its standard deviation over the orderings and members of an ensemble, null
            where there is one), p_value (share of calibration rows at least as
            anomalous), q_value (Benjamini and Hochberg's, over `table`), severity
            (percentage of calibration rows less anomalous), is_anomaly, explanation,
            and on demand the struct column_log_prob and, where there are sequences,
            place_log_prob, a list for each of them (of reals in the encoder's
            coordinates). Without calibration rows p_value, q_value and severity are
            null, and is_anomaly is but for a budget.
        """
        rule = Rule.of(threshold, fdr, budget)
        check_choices(statistic, explain, rule, bool(self.calibration))
        found = self.measure(
            table,
            statistic=statistic,
            calibrate_by=calibrate_by,
            min_segment_rows=min_segment_rows,
            missing=missing,
            explain_columns=explain_columns if explain == "all" else 0,
            column_log_prob=column_log_prob,
            precision=precision,
        )
        ranked = {}
        if self.calibration:
            p_value = found["p_value"].to_numpy()
            ranked = {
                "p_value": p_value,
                "q_value": Counts.of(p_value).q_value(p_value),
                "severity": found["severity"].to_numpy(),
            }
        flagged = flags(rule, found["anomaly_score"].to_numpy(), ranked)
        if explain == "flagged":
            assert flagged is not None  # or check_choices would have raised
            reasons = self.explain_some(
                table,
                flagged,
                statistic,
                explain_columns,
                missing=missing,
                precision=precision,
            )
            found = put(found, "explanation", reasons)
        found = put(
            found, "q_value", optional(ranked.get("q_value"), len(found), pa.float64())
        )
        return put(found, "is_anomaly", optional(flagged, len(found), pa.bool_()))

    def measure(
        self,
        table: pa.Table,
        *,
        statistic: Statistic = DEFAULT,
        calibrate_by: str | None = None,
        min_segment_rows: int = MIN_SEGMENT_ROWS,
        missing: Missing = "model",
        explain_columns: int = 0,
        column_log_prob: bool = False,
        precision: Precision = "fp32",
    ) -> pa.Table:
        """What `score` gives as far as it depends on nothing but each row itself.

        So q_value and is_anomaly are null.

        Args:
            table: As for `score`.
            statistic: As for `score`.
            calibrate_by: As for `score`.
            min_segment_rows: As for `score`.
            missing: As for `score`.
            explain_columns: Columns named in the explanations; 0: they are null.
            column_log_prob: As for `score`.
            precision: As for `score`.
        """
        self.check_statistic(statistic)
        reference = self.reference(statistic, calibrate_by, min_segment_rows)
        schema = scored_schema(
            self.columns if column_log_prob else None, self.sequences
        )
        parts = [schema.empty_table()]
        for rows, encoded in self.batches(table, missing):
            batch_scores = self.score_batch(encoded, statistic, precision)
            scores = batch_scores.anomaly_score
            ranked: Sequence[Floats | None] = (None, None)
            if reference is not None:
                codes = None
                if calibrate_by is not None:
                    codes = codes_of(self.encoder, encoded, calibrate_by)
                ranked = reference.rank(scores, codes)
            fields = {
                "log_prob": pa.array(batch_scores.log_prob.sum(axis=1)),
                "anomaly_score": pa.array(scores),
                "uncertainty": uncertainty(batch_scores),
                "p_value": optional(ranked[0], len(rows), pa.float64()),
                "q_value": pa.nulls(len(rows), pa.float64()),
                "severity": optional(ranked[1], len(rows), pa.float64()),
                "is_anomaly": pa.nulls(len(rows), pa.bool_()),
                "explanation": pa.nulls(len(rows), explanation.EXPLANATION),
            }
            if explain_columns:
                fields["explanation"] = self.explain(
                    rows, encoded, batch_scores, explain_columns
                )
            if column_log_prob:
                each = [pa.array(column) for column in batch_scores.log_prob.T]
                fields["column_log_prob"] = pa.StructArray.from_arrays(
                    each, self.columns
                )
                if self.sequences:
                    fields["place_log_prob"] = self._places(batch_scores)
            parts.append(pa.table([fields[n] for n in schema.names], schema=schema))
        return pa.concat_tables(parts)

    def score_batch(
        self,
        encoded: Encoded,
        statistic: Statistic = DEFAULT,
        precision: Precision = "fp32",
    ) -> Scores:
        """What the model says about encoded rows.

        Raises:
            ValueError: The model cannot tell that statistic.
        """
        self.check_statistic(statistic)
        return score_batch(self.model, encoded, statistic, self.scales, precision)

    def explain(
        self, rows: pa.Table, encoded: Encoded, batch_scores: Scores, columns: int
    ) -> pa.Array:
        """Explanations of judged rows, (n,), each naming so many columns."""
        return explanation.explain(
            self.encoder, self.model, rows, encoded, batch_scores, columns=columns
        )

    def explain_some(
        self,
        table: pa.Table,
        which: NDArray[np.bool_],
        statistic: Statistic,
        columns: int,
        *,
        missing: Missing = "model",
        precision: Precision = "fp32",
    ) -> pa.Array:
        """Explanations of the rows where `which` (n,) is true, null elsewhere: (n,).

        The network sees those rows only, together, which is many times cheaper than to
        explain a few in each batch.
        """
        if not which.any():
            return pa.nulls(len(table), explanation.EXPLANATION)
        chosen = table.filter(pa.array(which))
        found = [pa.array([], explanation.EXPLANATION)]
        for rows, encoded in self.batches(chosen, missing):
            batch_scores = self.score_batch(encoded, statistic, precision)
            found.append(self.explain(rows, encoded, batch_scores, columns))
        places = np.cumsum(which) - 1
        return pa.concat_arrays(found).take(pa.array(places, mask=~which))

    def check_statistic(self, statistic: Statistic) -> None:
        """Raises ValueError where this model cannot tell a statistic."""
        if statistic not in statistics_of(self.model):
            raise ValueError(
                f"statistic {statistic!r} needs a model that predicts any column from "
                "all others: family eonade, or transformer with order_agnostic, and no "
                f"ensemble; this one is {type(self.model).__name__}"
            )
        known = ["combined", *self.scores]
        if self.calibration and statistic not in known:
            raise ValueError(
                f"statistic {statistic!r} has no calibration scores in this model, "
                f"which knows {', '.join(known)}; train it anew"
            )

    def _places(self, batch_scores: Scores) -> pa.Array:
        """The log-probability of each place of each sequence, a struct of lists."""
        lists = []
        for j, column in enumerate(self.encoder.columns):
            if isinstance(column, ListColumn) and not column.shape:
                span, shape = self.encoder.span(j), (column.places, column.width)
                own = slice(span.start + column.first, span.stop)
                present = ~batch_scores.x[:, own].unflatten(1, shape).isnan()
                sums = batch_scores.network[:, own].unflatten(1, shape).sum(-1)
                there = present.any(-1).cpu().numpy()
                ends = np.concatenate([[0], there.sum(axis=1).cumsum()])
                values = pa.array(sums.double().cpu().numpy()[there])
                lists.append(
                    pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)
                )
        return pa.StructArray.from_arrays(lists, self.sequences)

    def sample(
        self,
        count: int,
        *,
        seed: int,
        stream: int = 0,
        log_prob: bool = False,
        temperature: float = 1.0,
        top_p: float = 1.0,
        precision: Precision = "fp32",
        given: Given | None = None,
        missing: Collection[str] = (),
    ) -> pa.Table:
        """Draws rows with the original columns and types.

        Args:
            count: How many; the first ones do not depend on it.
            seed: With `stream`, fixes every row.
            stream: Number of an independent stream of draws, such as a shard.
            log_prob: Whether to add the column log_prob, in nats, as `log_prob` gives
                it for the drawn rows.
            temperature: Of every conditional, see `SamplingParams`; 1 is exact.
            top_p: Of every conditional, likewise.
            precision: Of the network's products; bf16 is faster, and rows then follow
                a density that is off by its rounding. log_prob is always in fp32.
            given: What is known of the rows: values by column, the same in all rows,
                None meaning that the value is missing. Or a table of `count` rows with
                some of the modelled columns, whose nulls are free. Given cells come
                back as they are, and so do the table's other columns.
            missing: Columns of that table in which a null says that the value is
                missing.

        Raises:
            ValueError: The family cannot condition on these columns, or a given value
                never occurred in training.
        """
        sampling = SamplingParams(temperature, top_p)
        device = self.model.ordering_table.device.type
        table, missing = given_table(self.encoder, given, missing, count)
        first = stream_seed(seed, stream)
        generator = torch.Generator().manual_seed(first)
        parts = []
        for start in range(0, max(count, 1), BATCH):
            # Whole batches, cut: the last digits depend on the size of a batch.
            rows = table.slice(start, BATCH) if table is not None else None
            known = None if rows is None else self._given(rows, missing, start)
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                x = self.model.sample(
                    BATCH, given=known, generator=generator, sampling=sampling
                )
            part = self.encoder.decode(x.cpu().numpy(), seed=(first << 40) + start)
            part = part.slice(0, min(BATCH, count - start))
            if rows is not None:
                part = carry(part, rows)
            if log_prob:
                part = part.append_column(LOG_PROB, pa.array(self.log_prob(part)))
            parts.append(part)
        return pa.concat_tables(parts, promote_options="permissive")

    def _given(self, rows: pa.Table, missing: Collection[str], start: int) -> Tensor:
        """The variables that given rows fix, as a whole batch: (BATCH, dim)."""
        x = self.encoder.encode_given(rows, missing, first=start)
        known = {
            column: array.is_valid().to_numpy() | (column in missing)
            for column, array in zip(rows.column_names, rows.columns, strict=True)
            if column in self.columns
        }
        check_given(self.model, self.columns, known)
        # What fills the batch up is cut off again.
        fill = np.full((BATCH - len(x), x.shape[1]), np.nan, np.float32)
        return torch.from_numpy(np.concatenate([x, fill]))

    def impute(
        self,
        table: pa.Table,
        *,
        method: Method = "draw",
        seed: int = 0,
        stream: int = 0,
        confidence: float = 0.9,
        details: bool = False,
    ) -> pa.Table:
        """The same rows with the nulls of the modelled columns filled.

        See `imputation.impute`. All other cells and columns are as they were. A null
        is taken for unknown, also where nulls occurred in training; NaN is a value.

        Args:
            table: Rows with the columns that the encoder knows.
            method: "draw", or the likeliest category and the "median" or "mean" of a
                number.
            seed: With `stream`, fixes every draw.
            stream: Number of an independent stream of draws.
            confidence: Of the central intervals of numbers that are not drawn.
            details: Whether to add the column `imputed`: of each filled cell its
                column, the conditional probability of the value and, unless drawn, the
                ends of its interval as text.

        Raises:
            ValueError: The family is not order-agnostic.
        """
        if method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {method!r}")
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
        require_order_agnostic(self.model)
        first = stream_seed(seed, stream)
        generator = torch.Generator().manual_seed(first)
        parts = []
        for start in range(0, max(len(table), 1), BATCH):
            rows = table.slice(start, BATCH)
            fillings = impute(
                self.encoder,
                self.model,
                rows,
                method,
                torch.rand(BATCH, self.model.dim, 2, generator=generator),
                confidence=confidence,
                seed=(first << 40) + start,
            )
            filled = fill(rows, fillings)
            if details:
                told = imputation_details(fillings, len(rows))
                filled = filled.append_column(DETAILS, told)
            parts.append(filled)
        return pa.concat_tables(parts)

    @torch.inference_mode()
    def features(self, table: pa.Table) -> NDArray[np.float32]:
        """What the network makes of each row, for other models, (n, features)."""
        device = self.model.ordering_table.device
        parts = [
            self.model.features(torch.from_numpy(encoded.x).to(device)).cpu().numpy()
            for _, encoded in self.batches(table)
        ]
        return np.concatenate(parts)

    def save(self, folder: Path) -> None:
        """Writes the saved form into `folder`: JSON, safetensors and Parquet files."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = weights_in_bytes(self.model)
        (folder / WEIGHTS).write_bytes(weights)
        if self.calibration:
            pq.write_table(pa.table(dict(self.calibration)), folder / CALIBRATION)
        content = {
            "format": FORMAT,
            "family": family_name(self.model),
            "config": self.model.config(),
            "encoder": self.encoder.to_dict(),
        }
        found = hashlib.sha256(weights).hexdigest()
        fingerprints = {
            **self.info.get("fingerprints", {}),
            "encoder": self.encoder.fingerprint,
            "weights": found,
            "model": fingerprint(content, found, self.calibration),
        }
        info = {**self.info, "versions": versions(), "fingerprints": fingerprints}
        (folder / MODEL).write_text(json.dumps(content | {"info": info}) + "\n")

    @classmethod
    def load(
        cls, folder: Path, device: str | torch.device | None = None
    ) -> "TableDensity":
        """The density that `save` wrote.

        Raises:
            FileNotFoundError: The folder lacks one of the files.
            ValueError: A file is damaged, belongs to another model, or has a format
                that this version does not know.
        """
        content = read_model(folder)
        encoder = TableEncoder.from_dict(content["encoder"])
        stated = content["info"]["fingerprints"]["weights"]
        model = build(content["family"], encoder.variables, **content["config"])
        model.load_state_dict(load_tensors(read_weights(folder, WEIGHTS, stated)))
        model = model.to(device or "cpu")
        return cls(encoder, model, read_calibration(folder), content["info"])

    def batches(
        self, table: pa.Table, missing: Missing = "model"
    ) -> Iterator[tuple[pa.Table, Encoded]]:
        """The table in parts of `BATCH` rows, at least one, with their encoding.

        Raises:
            ValueError: Nulls are to be marginalised, and the model cannot do that.
        """
        if missing not in ("model", "marginalise"):
            raise ValueError(
                f"missing must be 'model' or 'marginalise', got {missing!r}"
            )
        if missing == "marginalise" and not self.model.order_agnostic:
            raise ValueError(
                f"a {type(self.model).__name__} cannot marginalise missing values; use "
                "missing 'model', or train with model.family eonade, or transformer "
                "with order_agnostic: true"
            )
        for start in range(0, max(len(table), 1), BATCH):
            rows = table.slice(start, BATCH)
            encoded = self.encoder.encode(rows)
            if missing == "marginalise":
                encoded = self.encoder.without_nulls(encoded, rows)
            yield rows, encoded


def given_table(
    encoder: TableEncoder, given: Given | None, missing: Collection[str], count: int
) -> tuple[pa.Table | None, Collection[str]]:
    """What is given as a table of `count` rows, and where its nulls mean missing.

    Raises:
        ValueError: A column is not modelled, a value has the wrong type, or the table
            has another number of rows.
    """
    if given is None or (isinstance(given, Mapping) and not given):
        return None, ()
    if isinstance(given, pa.Table):
        if given.num_rows != count:
            raise ValueError(
                f"{given.num_rows} rows are given for {count} to draw; give a row for "
                "each"
            )
        check_modelled(encoder, missing)
        return given, missing
    check_modelled(encoder, given)
    arrays = {
        name: constant_array(name, value, encoder.type_of(encoder.names.index(name)))
        for name, value in given.items()
    }
    one = pa.table(arrays)
    gone = [name for name, value in given.items() if value is None]
    return one.take(pa.array(np.zeros(count, np.int64))), gone


def check_modelled(encoder: TableEncoder, columns: Iterable[str]) -> None:
    """Raises ValueError where one of the columns is not modelled."""
    for name in columns:
        if name in encoder.names:
            continue
        reasons = {left.name: left.reason for left in encoder.left_out}
        why = f"is left out ({reasons[name]})" if name in reasons else "is unknown"
        raise ValueError(
            f"column {name!r} {why}, so nothing can be given of it; modelled are "
            f"{', '.join(encoder.names)}"
        )


def constant_array(name: str, value: object, type: pa.DataType) -> pa.Array:
    """One cell of a column, from what Python holds of it."""
    try:
        return pa.array([value], type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise ValueError(
            f"column {name!r} holds {type}, got {value!r}: {error}"
        ) from error


def check_given(
    model: AutoregressiveModel,
    columns: Sequence[str],
    known: Mapping[str, NDArray[np.bool_]],
) -> None:
    """Raises ValueError where a model cannot condition on given columns.

    Args:
        model: The model.
        columns: Names of the modelled columns.
        known: Of the columns that are given, in which rows they are.
    """
    if model.order_agnostic or not any(rows.any() for rows in known.values()):
        return
    orders = [] if model.is_bound else orders_of_columns(model, columns)
    rows = np.stack([known[name] for name in known], axis=1)
    for pattern in np.unique(rows, axis=0):
        names = {name for name, fixed in zip(known, pattern, strict=True) if fixed}
        if any(set(order[: len(names)]) == names for order in orders):
            continue
        listed = ", ".join(name for name in columns if name in names)
        says = (
            f"of this model's orderings, {len(orders)} in number, none starts with "
            f"them (the first one: {', '.join(orders[0])})"
            if orders
            else "this family cannot condition on any"
        )
        raise ValueError(
            f"given are {listed}, but {says}; train with model.family eonade, or "
            "transformer with order_agnostic: true, which take any columns, or with "
            f"model.ordering: [{listed}], which puts these first"
        )


def orders_of_columns(
    model: AutoregressiveModel, columns: Sequence[str]
) -> list[list[str]]:
    """The columns in each ordering of a model."""
    return [
        list(dict.fromkeys(columns[model.variables[i].column_index] for i in order))
        for order in model.ordering_table.tolist()
    ]


def carry(drawn: pa.Table, given: pa.Table) -> pa.Table:
    """Drawn rows with the given cells as they are, and with the given other columns."""
    for name, array in zip(given.column_names, given.columns, strict=True):
        if name not in drawn.column_names:
            drawn = drawn.append_column(given.schema.field(name), array)
            continue
        place = drawn.column_names.index(name)
        field = drawn.schema.field(place)
        plain = arrow.plain(field.type)
        # A dictionary of another column of strings must not come between.
        own, other = decoded(array, plain), decoded(drawn.column(place), plain)
        rows = np.arange(len(own))
        sources = np.where(own.is_valid().to_numpy(), rows, len(own) + rows)
        filled = arrow.as_type(patched(own, other, sources), field.type)
        drawn = drawn.set_column(place, field, filled)
    return drawn


def check_choices(statistic: str, explain: str, rule: Rule, calibrated: bool) -> None:
    """Raises ValueError where `TableDensity.score` cannot do as asked."""
    if statistic not in STATISTICS:
        raise ValueError(f"statistic must be one of {STATISTICS}, got {statistic!r}")
    if explain not in ("all", "flagged", "none"):
        raise ValueError(f"explain must be 'all', 'flagged' or 'none', got {explain!r}")
    if explain == "flagged" and not calibrated and rule.kind != "budget":
        raise ValueError(
            "explain 'flagged' needs calibration rows, and this model has none; flag "
            "by a budget, explain 'all' or 'none', or train with a calibration share "
            "above 0"
        )


def check_segments(density: TableDensity, column: str) -> None:
    """Raises ValueError where rows cannot be compared within values of a column."""
    could = segment_columns(density)
    if column in could:
        if density.calibration and SEGMENT + column not in density.calibration:
            raise ValueError(
                f"calibrate_by: an earlier version wrote the model, without the values "
                f"of {column!r} in its calibration rows; train it anew"
            )
        return
    encoder = density.encoder
    kinds = {c.name: f"is modelled as {c.kind}" for c in encoder.columns}
    kinds |= {c.name: f"was left out ({c.reason})" for c in encoder.left_out}
    raise ValueError(
        f"calibrate_by: column {column!r} {kinds.get(column, 'is not modelled')}, and "
        f"only binary and categorical columns can be segments: {could!r}; name one of "
        "them, or give it that kind under data.columns and train anew"
    )


def segment_columns(density: TableDensity) -> list[str]:
    """The columns by whose values rows can be told apart: those of codes."""
    return [c.name for c in density.encoder.columns if isinstance(c, CodeColumn)]


def codes_of(encoder: TableEncoder, encoded: Encoded, column: str) -> Integers:
    """The codes of a column of codes, -1 where it is out of support, (n,)."""
    x = encoded.x[:, encoder.span(encoder.names.index(column)).start]
    codes: Integers = np.nan_to_num(x, nan=-1.0).astype(np.int64)
    return codes


def put(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """`table` with other values in the column `name`."""
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), values)


def uncertainty(batch_scores: Scores) -> pa.Array:
    """The column of that name, null where nothing tells how sure a score is."""
    if batch_scores.uncertainty is None:
        return pa.nulls(len(batch_scores.x), pa.float64())
    return pa.array(batch_scores.uncertainty)


def scored_schema(
    columns: Sequence[str] | None = None, sequences: Sequence[str] = ()
) -> pa.Schema:
    """The columns that `TableDensity.score` gives.

    Args:
        columns: Names of the modelled columns, if column_log_prob is one of them.
        sequences: Names of those that are sequences; then so is place_log_prob.
    """
    fields = [
        ("log_prob", pa.float64()),
        ("anomaly_score", pa.float64()),
        ("uncertainty", pa.float64()),
        ("p_value", pa.float64()),
        ("q_value", pa.float64()),
        ("severity", pa.float64()),
        ("is_anomaly", pa.bool_()),
        ("explanation", explanation.EXPLANATION),
    ]
    if columns is not None:
        each = pa.struct([(name, pa.float64()) for name in columns])
        fields.append(("column_log_prob", each))
        if sequences:
            lists = pa.struct([(name, pa.list_(pa.float64())) for name in sequences])
            fields.append(("place_log_prob", lists))
    return pa.schema(fields)


def stream_seed(seed: int, stream: int) -> int:
    """The seed of a stream: 32 bits, all that torch's CPU generator takes.

    With a hash of both, two of ten thousand streams would coincide in one job of a
    hundred. So the seed fixes a starting point and the stream is counted from it, which
    keeps streams apart; an invertible mixing step spreads neighbours.
    """
    start = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4])
    mixed = (start + stream) % 2**32
    for multiplier in (0x7FEB352D, 0x846CA68B):
        mixed = (mixed ^ mixed >> 16) * multiplier % 2**32
    return mixed ^ mixed >> 16


def fingerprint(
    content: Mapping[str, Any],  # any JSON value
    weights: str,
    calibration: Mapping[str, Floats | Codes],
) -> str:
    """A hash of all that a model computes with.

    Args:
        content: Its description.
        weights: The hash of its weights.
        calibration: The calibration rows' scores, on which p-values depend.
    """
    scores = {
        name: hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
        for name, values in calibration.items()
    }
    canonical = json.dumps([content, weights, scores], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of the libraries that a saved model depends on."""
    return {n: version(n) for n in ("numpy", "pyarrow", "safetensors", "torch")}


def read_model(folder: Path) -> dict[str, Any]:  # any JSON value
    """The content of a folder's model.json, of the known format."""
    path = folder / MODEL
    if not path.exists():
        raise FileNotFoundError(f"{folder}: is not a model folder, {MODEL} is missing")
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: is damaged, not whole JSON: {error}") from error
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{path}: has format {content.get('format')!r}, this version reads "
            f"{FORMAT}; use the version of chainrule that wrote it"
        )
    return content


def weights_in_bytes(model: AutoregressiveModel) -> bytes:
    """The weights of a model as a safetensors file holds them."""
    state = model.state_dict()
    return save_tensors({n: t.cpu().contiguous() for n, t in state.items()})


def read_weights(folder: Path, file: str, stated: str) -> bytes:
    """The bytes of a file of weights in a folder, whose SHA-256 must be as stated."""
    path = folder / file
    if not path.exists():
        raise FileNotFoundError(f"{folder}: is not whole, {file} is missing")
    weights = path.read_bytes()
    found = hashlib.sha256(weights).hexdigest()
    if found != stated:
        raise ValueError(
            f"{path}: is damaged or belongs to another model: its SHA-256 is "
            f"{found[:16]}…, {MODEL} states {stated[:16]}…; copy the whole folder again"
        )
    return weights


def read_calibration(folder: Path) -> dict[str, Floats | Codes]:
    """The calibration rows' scores, or nothing where the folder has none."""
    path = folder / CALIBRATION
    if not path.exists():
        return {}
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: is damaged: {error}") from error
    return {name: table[name].to_numpy() for name in table.column_names}
