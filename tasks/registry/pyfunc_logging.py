"""Logging of models to MLflow as pyfuncs, which load without this project."""

import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import mlflow
import pandas as pd
import pyarrow as pa
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types import (
    ColSpec,
    DataType,
    ParamSchema,
    ParamSpec,
    Schema,
    TensorSpec,
)
from mlflow.types.schema import Array, Object, Property

import ar_models
from ar_models.density.table_density import MIN_SEGMENT_ROWS, TableDensity
from ar_models.scoring import choices
from ar_models.tables.arrow import family
from tasks.evaluation import held_out
from tasks.registry.downloads import MODEL_FILES
from tasks.runtime import manifest, storage

REQUIREMENTS = (
    "mlflow",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "safetensors",
    "torch",
)
"""Distributions that have to be installed to load a registered version."""

EXAMPLE_ROWS = 5
"""Number of test rows in the input example of a version."""


def log_pyfunc(
    model: str, density: TableDensity, prepared: str, run_id: str
) -> ModelInfo:
    """Log a model to a run, with its code and weights, as an MLflow pyfunc.

    Args:
        model: Folder of the trained model.
        density: The model in that folder.
        prepared: Folder of the prepared dataset, which gives the input example.
        run_id: The MLflow run, which is left in the state RUNNING.

    Raises:
        ValueError: MLflow changed the signature.
    """
    expected = signature()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        folder.mkdir()
        source = storage.fetch(model, Path(temporary) / "fetched")
        for file in MODEL_FILES:
            if (source / file).exists():
                shutil.copy(source / file, folder / file)
        with mlflow.start_run(run_id=run_id):
            info: ModelInfo = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(Path(__file__).with_name("pyfunc_model.py")),
                artifacts={"model": str(folder)},
                code_paths=[str(Path(ar_models.__file__).parent)],
                signature=expected,
                metadata={"inputs": input_types(density)},
                input_example=input_example(density, prepared),
                pip_requirements=pinned_requirements(),
            )
    # Leaving the block has ended the run, but the flow goes on.
    MlflowClient().update_run(run_id, status="RUNNING")
    if info.signature != expected:
        raise ValueError(
            f"MLflow stored the signature {info.signature!r} instead of {expected!r}; "
            "install a version of MLflow that this project was tested with"
        )
    return info


def pinned_requirements() -> list[str]:
    """Return the requirements of a version, pinned to what is installed here."""
    # Without local labels, such as +cpu, which no index has.
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]


def signature() -> ModelSignature:
    """Return the MLflow signature of a model: outputs and params.

    It has no inputs, since MLflow would refuse Polars frames and Arrow tables then,
    int64 for declared doubles and, in columns with nulls, doubles for declared
    integers. The encoder checks types and names missing columns; `input_types` are in
    the metadata of the model.
    """
    return ModelSignature(outputs=_outputs(), params=ParamSchema(_params()))


def input_types(density: TableDensity) -> dict[str, str]:
    """Return the Arrow type of each input column; of structs, that of their fields.

    Types are those of the training files, where they were not text.
    """
    types = {f.name: str(f.type) for f in density.encoder.written}
    return {name: types[name] for name in density.columns}


def _outputs() -> Schema:
    explanation = Object(
        [Property(n, DataType.string) for n in ("column", "value", "expected")]
        + [Property(n, DataType.double) for n in ("contribution", "tail_probability")]
    )
    numbers = ("log_prob", "anomaly_score", "p_value", "q_value", "severity")
    outputs: list[ColSpec | TensorSpec] = [
        *[ColSpec(DataType.double, name) for name in numbers],
        ColSpec(DataType.double, "uncertainty", required=False),
        ColSpec(DataType.boolean, "is_anomaly"),
        ColSpec(Array(explanation), "explanation", required=False),
    ]
    return Schema(outputs)


def _params() -> list[ParamSpec]:
    return [
        ParamSpec("output", DataType.string, "score"),
        ParamSpec("statistic", DataType.string, choices.DEFAULT_STATISTIC),
        ParamSpec("threshold", DataType.double, None),
        ParamSpec("fdr", DataType.double, None),
        ParamSpec("budget", DataType.double, None),
        ParamSpec("calibrate_by", DataType.string, None),
        ParamSpec("min_segment_rows", DataType.long, MIN_SEGMENT_ROWS),
        ParamSpec("explain", DataType.string, "all"),
        ParamSpec("explain_columns", DataType.long, 3),
        ParamSpec("column_log_prob", DataType.boolean, False),
        ParamSpec("missing", DataType.string, "model"),
        ParamSpec("rows", DataType.long, 1000),
        ParamSpec("seed", DataType.long, 0),
        ParamSpec("new_keys", DataType.string, "pattern"),
        ParamSpec("log_prob", DataType.boolean, False),
        ParamSpec("temperature", DataType.double, 1.0),
        ParamSpec("top_p", DataType.double, 1.0),
        ParamSpec("method", DataType.string, "draw"),
        ParamSpec("details", DataType.boolean, False),
    ]


def input_example(density: TableDensity, prepared: str) -> pd.DataFrame | None:
    """Return a few test rows, or None if MLflow cannot write them as JSON."""
    content = manifest.read_finished(prepared)
    first = held_out.list_test_files(prepared, content)[0]
    table = next(held_out.read_batches(first.path, density.columns))
    return to_json_frame(table.slice(0, EXAMPLE_ROWS))


def to_json_frame(table: pa.Table) -> pd.DataFrame | None:
    """Convert rows to a frame that MLflow can write as JSON and models can read again.

    Decimals become doubles.

    Returns:
        The frame, or None if there are lists, or durations, whose JSON form is not
        read as a duration again.
    """
    for place, field in enumerate(table.schema):
        kind = family(field.type)
        if kind in (None, "duration"):
            return None
        if kind == "decimal":
            doubles = table.column(place).cast(pa.float64(), safe=False)
            table = table.set_column(place, field.name, doubles)
    return table.to_pandas()
