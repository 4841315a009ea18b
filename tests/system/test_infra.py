"""Tests of the files for servers and clusters: schemas, names and variables."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyOptions
from jsonschema import Draft202012Validator
from jsonschema import ValidationError as InvalidManifest
from typer.main import get_command

from flows.cli import main
from tasks.config.root import Config
from tasks.runtime import environment
from tests.support.environment_names import is_known

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text())
MANIFESTS = sorted(INFRA.glob("kuberay/*.yaml"))
DOCKERFILE = (INFRA / "Dockerfile").read_text()

KUBERNETES = "1.30"
"""The oldest version of Kubernetes whose schemas the manifests follow."""


def record(*required: str, **fields: Any) -> dict[str, Any]:  # JSON schemas
    """Return the JSON schema of an object with these fields and no others."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


ANYTHING: dict[str, Any] = {"type": "object"}
TEXT, FLAG = {"type": "string"}, {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
TEXTS = {"type": "object", "additionalProperties": TEXT}

CLUSTER = record(
    *("headGroupSpec", "rayVersion"),
    authOptions=record(mode={"enum": ["disabled", "token"]}),
    autoscalerOptions=ANYTHING,
    enableInTreeAutoscaling=FLAG,
    gcsFaultToleranceOptions=ANYTHING,
    headServiceAnnotations=TEXTS,
    managedBy=TEXT,
    rayVersion=TEXT,
    suspend=FLAG,
    headGroupSpec=record(
        "template",
        enableIngress=FLAG,
        headService=ANYTHING,
        rayStartParams=TEXTS,
        serviceType=TEXT,
        template=ANYTHING,
    ),
    workerGroupSpecs={
        "type": "array",
        "items": record(
            *("groupName", "minReplicas", "maxReplicas", "template"),
            groupName=TEXT,
            idleTimeoutSeconds=COUNT,
            maxReplicas=COUNT,
            minReplicas=COUNT,
            numOfHosts=COUNT,
            rayStartParams=TEXTS,
            replicas=COUNT,
            scaleStrategy=ANYTHING,
            suspend=FLAG,
            template=ANYTHING,
        ),
    },
)

RAY = {
    "RayCluster": CLUSTER,
    "RayJob": record(
        *("entrypoint", "rayClusterSpec"),
        activeDeadlineSeconds=COUNT,
        backoffLimit=COUNT,
        clusterSelector=TEXTS,
        deletionStrategy=ANYTHING,
        entrypoint=TEXT,
        entrypointNumCpus={"type": "number"},
        entrypointNumGpus={"type": "number"},
        entrypointResources=TEXT,
        jobId=TEXT,
        managedBy=TEXT,
        metadata=TEXTS,
        rayClusterSpec=CLUSTER,
        runtimeEnvYAML=TEXT,
        shutdownAfterJobFinishes=FLAG,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode"]},
        submitterConfig=ANYTHING,
        submitterPodTemplate=ANYTHING,
        suspend=FLAG,
        ttlSecondsAfterFinished=COUNT,
    ),
}
"""The fields of KubeRay 1.5 resources by kind, as its reference of the API lists them;
no package carries its schemas. Pods are held against those of Kubernetes itself."""


def environments() -> dict[str, dict[str, Any]]:
    found = {n: s.get("environment", {}) for n, s in COMPOSE["services"].items()}
    for path in MANIFESTS:
        content = yaml.safe_load(path.read_text())
        found[path.name] = content.get("stringData", {})
    return found


def test_every_environment_variable_is_known() -> None:
    for where, variables in environments().items():
        assert [name for name in variables if not is_known(name)] == [], where
    text = (INFRA / "README.md").read_text()
    readme = set(re.findall(r"`([A-Z][A-Z0-9]+_[A-Z_0-9]+)`", text))
    assert readme
    assert [name for name in readme if not is_known(name)] == []
    assert not any(map(is_known, ("PREFECT_APY_URL", "MLFLOW_TRACKING", "RAY_ADRESS")))


def test_the_compose_file_follows_the_compose_specification() -> None:
    text = (INFRA / "compose.yaml").read_text()
    compose = PyOptions(apply_merge=True).from_yaml(text)
    compose.validate()
    assert set(compose.service_names()) == set(COMPOSE["services"])
    with pytest.raises(ValueError, match="port"):
        PyOptions(apply_merge=True).from_yaml(text.replace("4200:4200", "4200:no"))
    with pytest.raises(ValueError, match="imagee"):
        PyOptions(apply_merge=True).from_yaml(text.replace("image:", "imagee:"))


def test_all_secrets_of_the_compose_file_are_asked_for() -> None:
    text = (INFRA / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text))
    assert set(re.findall(r"\$\{(\w+):\?", text)) == asked
    for name in asked:
        assert name in text[: text.index("\nname:")], name
        assert f"{name}=" in (INFRA / "README.md").read_text(), name


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
    check_manifest(content)
    images = set(re.findall(r"image: (\S+)", path.read_text()))
    assert images <= {"chainrule:cpu", "chainrule:cuda"}
    if content["kind"] == "RayJob":
        command = content["spec"]["entrypoint"].split()
        commands = get_command(main.app).commands  # type: ignore[attr-defined]  # a group
        assert command[0] == "chainrule"
        assert command[1] in commands


