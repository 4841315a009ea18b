"""Every Arrow type that Parquet can hold, through every step."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from inspect import getclosurevars, isfunction, unwrap
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from ar_models.scoring.choices import STATISTICS
from ar_models.tables import structs
from flows import steps
from flows.cli import init
from tasks.config.data import DataConfig
from tasks.config.embed import EmbedConfig
from tasks.config.evaluate import EvaluateConfig
from tasks.config.fidelity import FidelityConfig
from tasks.config.gate import GateConfig
from tasks.config.impute import ImputeConfig
from tasks.config.monitor import MonitorConfig
from tasks.config.resources import Resources
from tasks.config.sample import SampleConfig
from tasks.config.score import ScoreConfig
from tasks.data import prepare
from tasks.data.datasets import open_dataset
from tasks.evaluation import compare, evaluate
from tasks.evaluation.fidelity import fidelity
from tasks.evaluation.report import model_report
from tasks.inference import backfill, embed, impute, sample, score
from tasks.inference.source import Source
from tasks.monitoring import monitor
from tasks.registry import registration
from tasks.registry.gate import gate
from tests.support import arrow_types
from tests.support.local_jobs import local_jobs
from tests.support.model_pair import ModelPair, register_and_gate, train_small
from tests.support.scoring import read_rows

NEW_ROWS = 20

NEVER_NULL = ("fixed_size_list", "fixed_shape_tensor")
"""Columns in which Arrow reads no nulls from Parquet."""

LEFT_OUT = {"null", "list_of_list"}

CONSTANT = {"struct", "struct.inner"}
"""Columns that tell whether a struct is there, which it always is."""

NOT_MODELLED = LEFT_OUT | CONSTANT


@dataclass(frozen=True)
class Types:
    """A dataset with every type, and models of it.

    Attributes:
        raw: Folder of the dataset, one file for each day.
        new: Folder of a few rows.
        models: Folders of the models: `strong` of the family made, `agnostic` of
            eonade.
        pair: The models, with the prepared dataset.
    """

    raw: Path
    new: Path
    models: dict[str, str]
    pair: ModelPair
    table: pa.Table = field(repr=False)

    def output(self, name: str) -> str:
        """Return the folder of a result."""
        return str(self.raw.parent / name)

    @property
    def names(self) -> list[str]:
        """Names of all columns, with those of fields for structs."""
        return structs.flatten(self.table).column_names

    @property
    def config(self) -> DataConfig:
        return DataConfig(path=str(self.raw))


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Types]:
    folder = tmp_path_factory.mktemp("types")
    table = arrow_types.every_type()
    half = len(table) // 2
    for day, part in enumerate((table.slice(0, half), table.slice(half)), start=1):
        (folder / "raw" / f"day={day}").mkdir(parents=True)
        pq.write_table(part, folder / "raw" / f"day={day}" / "rows.parquet")
    (folder / "new" / "day=3").mkdir(parents=True)
    new = arrow_types.every_type(NEW_ROWS, seed=1)
    pq.write_table(new, folder / "new" / "day=3" / "rows.parquet")
    with local_jobs():
        data = DataConfig(path=str(folder / "raw"))
        made = {"hidden": 8, "layers": 1, "components": 2}
        prepared = prepare.prepare(data, str(folder / "prepared"), Resources()).path
        models = {
            name: train_small(family, prepared, folder / name, count, **settings)
            for name, family, count, settings in (
                ("strong", "made", 12, made),
                ("agnostic", "eonade", 2, {"hidden": 8, "components": 2}),
            )
        }
        pair = ModelPair(prepared, models)
        evaluated = pair.evaluate("strong", folder / "evaluation", resamples=20)
        pair.evaluations["strong"] = evaluated
        yield Types(folder / "raw", folder / "new", models, pair, table)


@pytest.fixture(autouse=True)
def no_warning(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail if a page or figure could not be drawn, which is a warning."""
    with caplog.at_level(logging.WARNING, logger="tasks"):
        yield
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("tasks")]
    assert ours == []


def test_every_arrow_type_is_tried() -> None:
    types = arrow_types.every_type().schema.types
    tried = set[int]().union(*map(arrow_types.type_ids, types))
    known = {getattr(pa.lib, name) for name in dir(pa.lib) if name.startswith("Type_")}
    assert tried | set(arrow_types.IMPOSSIBLE) == known
    assert not tried & set(arrow_types.IMPOSSIBLE)


