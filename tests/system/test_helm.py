"""Tests of the Helm chart: schemas, rights, names, values and variables."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tasks.config.schedules import SchedulesConfig
from tests.support import helm
from tests.support.environment_names import is_known, own_names

ROOT = Path(__file__).parents[2]
CHART = ROOT / "infra" / "helm" / "chainrule"
TEMPLATES = "\n".join(p.read_text() for p in sorted(CHART.glob("templates/*")))
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SECRETS = {
    content["metadata"]["name"]: set(content["stringData"])
    for path in ("kuberay/secret.yaml", "helm/databases.yaml")
    for content in [yaml.safe_load((ROOT / "infra" / path).read_text())]
}
KUBERNETES = "1.30"

CLIENT = {"namespaceSelector": {"matchLabels": {"name": "ingress"}}}

INTERNAL = {
    f"CHAINRULE_{name}"
    for name in ("COMMAND", "EMBEDDED_SERVER", "REPORT", "SUPERVISED", "WORKER_HOOK")
}
"""Environment variables by which this code tells its own processes something."""

Manifest = dict[str, Any]  # JSON values


def manifests(**changes: Any) -> dict[tuple[str, str], Manifest]:
    """Return the rendered manifests by kind and name."""
    named = {key.replace("__", "."): value for key, value in changes.items()}
    found = helm.render(CHART, named)
    by_name = {(m["kind"], m["metadata"]["name"]): m for m in found}
    assert len(by_name) == len(found)
    return by_name


def pods() -> dict[str, Manifest]:
    """Return the templates of all pods by the name of their deployment."""
    found = manifests()
    return {
        name: manifest["spec"]["template"]
        for (kind, name), manifest in found.items()
        if kind == "Deployment"
    }


def containers() -> dict[str, Manifest]:
    """Return the only container of each pod, by the name of the deployment."""
    found = {}
    for name, pod in pods().items():
        (found[name],) = pod["spec"]["containers"]
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"networkPolicy__enabled": False},
        {"networkPolicy__clients": [CLIENT], "worker__replicas": 3},
    ],
)
def test_manifests_follow_the_schemas_of_kubernetes(changes: dict[str, Any]) -> None:
    for manifest in manifests(**changes).values():
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_a_manifest_that_kubernetes_would_refuse_is_found() -> None:
    wrong = manifests(worker__replicas="two")["Deployment", "prefect-worker"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_helm_renders_the_same_where_it_is_installed() -> None:
    found = helm.render_by_helm(CHART)
    if found is None:
        pytest.skip("helm is not installed; the renderer of the tests is used alone")
    assert {(m["kind"], m["metadata"]["name"]): m for m in found} == manifests()


def test_what_the_renderer_does_not_know_is_an_error() -> None:
    context = {"Values": {"a": {"b": 1}}}
    text = "x: {{ .Values.a.b }}\n{{- if .Values.a }}\ny: {{ .Values.a.b | quote }}\n"
    assert helm.render_text(f"{text}{{{{- end }}}}\n", context) == 'x: 1\ny: "1"\n'
    for action in ("include .x .", ".Values.a.b | upper", ".Values.c", "range .Values"):
        with pytest.raises((ValueError, KeyError)):
            helm.render_text(f"{{{{ {action} }}}}", context)


def test_every_value_is_used_and_every_used_value_is_there() -> None:
    used = set(re.findall(r"\.Values\.([\w.]+)", TEMPLATES))

    def keys(section: dict[str, Any], prefix: str = "") -> set[str]:
        found: set[str] = set()
        for name, value in section.items():
            key = prefix + name
            if isinstance(value, dict) and name != "resources":
                found |= keys(value, f"{key}.")
            else:
                found.add(key)
        return found

    assert used == keys(VALUES)


def test_versions_are_those_of_the_project() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (version,) = re.findall(r'^version = "(.*)"$', project, re.MULTILINE)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)
    constraints = (ROOT / "constraints.txt").read_text()
    prefect = yaml.safe_load((ROOT / "infra" / "prefect.yaml").read_text())
    assert f"\nprefect=={prefect['prefect-version']}\n" in constraints
    assert {c["image"] for c in containers().values()} == {"chainrule:cpu"}


def test_no_pod_has_rights_that_it_does_not_need() -> None:
    found = manifests()
    assert {kind for kind, _ in found} & {"Role", "RoleBinding", "ClusterRole"} == set()
    for name, pod in pods().items():
        spec, account = pod["spec"], pod["spec"]["serviceAccountName"]
        assert found["ServiceAccount", account]["automountServiceAccountToken"] is False
        assert spec["automountServiceAccountToken"] is False
        # Else the service mlflow would set MLFLOW_PORT in every pod.
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        container = containers()[name]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]) == {"requests", "limits"}
        for limits in container["resources"].values():
            assert set(limits) == {"cpu", "memory"}


def test_the_image_runs_as_the_user_of_the_pods() -> None:
    dockerfile = (ROOT / "infra" / "Dockerfile").read_text()
    (uid,) = re.findall(r"--uid (\d+)", dockerfile)
    users = {pod["spec"]["securityContext"]["runAsUser"] for pod in pods().values()}
    assert users == {int(uid)}


def test_secrets_and_their_keys_are_those_of_the_files() -> None:
    cluster = VALUES["ray"]["cluster"]
    for name, container in containers().items():
        for variable in container.get("env", ()):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference and reference["name"] == cluster:
                assert reference["key"] == "auth_token"  # which KubeRay writes
            elif reference:
                assert reference["key"] in SECRETS[reference["name"]], name
        for source in container.get("envFrom", ()):
            assert source["secretRef"]["name"] in SECRETS
    (volume,) = pods()["mlflow"]["spec"]["volumes"]
    (item,) = volume["secret"]["items"]
    assert item["key"] in SECRETS[volume["secret"]["secretName"]]
    # Whoever runs jobs does not see the databases.
    worker = yaml.safe_dump(pods()["prefect-worker"])
    assert VALUES["secrets"]["databases"] not in worker


def test_every_environment_variable_is_read_and_every_own_one_is_explained() -> None:
    for name, container in containers().items():
        variables = [variable["name"] for variable in container.get("env", ())]
        assert [v for v in variables if not is_known(v)] == [], name
    databases = SECRETS[VALUES["secrets"]["databases"]] - {"auth.ini"}
    assert [v for v in databases if not is_known(v)] == []
    readme = (ROOT / "infra" / "README.md").read_text()
    assert {v for v in own_names() - INTERNAL if f"`{v}`" not in readme} == set()


def test_services_lead_to_the_ports_that_the_servers_listen_on() -> None:
    found = manifests()
    secret = yaml.safe_load((ROOT / "infra" / "kuberay" / "secret.yaml").read_text())
    addresses = " ".join(secret["stringData"].values())
    for name, container in containers().items():
        labels = pods()[name]["metadata"]["labels"]
        deployment = found["Deployment", name]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
        if ("Service", name) not in found:
            assert "ports" not in container
            continue
        service = found["Service", name]["spec"]
        assert service["selector"] == labels
        (port,), (listening,) = service["ports"], container["ports"]
        assert port["port"] == listening["containerPort"]
        assert port["targetPort"] == listening["name"]
        assert f"http://{name}:{port['port']}" in addresses
        (rule,) = found["NetworkPolicy", name]["spec"]["ingress"]
        assert rule["ports"] == [{"protocol": "TCP", "port": port["port"]}]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] == listening["name"]


def test_network_policies_let_in_the_ray_cluster_and_named_clients_only() -> None:
    ray = {"podSelector": {"matchLabels": {"ray.io/cluster": VALUES["ray"]["cluster"]}}}
    found = manifests(networkPolicy__clients=[CLIENT])
    for name, pod in pods().items():
        policy = found["NetworkPolicy", name]["spec"]
        labels = pod["metadata"]["labels"]
        assert policy["podSelector"]["matchLabels"] == labels
        assert policy["policyTypes"] == ["Ingress"]
        (rule,) = policy["ingress"]
        assert ray in rule["from"]
        assert (CLIENT in rule["from"]) == (name != "prefect-worker")
        for peer in rule["from"]:
            assert peer == CLIENT or peer["podSelector"]["matchLabels"]
    without = manifests(networkPolicy__enabled=False)
    assert "NetworkPolicy" not in {kind for kind, _ in without}


def test_the_worker_is_a_node_of_the_ray_cluster_that_kuberay_makes() -> None:
    cluster = yaml.safe_load((ROOT / "infra" / "kuberay" / "cluster.yaml").read_text())
    name = cluster["metadata"]["name"]
    assert VALUES["ray"] == {"cluster": name, "address": f"{name}-head-svc:6379"}
    command = containers()["prefect-worker"]["command"]
    assert "--num-cpus=0" in command[2]
    assert command[3] == SchedulesConfig().work_pool
