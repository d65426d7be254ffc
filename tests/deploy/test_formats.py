"""Every file that describes a deployment is what its format allows, by the tools of the trade."""

from pathlib import Path

import kubernetes_validate
import pytest

from deploy.manifests import COMPOSE, DEPLOY, KUSTOMIZATIONS, example, kubernetes
from deploy.programs import ROOT, output

KUBERNETES_VERSION = "1.37"


def test_the_dockerfile() -> None:
    output("hadolint", "--failure-threshold", "info", ROOT / "Dockerfile")


def test_all_yaml() -> None:
    output("yamllint", "--strict", "--config-file", DEPLOY / ".yamllint", DEPLOY)


def test_the_compose_file() -> None:
    output("check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_the_balancers_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    output("caddy", "validate", "--config", DEPLOY / "Caddyfile")
    # It leaves a well-formatted file as it is.
    assert output("caddy", "fmt", DEPLOY / "Caddyfile") == (DEPLOY / "Caddyfile").read_text("utf-8")


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_kubernetes(kustomization: str) -> None:
    resources = kubernetes(kustomization)
    assert resources
    for resource in resources:
        kubernetes_validate.validate(resource, KUBERNETES_VERSION, strict=True)


def test_the_ingress() -> None:
    kubernetes_validate.validate(example("ingress"), KUBERNETES_VERSION, strict=True)
