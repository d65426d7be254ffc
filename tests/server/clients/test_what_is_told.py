"""What is told of acknowledgements afterwards, in the history, and as they happen, to those who watch."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from processes import ServerProcess, running_server, wait_for
from raw_client import RawClient
from raw_stream import RawStream


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("told")) as server:
        yield server


@pytest.fixture
def environment(server: ServerProcess) -> str:
    """A fresh one, of which nobody has heard."""
    key = f"e-{uuid.uuid4().hex[:8]}"
    server.admin.ok("POST", "/projects/default/environments", {"key": key})
    return key


@pytest.fixture
def flag(server: ServerProcess, environment: str) -> str:
    key = f"flag-{uuid.uuid4().hex[:8]}"
    server.admin.create_flag(key)
    return key


@pytest.fixture
def process(server: ServerProcess, environment: str, flag: str) -> Iterator[Callable[[str], RawClient]]:
    made = server.admin.ok("POST", "/projects/default/keys", {"name": "sdk", "environment": environment})
    processes: list[RawClient] = []

    def start(host: str) -> RawClient:
        processes.append(RawClient(server, made["secret"], host=host))
        return processes[-1]

    yield start
    for one in processes:
        one.stream.close()


def test_the_history_keeps_how_each_change_was_acknowledged(
    server: ServerProcess, environment: str, flag: str, process: Callable[[str], RawClient]
) -> None:
    first, second = process("first"), process("second")
    revision = server.admin.verb(flag, "on", environment=environment)["revision"]
    first.say(revision)
    path = f"/projects/default/changes?environment={environment}&flag={flag}&limit=1"
    [newest] = server.admin.ok("GET", path)["items"]
    assert (newest["revision"], newest["propagation"]) == (revision, None)
    second.say(revision, held_ms=0.5)

    def told() -> dict[str, Any] | None:
        propagation: dict[str, Any] | None = server.admin.ok("GET", path)["items"][0]["propagation"]
        return propagation

    propagation = wait_for(told, "the acknowledgements to be kept")
    assert {name: propagation[name] for name in ("clients", "applied", "refused", "waiting")} == {
        "clients": 2,
        "applied": 2,
        "refused": 0,
        "waiting": 0,
    }
    assert 0 < propagation["p50_ms"] <= propagation["p99_ms"] <= propagation["max_ms"]


def test_who_watches_sees_clients_come_apply_refuse_and_go(
    server: ServerProcess, environment: str, flag: str, process: Callable[[str], RawClient]
) -> None:
    stays = process("stays")
    path = f"/api/v1/changes/stream?project=default&environment={environment}&clients=true"
    watching = RawStream(server, path=path, key=server.admin_token)

    def until(name: str, **wanted: Any) -> dict[str, Any]:
        while True:
            event, document = watching.event()
            if event == name and all(document[field] == value for field, value in wanted.items()):
                return dict(document)

    until("clients", clients=1, applied=1)
    comes = process("comes")
    until("client", what="connected", instance=comes.name, app="shop", host="comes")
    until("clients", clients=2, applied=2)
    revision = server.admin.verb(flag, "on", environment=environment)["revision"]
    until("change", revision=revision)
    until("clients", revision=revision, applied=0, waiting=2)
    stays.say(revision)
    comes.say(revision, applied=False, error="no such operator")
    until("client", what="refused", instance=comes.name, error="no such operator")
    until("clients", applied=1, refused=1, waiting=0)
    comes.leave()
    until("client", what="left", instance=comes.name)
    stays.stream.close()
    until("clients", clients=1, applied=1, lost=0)
    until("client", what="lost", instance=stays.name)
    watching.close()


def test_who_does_not_ask_for_clients_hears_of_changes_alone(
    server: ServerProcess, environment: str, flag: str, process: Callable[[str], RawClient]
) -> None:
    watching = RawStream(
        server, path=f"/api/v1/changes/stream?project=default&environment={environment}", key=server.admin_token
    )
    process("unseen")
    revision = server.admin.verb(flag, "on", environment=environment)["revision"]
    name, document = watching.event()
    assert (name, document["revision"]) == ("change", revision)
    watching.close()


def test_crowds_are_summed_up(
    server: ServerProcess, environment: str, flag: str, process: Callable[[str], RawClient]
) -> None:
    process("first")
    path = f"/api/v1/changes/stream?project=default&environment={environment}&clients=true"
    watching = RawStream(server, path=path, key=server.admin_token)
    assert watching.event()[0] == "clients"
    names = {process("many").name for _ in range(60)}
    seen, counted = set(), 0
    while len(seen) + counted < 60:
        event, document = watching.event()
        if event == "client" and document["what"] == "many":
            counted += document["counts"]["connected"]
        elif event == "client":
            seen.add(document["instance"])
    assert seen <= names
    watching.close()
