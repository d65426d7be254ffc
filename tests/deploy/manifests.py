"""The files of deploy/ as data: the compose file, and what kustomize makes of the Kubernetes files."""

from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from deploy.programs import ROOT, output

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
KUSTOMIZATIONS = {name: DEPLOY / "kubernetes" / name for name in ("base", "migration")}

SECRETS = "/run/secrets"
"""The folder in which all containers find their secrets."""


class Workload(Struct, frozen=True):
    """A container that runs our image, whoever starts it.

    Args:
        name: For people.
        arguments: Instead of the image's.
        environment: The variables.
        files: The secrets that it can read, by their paths.
        grace_seconds: How long after the order to end it is killed.
    """

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    files: tuple[str, ...]
    grace_seconds: float


def compose() -> dict[str, Any]:
    """The compose file."""
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return document


def compose_services() -> dict[str, Any]:
    """Its services."""
    services: dict[str, Any] = compose()["services"]
    return services


def kubernetes(kustomization: str) -> list[dict[str, Any]]:
    """The resources that kustomize makes of a folder."""
    return list(yaml.safe_load_all(output("kubectl", "kustomize", KUSTOMIZATIONS[kustomization])))


def example(name: str) -> dict[str, Any]:
    """One of the resources that users put in front."""
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "kubernetes" / "examples" / f"{name}.yaml").read_text("utf-8"))
    return document


def resource(kustomization: str, kind: str) -> dict[str, Any]:
    """The only resource of a kind."""
    (only,) = [found for found in kubernetes(kustomization) if found["kind"] == kind]
    return only


def pod(found: dict[str, Any]) -> dict[str, Any]:
    """What the pods of a Deployment or of a Job are to be."""
    specification: dict[str, Any] = found["spec"]["template"]["spec"]
    return specification


def compose_workload(name: str) -> Workload:
    """A service of the compose file."""
    service = compose_services()[name]
    return Workload(
        name=f"compose: {name}",
        arguments=tuple(service.get("command", ())),
        environment=service.get("environment", {}),
        files=tuple(f"{SECRETS}/{secret}" for secret in service.get("secrets", ())),
        grace_seconds=float(service.get("stop_grace_period", "10s").removesuffix("s")),
    )


def kubernetes_workload(kustomization: str, kind: str) -> Workload:
    """The container of a Deployment or of a Job."""
    specification = pod(resource(kustomization, kind))
    (container,) = specification["containers"]
    (mount,) = container["volumeMounts"]
    (volume,) = specification["volumes"]
    assert mount["name"] == volume["name"]
    return Workload(
        name=f"kubernetes: {kind}",
        arguments=tuple(container.get("args", ())),
        environment={variable["name"]: variable["value"] for variable in container["env"]},
        files=tuple(f"{mount['mountPath']}/{item['path']}" for item in volume["secret"]["items"]),
        grace_seconds=specification.get("terminationGracePeriodSeconds", 30),
    )


def servers() -> list[Workload]:
    """Everything that serves."""
    return [compose_workload("node-1"), compose_workload("node-2"), kubernetes_workload("base", "Deployment")]


def migrations() -> list[Workload]:
    """Everything that migrates."""
    return [compose_workload("migrate"), kubernetes_workload("migration", "Job")]


def files() -> list[Path]:
    """All files of deploy/ and the Dockerfile, but not the secrets that somebody may have made."""
    found = (path for path in DEPLOY.rglob("*") if path.is_file() and DEPLOY / "secrets" not in path.parents)
    return [ROOT / "Dockerfile", *sorted(found)]
