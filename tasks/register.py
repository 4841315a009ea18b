"""Versions in the MLflow registry, their aliases, and who may move them."""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pyarrow as pa
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
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
from ar_models import judgement
from ar_models.cells import family
from ar_models.density import (
    BACKGROUND,
    CALIBRATION,
    MODEL,
    SEGMENT_ROWS,
    WEIGHTS,
    TableDensity,
)
from tasks import card, evaluate, gate, manifest, reference, storage, tracking
from tasks.config import CardConfig
from tasks.models import load

logger = logging.getLogger(__name__)

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"

FINGERPRINT = "model_fingerprint"
"""Tag of a version by which a model that is registered already is found again."""

STATUS, REASON = "validation_status", "validation_reason"
"""Tags of a version: what the gate, or a person after it, said of it, and why."""

PARENT, FORMER = "parent_version", "former_champion"
"""Tags of a version: the champion when it was registered, and when it took over."""

WITHDRAWN = "withdrawn"
"""Tag of a version that was rolled back, with the time and the reason."""

MOST_TEXT = 5000
"""Characters of a tag, which MLflow limits."""

REQUIREMENTS = (
    "mlflow",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "safetensors",
    "torch",
)
"""Distributions that a consumer of a version needs."""

FILES = (CALIBRATION, reference.FILE, BACKGROUND, WEIGHTS, MODEL)
"""The files of a model's folder, the one that is there last of all at the end."""

EXAMPLE_ROWS = 5

NO_CARD = CardConfig()

Json = dict[str, Any]  # JSON-able values


def register(
    name: str,
    model: str,
    evaluation: str,
    prepared: str,
    run_id: str,
    *,
    tags: Mapping[str, str] | None = None,
    source: str | None = None,
    about: CardConfig = NO_CARD,
) -> Json:
    """Registers a model as a version; a challenger, where there is a champion.

    A model that has a version of this name already keeps that one, so a repeated call
    changes nothing.

    Args:
        name: Of the registered model.
        model: Folder of the trained model, local or S3.
        evaluation: Folder of its evaluation.
        prepared: Folder of the prepared dataset, on whose test rows it was judged.
        run_id: The MLflow run to log to.
        tags: More tags of the version, such as the id of the flow run.
        source: Path of the dataset, to be noted.
        about: What only a person knows, for the card.

    Returns:
        `version`, `uri`, and `rival`: the URI of the version that it has to beat, or
        had to if it is champion already; None if there is none.
    """
    density = load(model)
    evaluated = storage.read_json(storage.join(evaluation, evaluate.EVALUATION))
    check_evaluation(density, evaluated, model, evaluation)
    client = MlflowClient()
    champion = alias_of(client, name, CHAMPION)
    found = find_version(client, name, density)
    if found is None:
        said = version_tags(density, model, prepared, evaluation) | dict(tags or {})
        if champion is not None:
            said[PARENT] = str(champion.version)
        text = write_card(name, density, prepared, evaluated, about)
        log_dataset(run_id, name, prepared, source)
        found = log_version(
            name, model, density, prepared, evaluated, run_id, said, text
        )
    number = str(found.version)
    if champion is not None and str(champion.version) != number:
        client.set_registered_model_alias(name, CHALLENGER, number)
    rival = None if champion is None else str(champion.version)
    if rival == number:
        rival = found.tags.get(FORMER)
    if rival is not None and not exists(client, name, rival):
        rival = None
    return {
        "version": number,
        "uri": f"models:/{name}/{number}",
        "rival": None if rival is None else f"models:/{name}/{rival}",
    }