def check_manifest(content: dict[str, Any]) -> None:
    """Validate a manifest by the schemas of Kubernetes and KubeRay."""
    if content["apiVersion"] != "ray.io/v1":
        kubernetes_validate.validate(content, KUBERNETES, strict=True)
        return
    Draft202012Validator(RAY[content["kind"]]).validate(content["spec"])
    cluster = content["spec"].get("rayClusterSpec", content["spec"])
    groups = [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", ())]
    for group in groups:
        # Only pods have names of their own; the operator gives them.
        pod = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
        pod["metadata"] = {"name": "pod", **pod.get("metadata", {})}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": content["metadata"]},
        KUBERNETES,
        strict=True,
    )


def test_what_kubernetes_would_refuse_is_found() -> None:
    path = INFRA / "kuberay" / "job.yaml"

    def broken(old: str, new: str) -> dict[str, Any]:
        text = path.read_text()
        assert old in text
        content: dict[str, Any] = yaml.safe_load(text.replace(old, new))
        return content

    for old, new in (
        ("entrypoint:", "entryPoint:"),
        ("rayVersion: 2.60.0", "rayVersion: 2.6"),
        ("minReplicas: 1", "minReplicas: one"),
        ("groupName: gpu", "groupname: gpu"),
        ("mode: token", "mode: password"),
    ):
        with pytest.raises(InvalidManifest):
            check_manifest(broken(old, new))
    for old, new in (("image:", "imagee:"), ("mountPath:", "mountpath:")):
        with pytest.raises(kubernetes_validate.ValidationError):
            check_manifest(broken(old, new))


def test_manifests_run_the_ray_and_read_the_secret_that_there_is() -> None:
    (pinned,) = re.findall(
        r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE
    )
    secret = yaml.safe_load((INFRA / "kuberay" / "secret.yaml").read_text())
    for path in MANIFESTS:
        text = path.read_text()
        assert set(re.findall(r"rayVersion: (\S+)", text)) <= {pinned}, path
        read = set(re.findall(r"secretRef: \{name: (\S+)\}", text))
        assert read <= {secret["metadata"]["name"]}, path
        # The operator makes a secret with the token, of the cluster's name.
        assert yaml.safe_load(text)["metadata"]["name"] not in read, path


def test_the_file_for_prefect_names_flows_and_configurations_that_are_good() -> None:
    content = yaml.safe_load((INFRA / "prefect.yaml").read_text())
    assert len(content["deployments"]) == 3
    for deployment in content["deployments"]:
        module, _, name = deployment["entrypoint"].rpartition(".")
        flow = getattr(import_module(module), name)
        parameters = dict(deployment["parameters"])
        Config.model_validate(parameters["config"])
        assert set(parameters) <= set(flow.fn.__annotations__)
        assert deployment["work_pool"]["work_queue_name"] == "flights"
        variables = deployment["work_pool"]["job_variables"]
        assert variables == {"env": environment.PATIENT}
