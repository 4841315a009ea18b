"""Versions in the MLflow registry, their aliases, and the gate between them."""

import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
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
from mlflow.types.schema import AnyType, Array, Object, Property

import ar_models
from ar_models.cells import family
from ar_models.density import CALIBRATION, MODEL, WEIGHTS, TableDensity
from tasks import evaluate, manifest, storage
from tasks.config import GateConfig
from tasks.intervals import Floats, interval

logger = logging.getLogger(__name__)

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"

FINGERPRINT = "model_fingerprint"
"""Tag of a version by which a model that is registered already is found again."""

REQUIREMENTS = ("mlflow", "numpy", "pandas", "pyarrow", "safetensors", "torch")
"""Distributions that a consumer of a version needs."""

EXAMPLE_ROWS = 5

Json = dict[str, Any]  # JSON-able values


@dataclass(frozen=True)
class Check:
    """One thing that a challenger had to show.

    Attributes:
        name: What was looked at.
        value: What was found.
        interval: Its confidence interval, if it has one.
        passed: Whether that is good enough.
        remark: In words.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    passed: bool
    remark: str


def register(
    name: str,
    model: str,
    evaluation: str,
    prepared: str,
    run_id: str,
    gate: GateConfig,
    *,
    tags: Mapping[str, str] | None = None,
) -> Json:
    """Registers a model and makes it champion if it is the first or the better one.

    A model that has a version of this name already keeps that one, so a repeated call
    changes nothing.

    Args:
        name: Of the registered model.
        model: Folder of the trained model, local or S3.
        evaluation: Folder of its evaluation.
        prepared: Folder of the prepared dataset, on whose test rows it was judged.
        run_id: The MLflow run to log to.
        gate: What a challenger must show.
        tags: More tags of the version, such as the id of the flow run.

    Returns:
        `version`, `uri`, `alias` (champion or challenger), `promoted` (whether it is
        the champion now), `reason` and `checks` (a list of `Check` as dicts).
    """
    density = evaluate.load(model)
    evaluated = storage.read_json(storage.join(evaluation, evaluate.EVALUATION))
    check_evaluation(density, evaluated, model, evaluation)
    client = MlflowClient()
    found = find_version(client, name, density)
    if found is None:
        about = version_tags(density, model, prepared, evaluation) | dict(tags or {})
        found = log_version(name, model, density, prepared, evaluated, run_id, about)
    number = str(found.version)
    champion = alias_of(client, name, CHAMPION)
    if champion is None or champion.version == found.version:
        reason = "it is the first version" if champion is None else "it is the champion"
        checks: list[Check] = []
        promoted = True
    else:
        client.set_registered_model_alias(name, CHALLENGER, number)
        checks = compare(champion, density, evaluation, prepared, gate)
        promoted = all(check.passed for check in checks)
        reason = "; ".join(c.remark for c in checks if c.passed == promoted)
    if promoted and (champion is None or champion.version != found.version):
        promote(client, name, number)
    log_checks(run_id, checks)
    logger.info("%s version %s: %s", name, number, reason)
    return {
        "version": number,
        "uri": f"models:/{name}/{number}",
        "alias": CHAMPION if promoted else CHALLENGER,
        "promoted": promoted,
        "reason": reason,
        "checks": [asdict(check) for check in checks],
    }


def check_evaluation(
    density: TableDensity, evaluated: Mapping[str, Any], model: str, evaluation: str
) -> None:
    """Raises ValueError where an evaluation is that of another model."""
    if evaluated["model"] != density.info["fingerprints"]["model"]:
        raise ValueError(
            f"{evaluation}: judges another model than {model}; evaluate this one first"
        )


def find_version(
    client: MlflowClient, name: str, density: TableDensity
) -> ModelVersion | None:
    """The newest version of `name` that is this very model."""
    fingerprint = density.info["fingerprints"]["model"]
    versions = client.search_model_versions(
        f"name = '{name}' and tag.{FINGERPRINT} = '{fingerprint}'"
    )
    return max(versions, key=lambda found: int(found.version), default=None)


def alias_of(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that has an alias, or None."""
    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    if alias not in aliases:
        return None
    return client.get_model_version(name, str(aliases[alias]))