def decide(name: str, number: str, verdict: Mapping[str, Any], run_id: str) -> Json:
    """Makes a version champion if the gate lets it pass.

    The champion stays what it is, and so does a version that was rolled back: only a
    person brings it back.

    Args:
        name: Of the registered model.
        number: Of the version.
        verdict: What `tasks.gate.gate` returned.
        run_id: The MLflow run to log to.

    Returns:
        `version`, `uri`, `alias` (champion or challenger; None for a refused first
        version), `promoted` (whether it is the champion now), `reason`, `person`
        (whether a person has to decide) and `checks`.
    """
    client = MlflowClient()
    champion = alias_of(client, name, CHAMPION)
    withdrawn = client.get_model_version(name, number).tags.get(WITHDRAWN)
    passed, reason, person = verdict["passed"], verdict["reason"], verdict["person"]
    if champion is not None and str(champion.version) == number:
        passed, reason, person = True, "it is the champion", False
    elif withdrawn is not None:
        passed, reason, person = False, f"it was rolled back: {withdrawn}", True
    else:
        status = "passed" if passed else "asks for a person" if person else "refused"
        client.set_model_version_tag(name, number, STATUS, status)
        client.set_model_version_tag(name, number, REASON, reason[:MOST_TEXT])
        if passed:
            promote(client, name, number)
    tracking.log_metrics(run_id, gate.metrics(verdict["checks"]))
    logger.info("%s version %s: %s", name, number, reason)
    alias = CHAMPION if passed else CHALLENGER if champion else None
    return {
        "version": number,
        "uri": f"models:/{name}/{number}",
        "alias": alias,
        "promoted": passed,
        "reason": reason,
        "person": person,
        "checks": verdict["checks"],
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
        former = str(champion.version)
        # Before the champion moves: a kill in between leaves nothing that lies.
        client.set_model_version_tag(name, number, FORMER, former)
        client.set_registered_model_alias(name, PREVIOUS, former)
    client.set_registered_model_alias(name, CHAMPION, number)
    challenger = alias_of(client, name, CHALLENGER)
    if challenger is not None and str(challenger.version) == number:
        client.delete_registered_model_alias(name, CHALLENGER)


# --- by hand --------------------------------------------------------------------------


def override(name: str, number: str, reason: str) -> Json:
    """Makes a version champion whatever the gate said, and records who and why.

    Returns:
        `name`, `champion` and `previous` (version numbers), and `done`: whether it was
        the champion already.

    Raises:
        ValueError: There is no such version, or no reason is given.
    """
    if not reason.strip():
        raise ValueError("--reason is empty; say why, for those who come after")
    client = MlflowClient()
    version_of(client, name, number)
    champion = alias_of(client, name, CHAMPION)
    done = champion is not None and str(champion.version) == number
    if not done:
        client.set_model_version_tag(name, number, STATUS, "promoted by hand")
        record(client, name, number, "promoted", reason)
        if WITHDRAWN in client.get_model_version(name, number).tags:
            client.delete_model_version_tag(name, number, WITHDRAWN)
        promote(client, name, number)
    return {**standing(client, name), "done": done}


def rollback(name: str, reason: str) -> Json:
    """Makes `previous` the champion again, and records who and why.

    The version that was champion is withdrawn: retraining on the same rows does not
    bring it back. What was champion before `previous` becomes `previous`, so that the
    next rollback goes one step further.

    Returns:
        `name`, `champion` and `previous` (version numbers or None), `withdrawn`.

    Raises:
        ValueError: There is no such model, or nothing to go back to.
    """
    client = MlflowClient()
    champion = alias_of(client, name, CHAMPION)
    if champion is None:
        raise ValueError(f"{name}: {whats_there(client, name)}; there is no champion")
    back = alias_of(client, name, PREVIOUS)
    if back is None or back.version == champion.version:
        raise ValueError(
            f"{name}: version {champion.version} is the champion and there is no "
            "previous one; name one with `chainrule promote`"
        )
    gone, number = str(champion.version), str(back.version)
    client.set_model_version_tag(name, gone, STATUS, "rolled back")
    client.set_model_version_tag(name, gone, WITHDRAWN, f"{manifest.now()}, {reason}")
    record(client, name, gone, "rolled_back", reason)
    client.set_registered_model_alias(name, CHAMPION, number)
    former = client.get_model_version(name, number).tags.get(FORMER)
    if former is not None and former != gone and exists(client, name, former):
        client.set_registered_model_alias(name, PREVIOUS, former)
    else:
        client.delete_registered_model_alias(name, PREVIOUS)
    return {**standing(client, name), "withdrawn": gone}


def record(
    client: MlflowClient, name: str, number: str, what: str, reason: str
) -> None:
    """Notes on a version what a person did to it, when and why."""
    # There need be no name for a user, in a container.
    who = os.environ.get("USER") or f"user {os.getuid()}"
    facts = {"reason": reason, "by": who, "at": manifest.now()}
    for fact, value in facts.items():
        client.set_model_version_tag(name, number, f"{what}_{fact}", value[:MOST_TEXT])


def standing(client: MlflowClient, name: str) -> Json:
    """The numbers of the champion and the previous one."""
    return {
        "name": name,
        **{
            alias: str(found.version) if found else None
            for alias in (CHAMPION, PREVIOUS)
            for found in [alias_of(client, name, alias)]
        },
    }


def version_of(client: MlflowClient, name: str, number: str) -> ModelVersion:
    """A version by its number.

    Raises:
        ValueError: There is none; the message says which there are.
    """
    if not exists(client, name, number):
        raise ValueError(
            f"{name} has no version {number!r}: {whats_there(client, name)}"
        )
    return client.get_model_version(name, number)


def exists(client: MlflowClient, name: str, number: str) -> bool:
    """Whether there is such a version."""
    found = client.search_model_versions(f"name = '{name}'")
    return any(str(version.version) == number for version in found)


def whats_there(client: MlflowClient, name: str) -> str:
    """The versions of a model, or the models, in words."""
    found = client.search_model_versions(f"name = '{name}'")
    if found:
        numbers = sorted(int(version.version) for version in found)
        return f"there are the versions {', '.join(map(str, numbers))}"
    models = [model.name for model in client.search_registered_models()]
    return f"no such model is registered, there is {models}"


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
        if task == "prepare":
            found["dataset_fingerprint"] = written["inputs"]["dataset"]
    schema = storage.read_json(storage.join(prepared, "schema.json"))
    found["schema_fingerprint"] = manifest.job_key(columns=schema["columns"])
    return found


def write_card(
    name: str, density: TableDensity, prepared: str, evaluated: Json, about: CardConfig
) -> str:
    """The card of a version, as Markdown."""
    written = storage.read_json(storage.join(prepared, manifest.MANIFEST))
    profiled = storage.read_json(storage.join(prepared, "profile.json"))
    return card.write(name, density, written, profiled, evaluated, about)


def log_dataset(run_id: str, name: str, prepared: str, source: str | None) -> None:
    """Logs the dataset as an input of the run."""
    written = storage.read_json(storage.join(prepared, manifest.MANIFEST))
    dataset = Dataset(
        name=name,
        digest=written["inputs"]["dataset"],
        source_type="parquet",
        source=json.dumps({"uri": source or prepared}),
        profile=json.dumps({"num_rows": sum(written["rows"].values())}),
    )
    tag = InputTag("mlflow.data.context", "training")
    MlflowClient().log_inputs(run_id, [DatasetInput(dataset, [tag])])


def log_version(
    name: str,
    model: str,
    density: TableDensity,
    prepared: str,
    evaluated: Json,
    run_id: str,
    tags: Mapping[str, str],
    text: str,
) -> ModelVersion:
    """Logs the model to its run as a pyfunc and registers that as a new version."""
    info = log_pyfunc(model, density, prepared, run_id)
    client = MlflowClient()
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    client.log_text(run_id, text, "model_card.md")
    found = client.create_model_version(
        name,
        info.model_uri,
        run_id,
        tags=dict(tags),
        model_id=info.model_id,
        description=text[:MOST_TEXT],
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
        for file in FILES:
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
        + [
            Property(name, DataType.double)
            for name in ("contribution", "tail_probability")
        ]
    )
    numbers = ("log_prob", "anomaly_score", "p_value", "q_value", "severity")
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
                ParamSpec("statistic", DataType.string, judgement.DEFAULT),
                ParamSpec("threshold", DataType.double, None),
                ParamSpec("fdr", DataType.double, None),
                ParamSpec("budget", DataType.double, None),
                ParamSpec("calibrate_by", DataType.string, None),
                ParamSpec("segment_rows", DataType.long, SEGMENT_ROWS),
                ParamSpec("explain", DataType.string, "all"),
                ParamSpec("explain_columns", DataType.long, 3),
                ParamSpec("column_log_prob", DataType.boolean, False),
                ParamSpec("missing", DataType.string, "model"),
                ParamSpec("rows", DataType.long, 1000),
                ParamSpec("seed", DataType.long, 0),
                ParamSpec("log_prob", DataType.boolean, False),
                ParamSpec("temperature", DataType.double, 1.0),
                ParamSpec("top_p", DataType.double, 1.0),
                ParamSpec("method", DataType.string, "draw"),
                ParamSpec("details", DataType.boolean, False),
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
        density = load(model_uri)
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
    for file in FILES:
        if (source / file).exists():
            with storage.publish(storage.join(folder, file)) as unfinished:
                shutil.copyfile(source / file, unfinished)
