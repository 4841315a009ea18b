"""The evaluation of files of test rows, in parallel processes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.scoring.column_log_prob import log_probs
from ar_models.scoring.conformal import array_or_nulls
from ar_models.scoring.statistics import Scores
from ar_models.tables.columns import IN_SUPPORT
from ar_models.tables.encoder import Encoded, TableEncoder
from ar_models.tables.list_column import ListColumn
from tasks.config.evaluate import EvaluateConfig
from tasks.evaluation import held_out, segments, transforms
from tasks.runtime import parts, storage
from tasks.runtime.model_store import load

BASELINE = "independent"
"""Directory, within an evaluation, of the baseline of independent columns."""

ROWS = "rows"
"""Directory, within an evaluation, of the results for each test row."""

SUMS = (
    "log_prob",
    "independent",
    "squared_gain",
    "out_of_support",
    "elements",
    "pit",
)
"""Sums over rows, by column, in the metadata of a part."""


class RowEvaluator:
    """Function that evaluates files of test rows; each process loads the models once.

    Args:
        model: Directory of the model.
        config: Segments and labels.
        folder: Directory of the evaluation, which holds the baseline.
        key: The job key.
    """

    def __init__(
        self, model: str, config: EvaluateConfig, folder: str, key: str
    ) -> None:
        self.density = load(model)
        self.config = config
        self.independent = load(storage.join(folder, BASELINE))
        self.folder = folder
        self.key = key

    def __call__(self, file: held_out.HeldOutFile) -> parts.PartMetadata:
        """Write the part of a file; its metadata holds the sums over the rows."""
        rng = np.random.default_rng(file.index)
        sums, tables = [], []
        label = [self.config.label] if self.config.label else []
        columns = dict.fromkeys([*self.density.columns, *self.config.segments, *label])
        for table in held_out.read_batches(file.path, list(columns)):
            for rows, encoded in self.density.batches(table):
                of_batch, results = self.evaluate_batch(encoded, rng)
                sums.append(of_batch)
                carried = segments.carry(rows, self.config.segments, self.config.label)
                for name, values in carried.items():
                    results = results.append_column(name, values)
                tables.append(results)
        totals = {name: np.sum([s[name] for s in sums], axis=0) for name in SUMS}
        metadata: parts.PartMetadata = {
            **parts.bound(file, self.key),
            **{name: total.tolist() for name, total in totals.items()},
        }
        name = parts.file_name(file.index)
        folder = storage.join(self.folder, ROWS)
        entry = parts.write(folder, name, pa.concat_tables(tables), metadata)
        return {**metadata, "files": [entry]}

    def evaluate_batch(
        self, encoded: Encoded, rng: np.random.Generator
    ) -> tuple[dict[str, NDArray[Any]], pa.Table]:
        """Compute the sums over encoded rows, by column, and the results of each row.

        Args:
            encoded: The rows.
            rng: Source of the noise of probability integral transforms.
        """
        scores = self.density.score_batch(encoded)
        independent = log_probs(self.independent.model, encoded)
        gain = scores.log_prob - independent
        reference = self.density.ranking()
        p_value = None if reference is None else reference.rank(scores.anomaly_score)[0]
        out_of_support = encoded.out_of_support != IN_SUPPORT
        pit = [
            self.count_transforms(conditionals, scores.x, out_of_support, rng)
            for conditionals in self.conditionals_by_ordering(scores)
        ]
        sums = {
            "log_prob": scores.log_prob.sum(axis=0),
            "independent": independent.sum(axis=0),
            "squared_gain": (gain**2).sum(axis=0),
            "out_of_support": out_of_support.sum(axis=0),
            "elements": count_elements(encoded.x, self.density.encoder).sum(axis=0),
            "pit": np.stack(pit),
        }
        results = {
            "log_prob": scores.log_prob.sum(axis=1),
            "independent_log_prob": independent.sum(axis=1),
            "anomaly_score": scores.anomaly_score,
            "p_value": array_or_nulls(p_value, len(encoded.x), pa.float64()),
        }
        return sums, pa.table(results)

    def conditionals_by_ordering(self, scores: Scores) -> Iterator[Conditionals]:
        """Yield the conditionals of a batch for each ordering of the columns."""
        yield scores.conditionals
        for which in range(1, self.density.model.orderings):
            with torch.inference_mode():
                yield self.density.model.conditionals(scores.x, which)

    def count_transforms(
        self,
        conditionals: Conditionals,
        x: Tensor,
        out_of_support: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """Count the probability integral transforms of cells in support.

        Args:
            conditionals: Conditionals of the rows in one ordering.
            x: The rows, (n, dim).
            out_of_support: Cells that are left out, (n, columns).
            rng: Source of the noise.

        Returns:
            Counts in equal bins, (columns, bins).
        """
        noise = rng.random(out_of_support.shape)
        u = transforms.integral_transforms(
            conditionals, x, self.density.encoder.variables, noise
        )
        return np.stack(
            [
                transforms.count_in_bins(column[~left_out])
                for column, left_out in zip(u.T, out_of_support.T, strict=True)
            ]
        )


def count_elements(x: NDArray[np.float32], encoder: TableEncoder) -> NDArray[np.int64]:
    """Count the modelled values of each cell: elements of lists, else one.

    Args:
        x: Encoded rows, (n, dim).
        encoder: The encoder.

    Returns:
        Counts, (n, columns); 0 for lists out of support.
    """
    counts = np.ones((len(x), len(encoder.columns)), np.int64)
    for j, column in enumerate(encoder.columns):
        if isinstance(column, ListColumn):
            own = x[:, encoder.span(j)][:, column.first :]
            present = ~np.isnan(own.reshape(len(x), column.places, column.width))
            counts[:, j] = present.any(axis=2).sum(axis=1)
    return counts