def promote(client: MlflowClient, name: str, number: str) -> None:
    """Makes a version the champion, and the one that was champion `previous`."""
    champion = alias_of(client, name, CHAMPION)
    if champion is not None and str(champion.version) != number:
        client.set_registered_model_alias(name, PREVIOUS, str(champion.version))
    client.set_registered_model_alias(name, CHAMPION, number)
    challenger = alias_of(client, name, CHALLENGER)
    if challenger is not None and str(challenger.version) == number:
        client.delete_registered_model_alias(name, CHALLENGER)


# --- a new version --------------------------------------------------------------------


def version_tags(
    density: TableDensity, model: str, prepared: str, evaluation: str
) -> dict[str, str]:
    """What a version says about where it comes from."""
    found = {
        f"{kind}_fingerprint": str(value)
        for kind, value in density.info["fingerprints"].items()
    }
    folders = {"train": model, "prepare": prepared, "evaluate": evaluation}
    for task, folder in folders.items():
        written = storage.read_json(storage.join(folder, manifest.MANIFEST))
        found[f"{task}_key"] = written["job_key"]
    return found


def log_version(
    name: str,
    model: str,
    density: TableDensity,
    prepared: str,
    evaluated: Json,
    run_id: str,
    tags: Mapping[str, str],
) -> ModelVersion:
    """Logs the model to its run as a pyfunc and registers that as a new version."""
    info = log_pyfunc(model, density, prepared, run_id)
    client = MlflowClient()
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    found = client.create_model_version(
        name, info.model_uri, run_id, tags=dict(tags), model_id=info.model_id
    )
    # Metrics from before the model was logged would be linked with their first value.
    mlflow.log_metrics(
        evaluate.metrics(evaluated), run_id=run_id, model_id=info.model_id
    )
    return found


def log_pyfunc(
    model: str, density: TableDensity, prepared: str, run_id: str
) -> ModelInfo:
    """Logs the model as code with safetensors, for consumers without this project."""
    given = signature(density)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        folder.mkdir()
        source = storage.fetch(model, Path(temporary) / "fetched")
        for file in (MODEL, WEIGHTS, CALIBRATION):
            if (source / file).exists():
                shutil.copy(source / file, folder / file)
        with mlflow.start_run(run_id=run_id):
            info: ModelInfo = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(Path(__file__).with_name("pyfunc_model.py")),
                artifacts={"model": str(folder)},
                code_paths=[str(Path(ar_models.__file__).parent)],
                signature=given,
                input_example=example(density, prepared),
                pip_requirements=requirements(),
            )
    # The end of the block ended the run, and the flow goes on.
    MlflowClient().update_run(run_id, status="RUNNING")
    if info.signature != given:
        raise ValueError(
            f"MLflow kept the signature {info.signature!r} instead of {given!r}; use a "
            "version of MLflow that this project was tested with"
        )
    return info


