"""URLs at which an alert switches a flag off: for whoever has one, and for nothing else."""

import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import urllib3

from fader_server.api.shown import shown
from processes import PATIENCE, Answer, ServerProcess, running_server, wait_for
from reporting import Reporter
from services.alertmanager import running_alertmanager
from services.postgres import PostgresDatabases

_numbers = itertools.count()
BURNS = json.dumps({"title": "The shop burns"}).encode()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    variables = {"FADER_LOG_LEVEL": "debug"}
    if request.param == "postgresql":
        postgres: PostgresDatabases = request.getfixturevalue("postgres")
        variables["DATABASE_URL"] = postgres.create_database()
    with running_server(tmp_path_factory.mktemp("hooks") / "server", **variables) as server:
        yield server


@pytest.fixture
def flag(server: ServerProcess) -> str:
    """A flag that is on."""
    key = f"flag-{next(_numbers)}"
    server.admin.create_flag(key)
    server.admin.verb(key, "on")
    return key


def path_of(flag: str) -> str:
    return f"/projects/default/flags/{flag}/environments/production"


def hook(server: ServerProcess, flag: str, name: str = "pager") -> dict[str, Any]:
    made: dict[str, Any] = server.admin.ok("POST", f"{path_of(flag)}/hooks", {"name": name})
    return made


def send(server: ServerProcess, path: str, body: bytes = BURNS, method: str = "POST") -> Answer:
    answer = urllib3.request(method, f"{server.url}{path}", body=body, retries=False, timeout=PATIENCE)
    return Answer(answer.status, answer.headers, answer.data)


def state(server: ServerProcess, flag: str) -> dict[str, Any]:
    found: dict[str, Any] = server.admin.ok("GET", f"/projects/default/flags/{flag}")["environments"]["production"]
    return found


def changes(server: ServerProcess, flag: str) -> list[dict[str, Any]]:
    path = f"/projects/default/changes?flag={flag}&environment=production"
    found: list[dict[str, Any]] = server.admin.ok("GET", path)["items"]
    return found


def test_an_alert_switches_the_flag_off_once(server: ServerProcess, flag: str) -> None:
    path = hook(server, flag)["path"]
    first = send(server, path)
    assert first.status == 200, first
    assert first.json["result"] == "switched off"
    assert not state(server, flag)["enabled"]
    newest = changes(server, flag)[0]
    assert (newest["action"], newest["actor"], newest["reason"]) == ("off", "hook pager", "The shop burns")
    assert newest["revision"] == first.json["revision"]
    again = send(server, path)
    assert (again.status, again.json["result"]) == (200, "off already")
    assert changes(server, flag)[0] == newest
    [listed] = server.admin.ok("GET", f"{path_of(flag)}/hooks")["items"]
    assert listed["last_used_at"] is not None


def test_one_that_is_resolved_changes_nothing(server: ServerProcess, flag: str) -> None:
    path = hook(server, flag)["path"]
    body = json.dumps({"status": "resolved", "alerts": [{"status": "resolved"}]}).encode()
    assert send(server, path, body).json["result"] == "nothing to do"
    assert state(server, flag)["enabled"]


def test_who_only_looks_changes_nothing(server: ServerProcess, flag: str) -> None:
    path = hook(server, flag)["path"]
    assert send(server, path, b"", "GET").status == 405
    assert send(server, path, b" \n").status == 400
    assert state(server, flag)["enabled"]


def test_an_alert_ends_the_ramp_that_its_flag_is_in(server: ServerProcess) -> None:
    key = f"flag-{next(_numbers)}"
    server.admin.create_flag(key)
    server.admin.ok("POST", f"{path_of(key)}/ramp", {"steps": [{"percentage": 10}, {"percentage": 100}]})
    assert send(server, hook(server, key)["path"]).json["result"] == "switched off"
    ramp = server.admin.ok("GET", f"{path_of(key)}/ramp")
    assert (ramp["status"], ramp["why"]) == ("aborted", "switched off by hook pager: The shop burns")
    with closing(Reporter(server)) as reporter:
        wait_for(lambda: not reporter.snapshot()["flags"][key].get("enabled", False), "SDKs to be told")


def test_a_hook_that_is_deleted_does_nothing(server: ServerProcess, flag: str) -> None:
    made = hook(server, flag)
    other = hook(server, flag, "other")
    server.admin.ok("DELETE", f"{path_of(flag)}/hooks/{made['id']}")
    assert server.admin.request("DELETE", f"{path_of(flag)}/hooks/{made['id']}").status == 404
    assert send(server, made["path"]).status == 404
    assert send(server, made["path"][:-1]).status == 404
    assert state(server, flag)["enabled"]
    server.admin.ok("POST", f"/projects/default/flags/{flag}/archive")
    assert send(server, other["path"]).status == 409
    server.admin.ok("DELETE", f"/projects/default/flags/{flag}")
    server.admin.create_flag(flag)
    assert send(server, other["path"]).status == 404, "hooks go with their flag"


def test_a_name_is_needed_and_a_flag(server: ServerProcess, flag: str) -> None:
    assert server.admin.request("POST", f"{path_of(flag)}/hooks", {"name": " "}).status == 422
    assert server.admin.request("POST", f"{path_of('nothing')}/hooks", {"name": "pager"}).status == 404
    assert server.admin.request("GET", f"{path_of('nothing')}/hooks").status == 404


def test_a_url_has_a_limit_of_its_own(server: ServerProcess, flag: str) -> None:
    path = hook(server, flag)["path"]
    answers = (send(server, path) for _ in range(1000))
    refused = next(answer for answer in answers if answer.status != 200)
    assert refused.status == 429
    assert "Retry-After" in refused.headers


def test_the_secret_is_nowhere_but_in_the_first_answer(server: ServerProcess, flag: str) -> None:
    made = hook(server, flag)
    secret = made["path"].rpartition("/")[2]
    texts = [
        send(server, made["path"]).body.decode(),
        send(server, made["path"], method="PUT").body.decode(),
        send(server, f"/{made['path']}").body.decode(),
        send(server, f"/api{made['path']}/").body.decode(),
        str(server.admin.ok("GET", f"{path_of(flag)}/hooks")),
        str(changes(server, flag)),
        urllib3.request("GET", f"{server.url}/metrics", retries=False, timeout=PATIENCE).data.decode(),
        server.log.read_text(),
    ]
    for text in texts:
        assert secret.removeprefix("fader_hook_") not in text
    assert "/hooks/v1/fader_hook_…" in texts[-1]
    if server.database.exists():
        assert secret.removeprefix("fader_hook_").encode() not in server.database.read_bytes()
    assert shown(made["path"]) == "/hooks/v1/fader_hook_…"


def test_alertmanager_as_it_comes(server: ServerProcess, flag: str, tmp_path: Path) -> None:
    """A real one, told of an alert as Prometheus would tell it."""
    url = server.url + hook(server, flag)["path"]
    with running_alertmanager(tmp_path, url) as alertmanager:
        alertmanager.fire({"alertname": "HighErrorRate"}, {"summary": "5 % of checkouts fail"})
        wait_for(lambda: not state(server, flag)["enabled"], "the flag to be off")
        assert changes(server, flag)[0]["reason"] == "HighErrorRate: 5 % of checkouts fail"
        server.admin.verb(flag, "on")
        known = state(server, flag)["revision"]
        alertmanager.resolve({"alertname": "HighErrorRate"})
        answered = f"{server.log.read_text().count('/hooks/v1/')}"
        wait_for(lambda: f"{server.log.read_text().count('/hooks/v1/')}" != answered, "that it is resolved")
        assert state(server, flag)["revision"] == known
