"""How far changes have come, as one server tells it, over real sockets."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3

from processes import PATIENCE, ServerProcess, running_server, wait_for
from raw_stream import RawStream
from scraping import scrape
from sdk_process import SdkProcess, post

Start = Callable[..., SdkProcess]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    limits = {"FADER_SDK_REQUESTS_PER_SECOND": "1000"}
    with running_server(tmp_path_factory.mktemp("acknowledgements"), **limits) as server:
        yield server


class Environment:
    """A fresh one, of which nobody has heard."""

    def __init__(self, server: ServerProcess) -> None:
        self._admin = server.admin
        self.name = f"e-{uuid.uuid4().hex[:8]}"
        self.path = f"/projects/default/environments/{self.name}"
        server.admin.ok("POST", "/projects/default/environments", {"key": self.name})
        made = server.admin.ok("POST", "/projects/default/keys", {"name": "sdk", "environment": self.name})
        self.key: str = made["secret"]
        self._flag = f"flag-{uuid.uuid4().hex[:8]}"
        server.admin.create_flag(self._flag)
        self._is_on = False

    def change(self) -> int:
        """Change something, and say which revision that is."""
        self._is_on = not self._is_on
        verb = "on" if self._is_on else "off"
        revision: int = self._admin.verb(self._flag, verb, environment=self.name)["revision"]
        return revision

    def told(self, revision: int | None = None) -> Any:
        query = "" if revision is None else f"?revision={revision}"
        return self._admin.ok("GET", f"{self.path}/acknowledgements{query}")

    def counts(self, revision: int | None = None) -> dict[str, int]:
        """Those that are not 0."""
        told = self.told(revision)
        assert told["clients"] == told["applied"] + told["waiting"] + told["refused"] + told["lost"]
        names = ("applied", "waiting", "refused", "lost", "starting")
        return {name: told[name] for name in names if told[name]}

    def clients(self, query: str = "") -> Any:
        return self._admin.ok("GET", f"{self.path}/clients{query}")


@pytest.fixture
def environment(server: ServerProcess) -> Environment:
    return Environment(server)


@pytest.fixture
def start(server: ServerProcess, environment: Environment) -> Iterator[Start]:
    started: list[SdkProcess] = []

    def new(name: str = "one", **headers: str) -> SdkProcess:
        started.append(SdkProcess(server, environment.key, name, **headers))
        return started[-1]

    yield new
    for process in started:
        process.stream.close()


def test_a_change_is_complete_when_all_have_said_so(environment: Environment, start: Start) -> None:
    first, second = start("first"), start("second")
    assert environment.counts() == {"starting": 2}
    for process in (first, second):
        process.says(process.revision)
    assert environment.counts() == {"applied": 2}
    revision = environment.change()
    assert environment.counts(revision) == {"waiting": 2}
    first.says(revision, held_ms=0.5)
    told = environment.told(revision)
    assert (told["applied"], told["waiting"], told["complete"]) == (1, 1, False)
    [missing] = told["missing"]
    assert (missing["instance"], missing["state"], missing["revision"]) == (second.name, "waiting", revision - 1)
    assert (missing["app"], missing["host"], missing["error"]) == ("shop", "web-1", "")
    second.says(revision)
    told = environment.told(revision)
    assert (told["clients"], told["applied"], told["complete"], told["missing"]) == (2, 2, True, [])
    assert (told["scope"], told["nodes"], told["revision"]) == ("all nodes", 1, revision)
    assert 0 < told["propagation"]["p50_ms"] <= told["propagation"]["p99_ms"] <= told["propagation"]["max_ms"]
    assert environment.told(revision - 1)["complete"]


def test_who_refuses_is_named_with_its_reason(environment: Environment, start: Start) -> None:
    process = start()
    process.says(process.revision)
    revision = environment.change()
    process.says(revision, applied=False, error="no such operator: glob")
    told = environment.told(revision)
    assert (told["refused"], told["complete"], told["propagation"]) == (1, False, None)
    assert (told["missing"][0]["state"], told["missing"][0]["error"]) == ("refused", "no such operator: glob")
    assert environment.clients("?state=refused")["items"][0]["error"] == "no such operator: glob"
    later = environment.change()
    process.says(later)
    assert environment.counts(later) == {"applied": 1}


def test_who_vanishes_is_missed_and_who_says_goodbye_is_not(environment: Environment, start: Start) -> None:
    vanishes, leaves = start("vanishes"), start("leaves")
    for process in (vanishes, leaves):
        process.says(process.revision)
    vanishes.stream.close()
    leaves.leaves()
    revision = environment.change()
    wait_for(lambda: environment.counts(revision) == {"lost": 1}, "it to be missed")
    assert environment.told(revision)["missing"][0]["instance"] == vanishes.name
    vanishes.moves(vanishes.server)
    assert environment.counts(revision) == {"waiting": 1}


def test_who_polls_is_counted_apart(server: ServerProcess, environment: Environment) -> None:
    headers = {"Authorization": f"Bearer {environment.key}", "Fader-Instance": "polls", "Fader-App": "batch"}

    def poll() -> None:
        answer = urllib3.request("GET", f"{server.url}/sdk/v1/snapshot", headers=headers, timeout=PATIENCE)
        assert answer.status == 200

    poll()
    assert environment.told()["polling"] == {"clients": 1, "up_to_date": 1}
    revision = environment.change()
    told = environment.told(revision)
    assert (told["polling"], told["clients"], told["complete"]) == ({"clients": 1, "up_to_date": 0}, 0, True)
    wait_for(lambda: poll() or environment.told(revision)["polling"]["up_to_date"], "it to be given the change")
    [client] = environment.clients()["items"]
    assert (client["instance"], client["transport"], client["revision"]) == ("polls", "poll", revision)


def test_streams_without_a_name_are_told_of(server: ServerProcess, environment: Environment) -> None:
    stream = RawStream(server, key=environment.key)
    assert "1 streams do not say whose they are, and cannot acknowledge" in environment.told()["notes"]
    stream.close()
    wait_for(lambda: not any("do not say" in note for note in environment.told()["notes"]), "it to be gone")


def test_a_revision_that_there_is_not_is_not_found(server: ServerProcess, environment: Environment) -> None:
    newest = environment.change()
    answer = server.admin.request("GET", f"{environment.path}/acknowledgements?revision={newest + 1}")
    assert answer.status == 404
    assert f"the newest is {newest}" in answer.json["detail"]
    assert server.admin.request("GET", f"{environment.path}/acknowledgements?revision=-1").status == 422
    for what in ("acknowledgements", "clients"):
        assert server.admin.request("GET", f"/projects/default/environments/nowhere/{what}").status == 404


def test_viewers_see_their_own_environment_only(server: ServerProcess, environment: Environment) -> None:
    tokens = [
        server.admin.ok("POST", "/tokens", {"name": uuid.uuid4().hex, "role": "viewer", "environments": [name]})
        for name in (environment.name, "production")
    ]
    for what in ("acknowledgements", "clients"):
        statuses = [
            server.admin.request("GET", f"{environment.path}/{what}", token=token["secret"]).status for token in tokens
        ]
        assert statuses == [200, 403]
        assert server.admin.request("GET", f"{environment.path}/{what}", token=environment.key).status in {401, 403}


def test_clients_are_listed_page_by_page(environment: Environment, start: Start) -> None:
    apps = ["shop", "batch", "shop", "admin", "shop"]
    started = [start(f"n{number}", **{"Fader-App": app}) for number, app in enumerate(apps)]
    for process in started[:3]:
        process.says(process.revision)
    found, query = [], "?limit=2"
    while True:
        page = environment.clients(query)
        assert len(page["items"]) <= 2
        found += page["items"]
        if page["next_cursor"] is None:
            break
        query = f"?limit=2&cursor={page['next_cursor']}"
    assert [(one["app"], one["instance"]) for one in found] == sorted(
        (app, one.name) for app, one in zip(apps, started, strict=True)
    )
    one = next(one for one in found if one["instance"] == started[0].name)
    assert (one["sdk"], one["sdk_version"], one["transport"]) == ("fader-python", "1.2.3", "stream")
    assert (one["state"], one["revision"], one["node"]) == ("connected", started[0].revision, started[0].node)
    assert len(environment.clients("?state=starting")["items"]) == 2
    behind = environment.clients(f"?before={environment.change()}")["items"]
    assert {one["instance"] for one in behind} == {process.name for process in started}


def test_a_key_acknowledges_in_its_own_environment_only(
    server: ServerProcess, environment: Environment, start: Start
) -> None:
    process = start()
    process.says(process.revision)
    revision = environment.change()
    body = {"instance": process.name, "epoch": process.epoch, "revision": revision}
    assert post(server, "ack", body, server.sdk_key("production")).status == 204
    assert post(server, "goodbye", {"instance": process.name}, server.sdk_key("production")).status == 204
    assert environment.counts(revision) == {"waiting": 1}
    for what in ("ack", "goodbye"):
        assert post(server, what, body, "default:production.unknown-secret-of-length").status == 401
        assert post(server, what, body, server.admin_token).status == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        ([], 422),
        ({"epoch": "e", "revision": 1}, 422),
        ({"instance": "", "epoch": "e", "revision": 1}, 422),
        ({"instance": "i" * 129, "epoch": "e", "revision": 1}, 422),
        ({"instance": "i", "epoch": "e", "revision": -1}, 422),
        ({"instance": "i", "epoch": "e", "revision": 2**63}, 422),
        ({"instance": "i", "epoch": "e", "revision": "1"}, 422),
        ({"instance": "i", "epoch": "e", "revision": 1, "held_ms": -1}, 422),
        ({"instance": "i", "epoch": "e", "revision": 1, "applied": 1}, 422),
        ({"instance": "i", "epoch": "e", "revision": 1, "error": "x" * 1001}, 422),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(
    server: ServerProcess, environment: Environment, body: Any, status: int
) -> None:
    answer = post(server, "ack", body, environment.key)
    assert answer.status == status, answer.data
    assert answer.headers["Content-Type"].startswith("application/problem+json")


def test_an_odd_number_holds_nobody_up(server: ServerProcess, environment: Environment, start: Start) -> None:
    odd, other = start("odd"), start("other")
    other.says(other.revision)
    revision = environment.change()
    body = {"instance": odd.name, "epoch": odd.epoch, "revision": 2**63 - 1}
    assert post(server, "ack", body, environment.key).status == 204
    other.says(revision)
    assert environment.told(revision)["complete"]


def test_names_are_kept_short_and_printable(environment: Environment, start: Start) -> None:
    start("one", **{"Fader-Host": "a\tb\x9b31m\u202ec", "Fader-App": "x" * 500})
    [client] = environment.clients()["items"]
    assert client["app"] == "x" * 128
    assert client["host"] == "a b 31m c"


def test_headers_with_control_characters_are_refused(server: ServerProcess, environment: Environment) -> None:
    stream = RawStream(server, key=environment.key, headers={"Fader-Instance": "one", "Fader-Host": "\x1b[31m"})
    stream.close()
    assert stream.status == 400
    assert environment.clients()["items"] == []


def test_what_is_told_by_clients_is_printable(environment: Environment, start: Start) -> None:
    process = start()
    process.says(environment.change(), applied=False, error="one\nline\x1b[2J")
    [client] = environment.clients()["items"]
    assert client["error"] == "one line [2J"


def test_crowds_are_given_time(environment: Environment, start: Start) -> None:
    first = start("first")
    assert first.first.get("ack_within_ms", 0) == 0
    for number in range(59):
        start(f"more-{number}")
    revision = environment.change()
    _, change = first.stream.follow(revision)[-1]
    assert change["ack_within_ms"] == 12


def test_an_environment_that_is_removed_takes_its_clients_along(
    server: ServerProcess, environment: Environment, start: Start
) -> None:
    process, unnamed = start(), RawStream(server, key=environment.key)
    server.admin.ok("DELETE", environment.path)
    for stream in (process.stream, unnamed):
        stream.rest()
        stream.close()
    wait_for(lambda: not scrape(server).has("fader_clients", environment=environment.name), "them to be forgotten")


def test_all_of_it_is_counted(server: ServerProcess, environment: Environment, start: Start) -> None:
    def count(name: str, **labels: str) -> float:
        return scrape(server).sum(name, **labels)

    applied = count("fader_acknowledgements_total", outcome="applied")
    refused = count("fader_acknowledgements_total", outcome="refused")
    timed = count("fader_change_applied_seconds_count")
    first, second = start("first"), start("second")
    for process in (first, second):
        process.says(process.revision)
    revision = environment.change()
    first.says(revision)
    second.says(revision, applied=False, error="no")
    assert count("fader_acknowledgements_total", outcome="applied") == applied + 3
    assert count("fader_acknowledgements_total", outcome="refused") == refused + 1
    assert count("fader_change_applied_seconds_count") == timed + 1
    assert count("fader_clients", environment=environment.name, state="connected") == 2
    assert count("fader_clients", environment=environment.name, state="refused") == 1
    first.stream.close()
    wait_for(lambda: count("fader_clients", environment=environment.name, state="lost") == 1, "one to be missed")
