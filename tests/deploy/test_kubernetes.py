"""What the Kubernetes manifests promise beyond their schema."""

from typing import Any

import pytest

import fader
from deploy.dockerfile import read_dockerfile
from deploy.manifests import example, kubernetes, pod, resource
from fader_server.api.ofrep.door import PREFIX
from fader_server.app import create_app
from fader_server.settings import read_settings

DEPLOYMENT = resource("base", "Deployment")
JOB = resource("migration", "Job")
SERVICE = resource("base", "Service")
IMAGE = read_dockerfile()[-1]
UID = int(IMAGE.value("USER").partition(":")[0])
PODS = {"Deployment": DEPLOYMENT, "Job": JOB}


@pytest.mark.parametrize("kind", PODS)
def test_pods_are_held_to_the_restricted_standard(kind: str) -> None:
    specification = pod(PODS[kind])
    context = specification["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == UID
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in specification["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    namespace = resource("base", "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("kind", PODS)
def test_pods_get_no_token_and_no_variables_from_the_cluster(kind: str) -> None:
    specification = pod(PODS[kind])
    assert specification["automountServiceAccountToken"] is False
    # For a Service named fader these would be FADER_PORT, FADER_SERVICE_HOST and more.
    assert specification["enableServiceLinks"] is False


@pytest.mark.parametrize("kind", PODS)
def test_secrets_are_readable_for_the_group_of_the_pod_and_for_nobody_else(kind: str) -> None:
    (volume,) = pod(PODS[kind])["volumes"]
    assert volume["secret"]["secretName"] == "fader"
    assert volume["secret"]["defaultMode"] == 0o440
    assert all(mount["readOnly"] for mount in pod(PODS[kind])["containers"][0]["volumeMounts"])


@pytest.mark.parametrize("kind", PODS)
def test_pods_say_what_they_need(kind: str) -> None:
    for container in pod(PODS[kind])["containers"]:
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"].keys() == {"memory"}


@pytest.mark.parametrize("kind", PODS)
def test_the_image_is_of_this_version(kind: str) -> None:
    (container,) = pod(PODS[kind])["containers"]
    assert container["image"].rpartition(":")[2] == fader.__version__


def paths_of_the_server() -> set[str]:
    return {route.path for route in create_app(read_settings({})).routes} | {PREFIX}


@pytest.mark.parametrize(
    ("probe", "path"),
    [("startupProbe", "/health/live"), ("readinessProbe", "/health/ready"), ("livenessProbe", "/health/live")],
)
def test_probes_ask_what_the_server_answers(probe: str, path: str) -> None:
    (container,) = pod(DEPLOYMENT)["containers"]
    assert container[probe]["httpGet"] == {"path": path, "port": "http"}
    assert path in paths_of_the_server()


def test_metrics_are_scraped_where_they_are() -> None:
    annotations = DEPLOYMENT["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] in paths_of_the_server()
    assert annotations["prometheus.io/port"] == IMAGE.value("EXPOSE")


def test_a_hanging_process_is_given_more_time_than_one_that_is_not_ready() -> None:
    (container,) = pod(DEPLOYMENT)["containers"]
    seconds = {
        name: container[name]["periodSeconds"] * container[name]["failureThreshold"]
        for name in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    assert seconds["readinessProbe"] <= 5 < seconds["livenessProbe"]
    assert seconds["startupProbe"] >= 30


def test_ports_agree() -> None:
    (container,) = pod(DEPLOYMENT)["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": int(IMAGE.value("EXPOSE"))}]
    (port,) = SERVICE["spec"]["ports"]
    assert port["targetPort"] == "http"
    (rule,) = example("httproute")["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": SERVICE["metadata"]["name"], "port": port["port"]}]
    for path in example("ingress")["spec"]["rules"][0]["http"]["paths"]:
        assert path["backend"]["service"] == {"name": SERVICE["metadata"]["name"], "port": {"name": port["name"]}}


def test_what_is_in_front_lets_everything_through_but_metrics() -> None:
    (rule,) = example("httproute")["spec"]["rules"]
    by_gateway = {match["path"]["value"] for match in rule["matches"]}
    by_ingress = {path["path"] for path in example("ingress")["spec"]["rules"][0]["http"]["paths"]}
    assert by_gateway == by_ingress
    closed = {path for path in paths_of_the_server() if f"/{path.split('/')[1]}" not in by_gateway}
    assert closed == {"/metrics"}


def test_a_rollout_never_has_fewer_pods_than_before() -> None:
    assert DEPLOYMENT["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert DEPLOYMENT["spec"]["replicas"] == 3


def test_pods_are_spread_over_machines_and_zones() -> None:
    spread = pod(DEPLOYMENT)["topologySpreadConstraints"]
    assert {found["topologyKey"] for found in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert all(found["labelSelector"]["matchLabels"].items() <= labels(DEPLOYMENT).items() for found in spread)


def labels(found: dict[str, Any]) -> dict[str, str]:
    """Of the pods of a Deployment or of a Job."""
    given: dict[str, str] = found["spec"]["template"]["metadata"]["labels"]
    return given


def selects(selector: dict[str, str], found: dict[str, Any]) -> bool:
    return selector.items() <= labels(found).items()


def test_everything_that_is_for_servers_selects_servers_and_not_the_migration() -> None:
    budget = resource("base", "PodDisruptionBudget")["spec"]
    policy = resource("base", "NetworkPolicy")["spec"]
    for selector in (
        SERVICE["spec"]["selector"],
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        budget["selector"]["matchLabels"],
        policy["podSelector"]["matchLabels"],
    ):
        assert selects(selector, DEPLOYMENT)
        assert not selects(selector, JOB)
    own = resource("migration", "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert selects(own, JOB)
    assert not selects(own, DEPLOYMENT)


def ports(rules: list[dict[str, Any]]) -> set[int]:
    assert all(rule.get("ports") for rule in rules), "a rule without ports lets everything through"
    return {port["port"] for rule in rules for port in rule["ports"]}


def test_the_network_lets_in_http_and_out_to_the_databases_and_dns() -> None:
    policy = resource("base", "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert ports(policy["ingress"]) == {int(IMAGE.value("EXPOSE"))}
    assert ports(policy["egress"]) == {5432, 6379, 53}


def test_the_network_lets_nothing_in_to_the_migration_and_out_to_its_database_and_dns() -> None:
    policy = resource("migration", "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    assert ports(policy["egress"]) == {5432, 53}


def test_everything_is_in_one_namespace() -> None:
    found = [*kubernetes("base"), *kubernetes("migration"), example("ingress"), example("httproute")]
    names = {other["metadata"]["namespace"] for other in found if other["kind"] != "Namespace"}
    assert names == {resource("base", "Namespace")["metadata"]["name"]}


def test_a_stream_through_the_gateway_never_times_out() -> None:
    (rule,) = example("httproute")["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
