"""A density over the rows of a table, as its consumers hold it, and its saved form."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ar_models.autoregressive import AutoregressiveModel
from ar_models.conditionals import Conditionals
from ar_models.columns import PRESENT
from ar_models.encoder import Encoded, TableEncoder
from ar_models.explanation import EXPLANATION
from ar_models.explanation import explain as explain_rows
from ar_models.families import MODELS
from ar_models.variables import Variable

FORMAT = 1
"""Number of the saved form that this version writes, and the only one it reads."""

MODEL, WEIGHTS, CALIBRATION = "model.json", "weights.safetensors", "calibration.parquet"

BATCH = 4096
"""Rows per pass through the network; larger passes were measured to be slower."""

TIE = 1e-4
"""Anomaly scores (nats) closer than this are equal: float32 sums depend on the batch."""

Statistic = Literal["excess", "surprisal"]
STATISTICS: tuple[Statistic, ...] = ("excess", "surprisal")
Explain = Literal["all", "flagged", "none"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judgement:
    """What the model says about a batch of n rows; numbers in nats.

    Attributes:
        rows: The rows themselves.
        x: Their variables, (n, dim).
        conditionals: Of `x`, in the first ordering.
        log_prob: Of each column given those before it, (n, columns).
        excess: Surprisal beyond what was to be expected, (n, columns).
    """

    rows: pa.Table
    x: Tensor
    conditionals: Conditionals
    log_prob: Floats
    excess: Floats

    def contributions(self, statistic: Statistic) -> Floats:
        """What each column adds to the anomaly score, (n, columns)."""
        return self.excess if statistic == "excess" else -self.log_prob


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
    calibration: Mapping[str, Floats] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)  # any JSON value

    def __post_init__(self) -> None:
        self.model.eval()

    @cached_property
    def reference(self) -> dict[str, Floats]:
        """The calibration rows' anomaly scores by statistic, ascending."""
        return {n: np.sort(self.calibration[n]) for n in STATISTICS if self.calibration}

    @property
    def columns(self) -> list[str]:
        """Names of the modelled columns."""
        return self.encoder.names

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def column_log_prob(self, table: pa.Table) -> Floats:
        """Log-probability of each column given those before it, (n, columns).

        In nats of the original columns; real columns are densities per unit of the
        column. A row's log-probability is the sum over its columns.
        """
        parts = [judgement.log_prob for judgement in self._judge(table)]
        return np.concatenate([np.empty((0, len(self.columns))), *parts])

    def log_prob(self, table: pa.Table) -> Floats:
        """Log-probability of each row, in nats, (n,)."""
        return np.asarray(self.column_log_prob(table).sum(axis=1))

    def reference_scores(self, table: pa.Table) -> dict[str, Floats]:
        """Scores of calibration rows: log_prob, surprisal and excess, each (n,), nats."""
        log_prob, excess = [np.empty(0)], [np.empty(0)]
        for judgement in self._judge(table):
            log_prob.append(judgement.log_prob.sum(axis=1))
            excess.append(judgement.excess.sum(axis=1))
        total = np.concatenate(log_prob)
        return {
            "log_prob": total,
            "surprisal": -total,
            "excess": np.concatenate(excess),
        }

    def score(
        self,
        table: pa.Table,
        *,
        statistic: Statistic = "excess",
        threshold: float = 99.9,
        explain: Explain = "all",
        explain_columns: int = 3,
        column_log_prob: bool = False,
    ) -> pa.Table:
        """How strange each row is, and which columns are to blame.

        The statistic `surprisal` is -log p(row). `excess` adds up, over the columns,
        the surprisal minus its expectation, so that a noisy column does not drown an
        exact one and units cancel.

        Args:
            table: Rows with the columns that the encoder knows, in any order.
            statistic: What the anomaly score is.
            threshold: Severity from which a row is an anomaly.
            explain: Which rows get an explanation; the others have null.
            explain_columns: How many columns an explanation names, at most.
            column_log_prob: Whether to add each column's log-probability.

        Returns:
            A row for each given one: log_prob (nats), anomaly_score (nats), p_value
            (share of calibration rows at least as strange), severity (percentage of
            calibration rows less strange), is_anomaly, explanation, and on demand the
            struct column_log_prob. Without calibration rows p_value, severity and
            is_anomaly are null.
        """
        if explain == "flagged" and not self.reference:
            raise ValueError(
                "explain='flagged' needs calibration rows, and this model has none; "
                "use 'all' or 'none', or train with a calibration share above 0"
            )
        schema = scored_schema(self.columns if column_log_prob else None)
        parts = [schema.empty_table()]
        for judgement in self._judge(table):
            contributions = judgement.contributions(statistic)
            scores = contributions.sum(axis=1)
            ranked = rank(scores, self.reference.get(statistic), threshold)
            flagged = ranked["is_anomaly"] if explain == "flagged" else explain == "all"
            which = np.broadcast_to(np.asarray(flagged, dtype=bool), scores.shape)
            fields = {
                "log_prob": judgement.log_prob.sum(axis=1),
                "anomaly_score": scores,
                **ranked,
                "explanation": explain_rows(
                    self.encoder,
                    self.model,
                    judgement,
                    contributions,
                    which,
                    explain_columns,
                ),
            }
            if column_log_prob:
                fields["column_log_prob"] = pa.StructArray.from_arrays(
                    [pa.array(each) for each in judgement.log_prob.T], self.columns
                )
            parts.append(pa.table([fields[n] for n in schema.names], schema=schema))
        return pa.concat_tables(parts)

    def sample(
        self, count: int, *, seed: int, stream: int = 0, log_prob: bool = False
    ) -> pa.Table:
        """Draws rows with the original columns and types.

        Args:
            count: How many; the first ones do not depend on it.
            seed: With `stream`, fixes every row.
            stream: Number of an independent stream of draws, such as a shard.
            log_prob: Whether to add the column log_prob, in nats, as `log_prob` gives
                it for the drawn rows.
        """
        generator = torch.Generator().manual_seed(stream_seed(seed, stream))
        parts = []
        for start in range(0, max(count, 1), BATCH):
            with torch.inference_mode():
                size = min(BATCH, count - start)
                x = self.model.sample(size, generator=generator)
            part = self.encoder.decode(x.cpu().numpy())
            if log_prob:
                part = part.append_column("log_prob", pa.array(self.log_prob(part)))
            parts.append(part)
        return pa.concat_tables(parts)

    def features(self, table: pa.Table) -> NDArray[np.float32]:
        """What the network makes of each row, for other models, (n, features)."""
        parts = []
        with torch.inference_mode():
            for _, x, _ in self._batches(table):
                parts.append(self.model.features(x).cpu().numpy())
        return np.concatenate(parts)

    def save(self, folder: Path) -> None:
        """Writes the saved form into `folder`: JSON, safetensors and Parquet files."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = save_tensors(
            {
                n: t.detach().cpu().contiguous()
                for n, t in self.model.state_dict().items()
            }
        )
        (folder / WEIGHTS).write_bytes(weights)
        if self.calibration:
            pq.write_table(pa.table(dict(self.calibration)), folder / CALIBRATION)
        content = {
            "format": FORMAT,
            "family": family(self.model),
            "config": self.model.config(),
            "encoder": self.encoder.to_dict(),
        }
        fingerprints = {
            **self.info.get("fingerprints", {}),
            "encoder": self.encoder.fingerprint,
            "weights": hashlib.sha256(weights).hexdigest(),
        }
        fingerprints["model"] = fingerprint(content, fingerprints["weights"])
        content["info"] = {
            **self.info, "versions": versions(), "fingerprints": fingerprints
        }
        (folder / MODEL).write_text(json.dumps(content, indent=1) + "\n")

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
        content = read_model(folder / MODEL)
        weights = (folder / WEIGHTS).read_bytes()
        found = hashlib.sha256(weights).hexdigest()
        stated = content["info"]["fingerprints"]["weights"]
        if found != stated:
            raise ValueError(
                f"{folder / WEIGHTS}: is damaged or belongs to another model: its "
                f"SHA-256 is {found[:16]}…, {MODEL} states {stated[:16]}…; copy the "
                "whole folder again"
            )
        encoder = TableEncoder.from_dict(content["encoder"])
        model = MODELS[content["family"]](encoder.variables, **content["config"])
        model.load_state_dict(load_tensors(weights))
        return cls(
            encoder,
            model.to(device or "cpu"),
            read_calibration(folder / CALIBRATION),
            content["info"],
        )

    def _batches(self, table: pa.Table) -> Iterator[tuple[pa.Table, Tensor, Floats]]:
        """The table in parts of `BATCH` rows: rows, x on the device, log-volumes."""
        for start in range(0, len(table), BATCH):
            rows = table.slice(start, BATCH)
            encoded = self.encoder.encode(rows)
            x = torch.from_numpy(encoded.x).to(self.device)
            yield rows, x, encoded.log_volume

    def _judge(self, table: pa.Table) -> Iterator[Judgement]:
        for rows, x, log_volume in self._batches(table):
            yield judge(self.model, rows, x, log_volume)


@torch.inference_mode()
def judge(
    model: AutoregressiveModel, rows: pa.Table, x: Tensor, log_volume: Floats
) -> Judgement:
    """What `model` says about encoded rows.

    The entropy of a column is taken where its surprisal is: variable by variable,
    given the variables before it in the row, over those that are present. So each
    term of the excess has the expectation zero under the model, and a missing value
    is weighed against the chance of one only. Real columns are compared in the
    encoder's coordinates, where changes of units cancel. What escaped is not a network
    output and has no entropy: its excess is its surprisal.

    Args:
        model: The density of `x`.
        rows: The n rows themselves.
        x: Their variables, (n, dim).
        log_volume: What the change of units adds, (n, columns), nats.
    """
    conditionals = model.conditionals(x)
    if model.orderings == 1:
        log_prob, entropy = conditionals.log_prob(x), conditionals.entropy()
    else:
        log_prob = model.variable_log_prob(x)
        entropy = (
            sum(
                model.conditionals(x, which).entropy()
                for which in range(model.orderings)
            )
            / model.orderings
        )
    absent = x.isnan()
    surprisal = by_column(-log_prob, model.variables)
    expected = by_column(entropy.masked_fill(absent, 0.0), model.variables)
    first = [v.group for v in model.variables].index
    escaped = absent[:, [first(c) for c in range(log_volume.shape[1])]].cpu().numpy()
    return Judgement(
        rows=rows,
        x=x,
        conditionals=conditionals,
        log_prob=log_volume - surprisal,
        excess=np.where(escaped, -log_volume, surprisal - expected),
    )


def by_column(values: Tensor, variables: Sequence[Variable]) -> Floats:
    """Sums over the variables of each column: (n, dim) -> (n, columns), float64."""
    column = torch.tensor([v.group for v in variables], device=values.device)
    total = values.new_zeros(
        len(values), int(column.max()) + 1, dtype=torch.float64
    ).index_add_(1, column, values.double())
    return np.asarray(total.cpu().numpy())


def rank(
    scores: Floats, reference: Floats | None, threshold: float
) -> dict[str, pa.Array]:
    """p_value, severity and is_anomaly of anomaly scores (n,); null with no reference."""
    if reference is None or len(reference) == 0:
        empty = pa.nulls(len(scores), pa.float64())
        return {
            "p_value": empty,
            "severity": empty,
            "is_anomaly": empty.cast(pa.bool_()),
        }
    count = len(reference)
    stranger = count - np.searchsorted(reference, scores - TIE, side="left")
    severity = 100.0 * (count - stranger) / count
    return {
        "p_value": pa.array((1.0 + stranger) / (1.0 + count)),
        "severity": pa.array(severity),
        "is_anomaly": pa.array(severity >= threshold),
    }


def scored_schema(columns: Sequence[str] | None = None) -> pa.Schema:
    """The columns that `TableDensity.score` gives.

    Args:
        columns: Names of the modelled columns, if column_log_prob is one of them.
    """
    fields = [
        ("log_prob", pa.float64()),
        ("anomaly_score", pa.float64()),
        ("p_value", pa.float64()),
        ("severity", pa.float64()),
        ("is_anomaly", pa.bool_()),
        ("explanation", EXPLANATION),
    ]
    if columns is not None:
        each = pa.struct([(name, pa.float64()) for name in columns])
        fields.append(("column_log_prob", each))
    return pa.schema(fields)


def stream_seed(seed: int, stream: int) -> int:
    """The seed of stream number `stream`: 32 bits, all that torch's CPU generator takes.

    Hashing both would let two of ten thousand streams coincide once in a hundred jobs.
    So the seed fixes a starting point and the stream is counted from it, which keeps
    streams apart; an invertible mixing step spreads neighbours.
    """
    start = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4])
    mixed = (start + stream) % 2**32
    for multiplier in (0x7FEB352D, 0x846CA68B):
        mixed = (mixed ^ mixed >> 16) * multiplier % 2**32
    return mixed ^ mixed >> 16


def family(model: AutoregressiveModel) -> str:
    """The name by which `MODELS` knows the model's class."""
    return next(name for name, of in MODELS.items() if type(model) is of)


def fingerprint(content: Mapping[str, Any], weights: str) -> str:  # any JSON value
    """A hash of all that a model computes with: its description and its weights."""
    canonical = json.dumps([content, weights], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of the libraries that a saved model depends on."""
    return {n: version(n) for n in ("numpy", "pyarrow", "safetensors", "torch")}


def read_model(path: Path) -> dict[str, Any]:  # any JSON value
    """The content of a model.json of a known format."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is damaged, not whole JSON: {error}") from error
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{path}: has format {content.get('format')!r}, this version reads "
            f"{FORMAT}; use the version of chainrule that wrote it"
        )
    return content


def read_calibration(path: Path) -> dict[str, Floats]:
    """The calibration rows' scores, or nothing where there is no such file."""
    if not path.exists():
        return {}
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: is damaged: {error}") from error
    return {name: table[name].to_numpy() for name in table.column_names}