@pytest.mark.parametrize(
    "type", [t for t in arrow_types.IMPOSSIBLE.values() if t], ids=str
)
def test_parquet_cannot_hold_the_other_types(type: pa.DataType) -> None:
    with pytest.raises(pa.ArrowNotImplementedError):
        pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([("a", type)]))


def do_init(types: Types) -> None:
    content = yaml.safe_load(init.propose(str(types.raw), "types"))
    assert content["data"]["exclude"] == []


def do_prepare(types: Types) -> None:
    about = json.loads(Path(types.pair.prepared, "_manifest.json").read_text())
    left_out = {name for name, kind in about["columns"].items() if kind == "left out"}
    assert left_out == {*NOT_MODELLED, "day"}
    encoded = np.concatenate(
        [
            pa.ipc.open_file(path).read_all()["x"].combine_chunks().flatten()
            for path in sorted(Path(types.pair.prepared).glob("encoded/train/*.arrow"))
        ]
    )
    assert not np.isinf(encoded).any()


def do_evaluate(types: Types) -> None:
    assert np.isfinite(types.pair.evaluations["strong"].metrics["test/nll"])


def do_report(types: Types) -> None:
    folder = types.pair.evaluations["strong"].path
    model = types.models["strong"]
    page = model_report.write_report(model, types.pair.prepared, folder, folder)
    text = Path(page).read_text()
    assert "could not be written" not in text
    assert "\\x" not in text  # bytes are hexadecimal


def do_register(types: Types) -> None:
    assert register_and_gate(types.pair, "types", "strong").alias == "champion"
    models, prepared = types.models, types.pair.prepared
    verdict = gate.gate(
        models["agnostic"],
        models["strong"],
        prepared,
        types.output("verdict"),
        GateConfig(load_check="none", min_rows=20),
    )
    assert {check.name for check in verdict.checks} >= {"improvement"}
    model = mlflow.pyfunc.load_model("models:/types/1")
    frame = pq.read_table(types.new / "day=3" / "rows.parquet").to_pandas()
    for output in ("log_prob", "column_log_prob", "embed"):
        assert len(model.predict(frame, params={"output": output})) == NEW_ROWS
    scored = model.predict(frame, params={"explain": "all"})
    assert np.isfinite(scored["log_prob"]).all()
    drawn = model.predict(frame, params={"output": "sample", "rows": 20})
    assert isinstance(drawn, pd.DataFrame) and len(drawn) == 20


def do_score(types: Types) -> None:
    columns = set()
    for statistic in STATISTICS:
        agnostic = statistic in ("leave_one_out",)
        config = ScoreConfig(statistic=statistic, explain="all", explain_columns=100)
        score.score(
            types.models["agnostic" if agnostic else "strong"],
            Source(str(types.new)),
            types.output(f"scored-{statistic}"),
            config,
            Resources(),
        )
        rows = read_rows(types.output(f"scored-{statistic}"))
        assert np.isfinite(rows["anomaly_score"]).all()
        entries = pc.list_flatten(rows["explanation"]).to_pylist()
        columns |= {entry["column"] for entry in entries}
        assert not [e for e in entries if re.search(r"b'\\x|UUID\(", str(e))]
    assert columns == set(types.names) - NOT_MODELLED


def do_backfill(types: Types) -> None:
    scored = backfill.backfill(
        types.models["strong"],
        Source(str(types.raw)),
        types.output("backfilled"),
        ScoreConfig(explain="none"),
        Resources(),
        model_info={"version": 1, "name": "types", "run_id": "r"},
    )
    assert len(scored.scored) == 2


def do_sample(types: Types) -> None:
    config = SampleConfig(rows=300, log_prob=True)
    sample.sample(types.models["strong"], types.output("samples"), config, Resources())
    drawn, known = read_rows(types.output("samples")), pq.read_table(types.raw)
    schema = open_dataset(str(types.raw), rows_per_fragment=1000).schema
    assert np.isfinite(drawn["log_prob"]).all()
    assert drawn.schema.field("struct").type == known.schema.field("struct").type
    drawn, known = structs.flatten(drawn), structs.flatten(known)
    for name in set(types.names) - LEFT_OUT:
        assert drawn.schema.field(name).type == schema.field(name).type
        assert drawn[name].null_count == 0, name
    ranged = [n for n in known.column_names if has_order(known.schema.field(n).type)]
    for name in ranged:
        ours, theirs = (table[name].to_pylist() for table in (drawn, known))
        assert min(theirs) <= min(ours) and max(ours) <= max(theirs), name
    for name, step in (("spark_decimal", Decimal("0.01")), ("large_decimal", 10**30)):
        assert not any(value % step for value in drawn[name].to_pylist()), name
    assert len(drawn.to_pandas()) == 300


