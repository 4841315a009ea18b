"""Environment variables that this code and its libraries read."""

import re
from pathlib import Path
from typing import Any

import ray
from mlflow import environment_variables
from mlflow.cli import server as mlflow_server
from prefect.settings.models.root import Settings
from pydantic import BaseModel

ROOT = Path(__file__).parents[2]

RAY_NAMES = {"RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} & set(
    re.findall(
        r"RAY_[A-Z_]+",
        "".join(
            (Path(ray.__file__).parent / file).read_text()
            for file in ("_private/ray_constants.py", "exceptions.py")
        ),
    )
)
"""Environment variables that Ray reads."""

OTHERS = {
    # Of AWS, PostgreSQL and MinIO.
    *("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "AWS_EC2_METADATA_DISABLED",
    *("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"),
    *("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"),
}


def code() -> str:
    files = [p for folder in ("tasks", "flows") for p in ROOT.glob(f"{folder}/**/*.py")]
    return "\n".join(path.read_text() for path in files)


def own_names() -> set[str]:
    """Return the environment variables of this project."""
    return set(re.findall(r"\bCHAINRULE_[A-Z_]+", code()))


def is_known(variable: str) -> bool:
    """Return whether this code or a library reads an environment variable."""
    if variable in OTHERS or variable in own_names():
        return True
    if variable.startswith("PREFECT_"):
        return variable in prefect_names(Settings)
    if variable.startswith("MLFLOW_"):
        options = {str(option.envvar) for option in mlflow_server.params}
        return hasattr(environment_variables, variable) or variable in options
    return variable in RAY_NAMES


def prefect_names(section: Any) -> set[str]:  # a class of settings
    """Return the environment variables that Prefect reads."""
    found: set[str] = set()
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= prefect_names(kind)
        else:
            prefix = section.model_config["env_prefix"]
            others = getattr(field.validation_alias, "choices", ())
            found |= {f"{prefix}{name}".upper(), *(str(o).upper() for o in others)}
    return found
