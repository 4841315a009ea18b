"""The files for servers and clusters: what they name is there and is known."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from flows import cli
from tasks.config import Config

ROOT = Path(__file__).parent.parent
INFRA = ROOT / "infra"
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text())
MANIFESTS = sorted(INFRA.glob("kuberay/*.yaml"))
DOCKERFILE = (INFRA / "Dockerfile").read_text()

FOREIGN = {
    # Of Prefect, MLflow, Ray, AWS, PostgreSQL and MinIO.
    *("PREFECT_API_URL", "PREFECT_UI_API_URL", "PREFECT_SERVER_ANALYTICS_ENABLED"),
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
    "MLFLOW_S3_ENDPOINT_URL",
    *("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"),
    *("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "AWS_EC2_METADATA_DISABLED",
    *("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"),
    *("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"),
}


def code() -> str:
    files = [p for folder in ("tasks", "flows") for p in ROOT.glob(f"{folder}/*.py")]
    return "\n".join(path.read_text() for path in files)


def environments() -> dict[str, dict[str, Any]]:
    found = {n: s.get("environment", {}) for n, s in COMPOSE["services"].items()}
    for path in MANIFESTS:
        content = yaml.safe_load(path.read_text())
        found[path.name] = content.get("stringData", {})
    return found


def test_every_environment_variable_is_known() -> None:
    own = set(re.findall(r"CHAINRULE_[A-Z_]+", code()))
    for where, variables in environments().items():
        assert set(variables) <= FOREIGN | own, where
    text = (INFRA / "README.md").read_text()
    readme = set(re.findall(r"`([A-Z][A-Z0-9]+_[A-Z_0-9]+)`", text))
    assert readme
    assert readme <= FOREIGN | own


def test_services_wait_for_services_that_there_are() -> None:
    services = COMPOSE["services"]
    assert {"postgres", "s3", "mlflow", "prefect", "worker", "ray-head"} <= set(
        services
    )
    for name, service in services.items():
        asked = service.get("depends_on", {})
        assert set(asked) <= set(services), name
        if isinstance(asked, dict):
            for other, how in asked.items():
                if how["condition"] == "service_healthy":
                    assert "healthcheck" in services[other], other
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (INFRA / source).exists()


def test_the_image_copies_what_there_is_and_has_both_targets() -> None:
    for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE))
    assert {"cpu", "cuda"} <= targets
    used = {s.get("build", {}).get("target") for s in COMPOSE["services"].values()}
    assert used - {None} <= targets
    (extra,) = set(re.findall(r"'\.\[(\w+)\]'", DOCKERFILE))
    assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.name))
def test_manifests_name_what_there_is(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    assert {"apiVersion", "kind", "metadata"} <= set(content)
    images = set(re.findall(r"image: (\S+)", path.read_text()))
    assert images <= {"chainrule:cpu", "chainrule:cuda"}
    if content["kind"] == "RayJob":
        command = content["spec"]["entrypoint"].split()
        commands = get_command(cli.app).commands  # type: ignore[attr-defined]  # a group
        assert command[0] == "chainrule"
        assert command[1] in commands


def test_the_file_for_prefect_names_flows_and_configurations_that_are_good() -> None:
    content = yaml.safe_load((INFRA / "prefect.yaml").read_text())
    assert len(content["deployments"]) == 3
    for deployment in content["deployments"]:
        module, _, name = deployment["entrypoint"].rpartition(".")
        flow = getattr(import_module(module), name)
        parameters = dict(deployment["parameters"])
        Config.model_validate(parameters["config"])
        assert set(parameters) <= set(flow.fn.__annotations__)
        assert deployment["concurrency_limit"]["limit"] == 1
        assert deployment["work_pool"]["work_queue_name"] == "flights"