def has_order(type: pa.DataType) -> bool:
    """Return whether values of a type are numbers, dates or times in an order."""
    of = pa.types
    ordered = of.is_primitive(type) or of.is_decimal(type)
    return bool(ordered) and not of.is_boolean(type)


def do_impute(types: Types) -> None:
    known = pq.read_table(types.new / "day=3" / "rows.parquet")
    folder = Path(types.output("holes"))
    folder.mkdir()
    kept = known.slice(0, 20)
    empty = pa.Table.from_arrays(
        [
            kept[field.name].slice(0, 4).combine_chunks()
            if field.name in NEVER_NULL
            else pa.nulls(4, field.type)
            for field in known.schema
        ],
        schema=known.schema,
    )
    pq.write_table(pa.concat_tables([kept, empty]), folder / "rows.parquet")
    for method in ("draw", "median"):
        output = types.output(f"imputed-{method}")
        config = ImputeConfig(method=method, details=True)
        impute.impute(
            types.models["agnostic"], str(folder), output, config, Resources()
        )
        filled = read_rows(output)
        assert filled.schema.remove_metadata().names[:-1] == known.column_names
        for name in set(known.column_names) - LEFT_OUT - {"struct"}:
            assert filled[name].null_count == 0, name
            assert filled[name].to_pylist()[:20] == kept[name].to_pylist(), name


def do_embed(types: Types) -> None:
    model, output = types.models["strong"], types.output("embedded")
    embed.embed(model, Source(str(types.new)), output, EmbedConfig(), Resources())
    assert len(read_rows(output)) == NEW_ROWS


def do_monitor(types: Types) -> None:
    model, output = types.models["strong"], types.output("monitored")
    config = MonitorConfig()
    monitor.monitor(model, Source(str(types.new)), output, config, Resources())


def do_compare(types: Types) -> None:
    compare.compare(
        (types.models["strong"], types.models["agnostic"]),
        Source(str(types.new)),
        types.output("compared"),
        EvaluateConfig(resamples=20),
        Resources(),
    )


def do_fidelity(types: Types) -> None:
    fidelity.measure_fidelity(
        types.models["strong"],
        types.pair.prepared,
        types.output("fidelity"),
        FidelityConfig(samples="auto", rows=100),
    )


STEPS: dict[Callable[..., Any], Callable[[Types], None]] = {
    init.propose: do_init,
    prepare.prepare: do_prepare,
    evaluate.evaluate: do_evaluate,
    model_report.write_report: do_report,
    registration.register: do_register,
    score.score: do_score,
    backfill.backfill: do_backfill,
    sample.sample: do_sample,
    impute.impute: do_impute,
    embed.embed: do_embed,
    monitor.monitor: do_monitor,
    compare.compare: do_compare,
    fidelity.measure_fidelity: do_fidelity,
}
"""The steps, and what is tried of each; an export has encoded rows of no type."""

WITHOUT_TYPES = {
    "alert": "sends scored rows as text",
    "drift alert": "sends names of columns",
    "gate": "tried with register",
    "decide": "tried with register",
    "download": "tried with register",
    "log": "copies numbers",
    "start": "reads no rows",
    "train": "reads encoded rows",
    "calibrate": "reads encoded rows",
    "tune": "reads encoded rows",
    "data_validation": "reads profiles",
    "group": "makes lists of columns of any type",
}
"""Steps that are not tried on their own, with the reason."""


@pytest.mark.filterwarnings("ignore:.*An input example was not provided")
# pyarrow takes the values of columns with a time zone so.
@pytest.mark.filterwarnings("ignore:Series.values returning an ndarray that drops")
@pytest.mark.parametrize("do", list(STEPS.values()), ids=lambda do: do.__name__[3:])
def test_every_type_passes_the_step(do: Callable[[Types], None], types: Types) -> None:
    do(types)


def test_every_step_is_tried() -> None:
    called = [c for c in vars(steps).values() if isfunction(c) and unwrap(c) != c]
    finds = {c.__name__: getclosurevars(c).nonlocals.get("find") for c in called}
    untried = {name for name, find in finds.items() if find and find() not in STEPS}
    assert untried == set(WITHOUT_TYPES)
