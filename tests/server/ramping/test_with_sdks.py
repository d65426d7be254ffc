"""Ramps by what real SDKs record."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fader import Client
from fader.config import Timing
from processes import ServerProcess, running_server, wait_for
from ramped_flags import begun, path, ramp, step, until

USERS = [f"user-{number}" for number in range(400)]
LATENCY = {"id": "slow", "metric": "checkout", "kind": "latency"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("ramps") / "server") as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with following(server) as client:
        yield client


@contextmanager
def following(server: ServerProcess) -> Iterator[Client]:
    """A client that reports soon."""
    timing = Timing(outcomes_flush=0.1, usage_flush=0.1)
    with Client(url=server.url, sdk_key=server.sdk_key(), cache_dir=None, _timing=timing) as client:
        assert client.wait_until_ready()
        yield client


def knows(client: Client, server: ServerProcess, flag: str) -> dict[str, Any]:
    """The ramp, once the client has heard how it stands."""
    found = ramp(server, flag)
    wait_for(lambda: (client.revision or 0) >= found["revision"], "the client to follow")
    return found


def test_what_is_slow_is_learned_in_the_first_step_and_compared_with_in_the_second(
    server: ServerProcess, client: Client
) -> None:
    flag = begun(server, step(50, seconds=3600), step(60, seconds=3600), guards=(LATENCY,))
    knows(client, server, flag)
    for number, user in enumerate(USERS):  # with the feature or without, most wait 20 ms, and some 200
        client.record("checkout", user, value=200.0 if number % 50 == 0 else 20.0)
    learned = until(server, flag, lambda now: now["guards"][0]["control_p95_ms"] is not None)
    [guard] = learned["guards"]
    assert (guard["verdict"], guard["slower_than_ms"]) == ("cannot measure", None)
    assert "learning from" in guard["found"]
    assert guard["control_p95_ms"] == guard["treatment_p95_ms"] == pytest.approx(20, rel=0.05)
    assert guard["treatment"]["failed"] == guard["control"]["failed"] == 0
    server.admin.ok("POST", path(flag, "/advance"))
    assert ramp(server, flag)["guards"][0]["slower_than_ms"] == guard["control_p95_ms"]
    knows(client, server, flag)
    for user in USERS:
        client.record("checkout", user, value=300.0 if client.is_enabled(flag, user) else 10.0)
    down = until(server, flag, lambda now: now["status"] == "rolled_back")
    [guard] = down["guards"]
    assert guard["verdict"] == "worse"
    assert "users with the feature had to wait too long, and 0 of" in down["why"]
    assert guard["treatment_p95_ms"] == pytest.approx(300, rel=0.05)
    assert guard["control_p95_ms"] == pytest.approx(10, rel=0.05)
    wait_for(lambda: not client.is_enabled(flag, USERS[0]), "the client to follow")


def test_a_candidate_that_raises_in_the_dark_turns_its_ramp_back(server: ServerProcess, client: Client) -> None:
    flag = begun(server, step(50, seconds=3600), guards=({"id": "dark", "metric": "dark-search"},))
    knows(client, server, flag)
    for user in USERS:
        answer = client.dark_launch(
            flag, user, control=lambda: "old", candidate=lambda: 1 / 0, metric="dark-search", inline=True
        )
        assert answer == "old"
    down = until(server, flag, lambda now: now["status"] == "rolled_back")
    [guard] = down["guards"]
    assert guard["verdict"] == "worse"
    assert guard["treatment"]["failed"] == guard["treatment"]["exposed"] > 100
    assert guard["control"]["failed"] == 0 < guard["control"]["exposed"]