def requirements() -> list[str]:
    """What a consumer must install: the versions in use, without local labels."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]


def signature(density: TableDensity) -> ModelSignature:
    """Input columns, scored columns, and the params of a version.

    Inputs have the type Any: MLflow would refuse both int64 for declared doubles and,
    where there are nulls, doubles for declared integers. The encoder checks types. They
    are optional, since a sample needs none; scoring names those that are missing.
    """
    reason = [("column", "string"), ("value", "string"), ("expected", "string")]
    explanation = Object(
        [Property(name, DataType.string) for name, _ in reason]
        + [Property("contribution", DataType.double)]
    )
    numbers = ("log_prob", "anomaly_score", "p_value", "severity")
    anything = AnyType()  # type: ignore[no-untyped-call]  # MLflow's
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(anything, name, required=False) for name in density.columns
    ]
    outputs: list[ColSpec | TensorSpec] = [
        *[ColSpec(DataType.double, name) for name in numbers],
        ColSpec(DataType.double, "uncertainty", required=False),
        ColSpec(DataType.boolean, "is_anomaly"),
        ColSpec(Array(explanation), "explanation", required=False),
    ]
    return ModelSignature(
        inputs=Schema(inputs),
        outputs=Schema(outputs),
        params=ParamSchema(
            [
                ParamSpec("output", DataType.string, "score"),
                ParamSpec("statistic", DataType.string, "excess"),
                ParamSpec("threshold", DataType.double, 99.9),
                ParamSpec("explain", DataType.string, "all"),
                ParamSpec("explain_columns", DataType.long, 3),
                ParamSpec("column_log_prob", DataType.boolean, False),
                ParamSpec("rows", DataType.long, 1000),
                ParamSpec("seed", DataType.long, 0),
                ParamSpec("log_prob", DataType.boolean, False),
            ]
        ),
    )


def example(density: TableDensity, prepared: str) -> pd.DataFrame | None:
    """A few test rows, if they can be written as JSON."""
    about = storage.read_json(storage.join(prepared, manifest.MANIFEST))
    first = evaluate.test_pieces(prepared, about)[0]
    table = next(evaluate.read_batches(first.path, density.columns))
    return writable(table.slice(0, EXAMPLE_ROWS))


def writable(table: pa.Table) -> pd.DataFrame | None:
    """Rows as MLflow writes them to JSON: decimals as doubles, which models read too.

    None if there are durations, since what stands for them in JSON is no duration, or
    lists.
    """
    for place, field in enumerate(table.schema):
        of = family(field.type)
        if of in (None, "duration"):
            return None
        if of == "decimal":
            doubles = table.column(place).cast(pa.float64(), safe=False)
            table = table.set_column(place, field.name, doubles)
    return table.to_pandas()


# --- the gate -------------------------------------------------------------------------


def compare(
    champion: ModelVersion,
    challenger: TableDensity,
    evaluation: str,
    prepared: str,
    config: GateConfig,
) -> list[Check]:
    """Checks a challenger against the champion on the challenger's test rows."""
    uri = f"models:/{champion.name}/{champion.version}"
    with tempfile.TemporaryDirectory() as temporary:
        density = TableDensity.load(fetch_artifacts(uri, Path(temporary)))
    same = check_columns(challenger, density)
    if not same.passed:
        return [same]
    about = storage.read_json(storage.join(prepared, manifest.MANIFEST))
    old = [
        density.log_prob(table)
        for piece in evaluate.test_pieces(prepared, about)
        for table in evaluate.read_batches(piece.path, density.columns)
    ]
    new = evaluate.read_rows(evaluation)["log_prob"].to_numpy()
    return [same, *gate(new, np.concatenate(old), config)]


def check_columns(challenger: TableDensity, champion: TableDensity) -> Check:
    """Whether two models' likelihoods are of the same columns in the same units.

    A density per unit is not to be compared with a probability.
    """
    ours, theirs = (
        {c.name: (c.type, c.kind == "real") for c in density.encoder.columns}
        for density in (challenger, champion)
    )
    names = sorted(n for n in ours | theirs if ours.get(n) != theirs.get(n))
    remark = "both model the same columns"
    if names:
        remark = (
            f"not comparable: the models differ in the columns {', '.join(names)}; "
            "compare their reports and promote by hand"
        )
    return Check("columns", len(names), None, not names, remark)


