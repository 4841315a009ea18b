"""The plan that both passes of a scoring job share: model, rows and settings."""

from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ar_models.density.scorer import ScoreOptions
from ar_models.density.table_density import TableDensity
from ar_models.scoring.conformal import Rule
from tasks.config.score import ScoreConfig
from tasks.data.fragments import Fragment, read_fragment
from tasks.inference.source import Source
from tasks.runtime import parquet, parts, storage

FIRST_PASS = "_first_pass"
"""Directory of the first pass's parts within the results, until the job is finished."""


@dataclass(frozen=True)
class ScoringPlan:
    """The settings of a scoring job; sent to every Ray actor.

    Attributes:
        model: Directory of a saved `TableDensity`.
        source: The dataset.
        path: Directory of the results.
        config: What is written.
        carried: Columns that are copied from the input.
        about: What is noted about the model, JSON-able.
        key: The job key.
    """

    model: str
    source: Source
    path: str
    config: ScoreConfig
    carried: tuple[str, ...]
    about: dict[str, Any]
    key: str

    @property
    def first_pass(self) -> str:
        """Directory of the first pass's parts."""
        return storage.join(self.path, FIRST_PASS)

    @property
    def metadata(self) -> parts.PartMetadata:
        """Metadata that every file of the job has in its footer."""
        rule = rule_of(self.config)
        return {
            "job_key": self.key,
            "model": self.about,
            "rule": {rule.kind: rule.value},
            "calibrate_by": self.config.calibrate_by,
        }

    @property
    def explains_afterwards(self) -> bool:
        """Return whether the rows to explain are known only after the first pass."""
        return (
            self.config.explain == "flagged"
            and rule_of(self.config).kind != "threshold"
        )

    def read(self, density: TableDensity, fragment: Fragment) -> pa.Table:
        """Read the columns of a fragment that are modelled or carried."""
        return read_fragment(fragment, {*density.encoder.names, *self.carried})


def rule_of(config: ScoreConfig) -> Rule:
    """Return the rule that makes a row an anomaly."""
    return Rule.of(config.threshold, config.fdr, config.budget)


def score_options(config: ScoreConfig) -> ScoreOptions:
    """Return the options of a density's scorer."""
    names = {field.name for field in fields(ScoreOptions)} - {"rule"}
    return ScoreOptions(rule=rule_of(config), **config.model_dump(include=names))


def read_part(path: str) -> tuple[pa.Table, parts.PartMetadata]:
    """Read a file of the job and the metadata in its footer."""
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_file(inner) as source:
        file = pq.ParquetFile(source)
        metadata = parquet.read_metadata(file.metadata)
        assert metadata is not None  # or the first pass would have written it again
        return file.read(use_threads=False), metadata
