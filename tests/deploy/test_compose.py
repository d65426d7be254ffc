"""What the compose file promises beyond its format."""

import re
from typing import Any

import pytest

from deploy.dockerfile import read_dockerfile
from deploy.manifests import DEPLOY, compose, compose_services

SERVICES = compose_services()
IMAGE = read_dockerfile()[-1]
OURS = ("migrate", "node-1", "node-2")


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_is_root_or_may_become_it(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert set(service.get("cap_add", ())) <= {"NET_BIND_SERVICE"}


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_can_write_but_to_memory_and_to_what_is_kept(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    writable = [volume for volume in service.get("volumes", ()) if not volume.endswith(":ro")]
    assert writable == (["postgres:/var/lib/postgresql"] if name == "postgres" else [])


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_the_image_of_this_checkout_as_its_user(name: str) -> None:
    service = SERVICES[name]
    assert (DEPLOY / service["build"]["context"] / "Dockerfile").is_file()
    assert service["pull_policy"] == "build", "a registry may hold somebody else's image of that name"
    assert service["user"] == IMAGE.value("USER")


def test_nodes_are_alike() -> None:
    assert SERVICES["node-1"] == SERVICES["node-2"]


def test_nodes_wait_for_the_migration_and_for_nothing_that_they_can_do_without() -> None:
    for node in ("node-1", "node-2"):
        assert SERVICES[node]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_started"},
        }
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_secrets_are_files_outside_of_the_repository() -> None:
    secrets: dict[str, Any] = compose()["secrets"]
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", ())}
    assert secrets.keys() == used
    assert all(secret == {"file": f"secrets/{name}"} for name, secret in secrets.items())
    ignored = (DEPLOY.parent / ".gitignore").read_text("utf-8").splitlines()
    assert "deploy/secrets/" in ignored


def test_only_the_balancer_is_published_and_only_on_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"balancer": ["127.0.0.1:8080:8080"]}


def test_databases_are_cut_off_from_everything_but_the_nodes() -> None:
    assert compose()["networks"]["back"] == {"internal": True}
    for name in ("migrate", "postgres", "redis"):
        assert SERVICES[name]["networks"] == ["back"]
    assert SERVICES["balancer"]["networks"] == ["front"]


def test_the_balancer_balances_all_nodes_by_their_port() -> None:
    caddyfile = (DEPLOY / "Caddyfile").read_text("utf-8")
    (upstreams,) = re.findall(r"^\treverse_proxy (.*) \{$", caddyfile, re.MULTILINE)
    assert upstreams.split() == [f"{name}:{IMAGE.value('EXPOSE')}" for name in SERVICES if name.startswith("node-")]
    assert "health_uri /health/ready" in caddyfile