def gate(challenger: Floats, champion: Floats, config: GateConfig) -> list[Check]:
    """What a challenger must show, from log-probabilities of the same rows.

    Args:
        challenger: Log-probability of each row, (n,), nats.
        champion: The champion's, of the same rows.
        config: What is asked.
    """
    infinite = int((~np.isfinite(challenger)).sum())
    finite = Check(
        "finite",
        infinite,
        None,
        infinite == 0,
        f"{infinite} of {len(challenger)} test rows have no finite log-probability",
    )
    if infinite:
        return [finite]
    gains = challenger - champion
    low, high = interval(gains, config.confidence)
    passed = low > config.min_improvement
    improvement = Check(
        "improvement",
        float(gains.mean()),
        (low, high),
        passed,
        f"{gains.mean():+.4f} nats per row against the champion "
        f"({config.confidence:.0%} interval {low:+.4f} to {high:+.4f}, which "
        f"{'lies' if passed else 'does not lie'} above {config.min_improvement:g})",
    )
    return [finite, improvement]


def log_checks(run_id: str, checks: Sequence[Check]) -> None:
    """Logs what the gate found to the run."""
    found: dict[str, float] = {}
    for check in checks:
        found[f"gate/{check.name}"] = check.value
        found[f"gate/{check.name}_passed"] = float(check.passed)
        if check.interval:
            low, high = check.interval
            found |= {f"gate/{check.name}_low": low, f"gate/{check.name}_high": high}
    if found:
        mlflow.log_metrics(found, run_id=run_id)


# --- a version as a folder ------------------------------------------------------------


def download(model_uri: str, root: str) -> tuple[str, Json]:
    """The model folder of a registered version, and which version that is.

    An alias is resolved here, once. The folder is a copy below the storage, which
    every worker can reach, and is made at most once.

    Args:
        model_uri: models:/NAME@ALIAS or models:/NAME/VERSION, or a model folder, which
            is taken as it is.
        root: The storage.

    Returns:
        The folder, and `name`, `version`, `run_id` (None for a folder that is in no
        registry), `fingerprint`, `uri`.

    Raises:
        ValueError: There is no such version.
    """
    if not model_uri.startswith("models:/"):
        density = evaluate.load(model_uri)
        return model_uri, {
            "name": density.info.get("name"),
            "version": None,
            "run_id": None,
            "fingerprint": density.info["fingerprints"]["model"],
            "uri": model_uri,
        }
    found = resolve(MlflowClient(), model_uri)
    uri = f"models:/{found.name}/{found.version}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = fetch_artifacts(uri, Path(temporary))
        fingerprint = TableDensity.load(folder).info["fingerprints"]["model"]
        # Another registry may have given the same number to another model.
        copy = f"{found.version}-{fingerprint[:12]}"
        place = storage.join(root, found.name, "registered", copy)
        publish(folder, place)
    return place, {
        "name": found.name,
        "version": str(found.version),
        "run_id": found.run_id,
        "fingerprint": fingerprint,
        "uri": uri,
    }


def resolve(client: MlflowClient, model_uri: str) -> ModelVersion:
    """The version that models:/NAME@ALIAS or models:/NAME/VERSION names now."""
    rest = model_uri.removeprefix("models:/")
    name, _, alias = rest.partition("@")
    number = None
    if not alias:
        name, _, number = rest.partition("/")
    if not name or not (alias or number):
        raise ValueError(
            f"{model_uri!r} names no version; say models:/NAME@champion or "
            "models:/NAME/1"
        )
    try:
        if number:
            return client.get_model_version(name, number)
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        raise ValueError(
            f"{model_uri}: no such version is registered at "
            f"{mlflow.get_tracking_uri()}; train and register one with `chainrule "
            "retrain`, see what there is with `chainrule status`"
        ) from error


def fetch_artifacts(uri: str, target: Path) -> Path:
    """The model folder of the version `uri`, downloaded into `target`."""
    return Path(
        mlflow.artifacts.download_artifacts(
            artifact_uri=f"{uri}/artifacts/model", dst_path=str(target)
        )
    )


def publish(source: Path, folder: str) -> None:
    """Copies a model folder, unless it is there; model.json comes last."""
    if storage.exists(storage.join(folder, MODEL)):
        return
    for file in (CALIBRATION, WEIGHTS, MODEL):
        if (source / file).exists():
            with storage.publish(storage.join(folder, file)) as unfinished:
                shutil.copyfile(source / file, unfinished)
