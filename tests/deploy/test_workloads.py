"""What the compose file and the Kubernetes manifests have in common: what they tell the server, and how long they
wait for it."""

import re

import pytest

from deploy.manifests import Workload, files, migrations, servers
from deploy.programs import ROOT
from fader_server.__main__ import USAGE
from fader_server.settings import SETTINGS, read_settings

NAMES = {setting.name for setting in SETTINGS}
KNOWN = NAMES | {f"{name}_FILE" for name in NAMES}
SECRET = {setting.name for setting in SETTINGS if setting.is_secret}


def name_of(workload: Workload) -> str:
    return workload.name


@pytest.mark.parametrize("workload", servers() + migrations(), ids=name_of)
def test_all_variables_are_settings(workload: Workload) -> None:
    assert workload.environment.keys() <= KNOWN


@pytest.mark.parametrize("workload", servers() + migrations(), ids=name_of)
def test_values_are_such_that_the_server_takes_them(workload: Workload) -> None:
    read_settings({name: value for name, value in workload.environment.items() if not name.endswith("_FILE")})


@pytest.mark.parametrize("workload", servers() + migrations(), ids=name_of)
def test_secrets_come_as_files_that_are_mounted(workload: Workload) -> None:
    assert not workload.environment.keys() & SECRET
    named = {value for name, value in workload.environment.items() if name.endswith("_FILE")}
    assert named == set(workload.files)


@pytest.mark.parametrize("workload", servers(), ids=name_of)
def test_servers_have_both_databases_and_serve(workload: Workload) -> None:
    assert {"DATABASE_URL_FILE", "REDIS_URL_FILE"} <= workload.environment.keys()
    assert workload.arguments in {(), ("serve",)}


@pytest.mark.parametrize("workload", migrations(), ids=name_of)
def test_migrations_migrate_and_know_the_database_only(workload: Workload) -> None:
    assert workload.environment.keys() == {"DATABASE_URL_FILE"}
    assert workload.arguments == ("migrate",)
    assert "fader-server migrate" in USAGE


@pytest.mark.parametrize("workload", servers(), ids=name_of)
def test_nobody_is_killed_who_may_still_be_ending(workload: Workload) -> None:
    told = read_settings({name: value for name, value in workload.environment.items() if not name.endswith("_FILE")})
    assert workload.grace_seconds >= told.shutdown_seconds + 5
    assert 2 <= told.drain_seconds <= told.shutdown_seconds / 2, "what comes before the balancer has heard is answered"


LITERALS = {
    "an admin token": re.compile(r"\bfader_(?=[A-Za-z_-]*\d)[\w-]{16,}"),
    "an SDK key": re.compile(r"\b\w+:\w+\.[A-Za-z0-9_-]{16,}"),
    "a URL with a password": re.compile(r"\w+://[^\s/]*:[^\s/]+@"),
    "a password": re.compile(r"(?i)(password|secret|token)\w*\s*[:=]\s*[\"']?(?!$|/run/secrets/|\[|\{)[^\s\"',]{6,}$"),
    "a Secret": re.compile(r"(?m)^kind: Secret|secretGenerator|stringData"),
    "a private key": re.compile(r"BEGIN [A-Z ]*PRIVATE KEY"),
}


def test_no_file_holds_a_secret() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {what}"
        for path in files()
        for what, pattern in LITERALS.items()
        for line in path.read_text("utf-8").splitlines()
        if pattern.search(line) and not SECRETS_BY_NAME.search(line)
    ]
    assert not found


SECRETS_BY_NAME = re.compile(r"secretName: fader|secretName: fader-tls")
"""Secrets that are named and kept elsewhere."""


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("an admin token", "FADER_INITIAL_ADMIN_TOKEN: fader_0123456789abcdef"),
        ("an SDK key", "value: default:production.0123456789abcdef"),
        ("a URL with a password", "DATABASE_URL: postgresql://fader:hunter2@postgres/fader"),
        ("a password", "POSTGRES_PASSWORD: hunter2"),
        ("a Secret", "kind: Secret"),
    ],
)
def test_a_secret_would_be_found(what: str, line: str) -> None:
    assert LITERALS[what].search(line)
