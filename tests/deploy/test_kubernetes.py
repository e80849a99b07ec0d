"""The Kubernetes manifests: built by kustomize, checked against the API's own schema, and sound in
what a schema does not say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.settings import Settings
from gateway.settings_file import load_settings

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
VERSION = "1.31"
ENDING_S = 25  # after drain_s: docs/operations.md


@pytest.fixture(scope="module")
def built() -> list[dict[str, Any]]:
    kubectl = shutil.which("kubectl")
    assert kubectl is not None, (
        "kubectl is missing: install it with `apt-get install kubernetes-client`"
    )
    done = subprocess.run(
        [kubectl, "kustomize", str(FOLDER)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def settings() -> Settings:
    return load_settings(FOLDER / "gateway-example.yaml", {})


def of(built: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    found = [one for one in built if one["kind"] == kind]
    return sorted(found, key=lambda one: str(one["metadata"]["name"]))


def pods(built: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one["spec"]["template"] for one in of(built, "Deployment")]


def test_every_manifest_fits_the_schema(built: list[dict[str, Any]]) -> None:
    assert len(built) == 10
    for one in built:
        kubernetes_validate.validate(one, VERSION, strict=True)
        assert one["metadata"]["namespace"] == "hydragate"


def test_the_settings_of_the_example_are_the_gateways(built: list[dict[str, Any]]) -> None:
    config = settings()
    (gateway, _) = pods(built)
    container = gateway["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": config.port, "admin": config.admin_port}
    assert gateway["metadata"]["annotations"]["prometheus.io/port"] == str(config.admin_port)
    pause_s = float(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    grace_s = gateway["spec"]["terminationGracePeriodSeconds"]
    assert grace_s >= pause_s + config.drain_s + ENDING_S
    assert not config.linker.run, "linker.yaml runs it"
    mounts = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
    for path in (config.secret_file, config.admin_token_file, config.data_dir):
        assert path is not None
        assert any(path == mount or mount in path.parents for mount in mounts), path


def test_nobody_is_root_and_nothing_is_writable(built: list[dict[str, Any]]) -> None:
    assert len(pods(built)) == 2
    for pod in pods(built):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["runAsUser"] == 10001
        assert not spec["automountServiceAccountToken"]
        (container,) = spec["containers"]
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"]
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert not rights["allowPrivilegeEscalation"]


def test_secrets_are_named_and_never_written(built: list[dict[str, Any]]) -> None:
    assert of(built, "Secret") == []
    for pod in pods(built):
        volumes = [v["secret"] for v in pod["spec"]["volumes"] if "secret" in v]
        assert volumes == [{"secretName": "hydragate", "defaultMode": 0o440}]


def test_every_selector_finds_pods(built: list[dict[str, Any]]) -> None:
    labels = [pod["metadata"]["labels"] for pod in pods(built)]

    def finds(selector: dict[str, str]) -> bool:
        return any(selector.items() <= one.items() for one in labels)

    for service in of(built, "Service"):
        assert finds(service["spec"]["selector"])
    for kind, key in (
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
        ("Deployment", "selector"),
    ):
        for one in of(built, kind):
            assert finds(one["spec"][key]["matchLabels"]), one["metadata"]


def test_the_admin_port_is_not_for_everybody(built: list[dict[str, Any]]) -> None:
    (gateway, linker) = of(built, "NetworkPolicy")
    open_to_all = [rule["ports"] for rule in gateway["spec"]["ingress"] if "from" not in rule]
    assert open_to_all == [[{"port": "http"}]]
    assert linker["spec"]["ingress"] == []


def test_it_scales_on_metrics_that_there_are(built: list[dict[str, Any]]) -> None:
    (scaler,) = of(built, "HorizontalPodAutoscaler")
    asked = {m["pods"]["metric"]["name"] for m in scaler["spec"]["metrics"] if m["type"] == "Pods"}
    rules = yaml.safe_load((FOLDER / "adapter-rules.yaml").read_text())["rules"]["custom"]
    told = {
        rule.get("name", {}).get("as") or rule["seriesQuery"].partition("{")[0] for rule in rules
    }
    assert asked == told
    from gateway.observe.metrics import TABLE

    known = {definition.name for definition in TABLE}
    for rule in rules:
        series = rule["seriesQuery"].partition("{")[0]
        assert series.removesuffix("_bucket") in known
