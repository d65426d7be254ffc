"""``--wait``, ``wait`` and ``clients``: a change is made, and it is known who has applied it."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line import Cli
from fader_cli import config
from fader_cli.config import Config, Profile
from fader_cli.exits import ExitCode
from processes import ServerProcess, running_server, wait_for
from raw_client import RawClient

PRODUCTION = ("-e", "production")


@pytest.fixture
def flag(cli: Cli) -> str:
    cli.ok("create", "new-checkout")
    return "new-checkout"


@pytest.fixture
def client(server: ServerProcess, cli: Cli, flag: str, project: str) -> Iterator[Callable[..., RawClient]]:
    made = server.admin.ok("POST", f"/projects/{project}/keys", {"name": "sdk", "environment": "production"})
    clients: list[RawClient] = []

    def start(**named: Any) -> RawClient:
        clients.append(RawClient(server, made["secret"], **named))
        return clients[-1]

    yield start
    for one in clients:
        one.vanish()


class Obedient:
    """Clients that apply, and acknowledge, what comes to them, each on a thread of its own."""

    def __init__(self, *clients: RawClient) -> None:
        self._clients = clients
        self._threads = [threading.Thread(target=self._run, args=(client,), daemon=True) for client in clients]

    def _run(self, client: RawClient) -> None:
        try:
            while True:
                _, change = client.stream.event()
                client.say(change["revision"], held_ms=0.1)
        except (OSError, EOFError, AssertionError):
            pass  # the test is over

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.vanish()
        for thread in self._threads:
            thread.join(10)


def test_a_rollback_returns_when_everybody_has_applied_it(
    cli: Cli, flag: str, client: Callable[..., RawClient]
) -> None:
    with Obedient(client(host="web-1"), client(host="web-2")):
        done = cli("off", flag, *PRODUCTION, "--wait")
        assert done.code == 0
        assert "applied by 2 / 2 SDKs" in done.out
        done = cli("on", flag, *PRODUCTION, "--wait", "--reason", "back")
        assert (done.code, "is ON in production" in done.out) == (0, True)
        assert re.search(r"applied by 2 / 2 SDKs   p50 \S+ m?s   p99 \S+ m?s", done.out)


def test_nobody_is_there_to_wait_for(cli: Cli, flag: str) -> None:
    done = cli("on", flag, *PRODUCTION, "--wait")
    assert (done.code, "no SDK is connected in production" in done.out) == (0, True)


def test_who_stays_silent_is_named_and_the_change_stands(cli: Cli, flag: str, client: Callable[..., RawClient]) -> None:
    client(app="batch", host="job-3")
    with Obedient(client(host="web-1")):
        began = time.monotonic()
        done = cli("on", flag, *PRODUCTION, "--wait", "--timeout", "0.6")
        assert time.monotonic() - began < 10
    assert done.code == ExitCode.NOT_APPLIED == 7
    assert "applied by 1 / 2 SDKs" in done.out
    assert re.search(r"1 has not confirmed: batch@job-3 \(silent for ", done.out)
    assert "the change is made, but 1 of 2 SDKs have not confirmed it after " in done.err
    assert cli.json("show", flag)["environments"]["production"]["enabled"] is True


def test_a_share_may_be_enough(cli: Cli, flag: str, client: Callable[..., RawClient]) -> None:
    client(host="silent")
    with Obedient(client(host="web-1"), client(host="web-2"), client(host="web-3")):
        assert cli("on", flag, *PRODUCTION, "--wait", "--require", "75%").code == 0
        assert cli("off", flag, *PRODUCTION, "--wait", "--require", "75.001%", "--timeout", "0.5").code == 7


def test_who_refuses_is_named_with_its_reason(cli: Cli, flag: str, client: Callable[..., RawClient]) -> None:
    stubborn = client(app="old", host="web-9")
    refusing = threading.Thread(
        target=lambda: stubborn.say(stubborn.stream.event()[1]["revision"], applied=False, error="no such operator")
    )
    refusing.start()
    done = cli("on", flag, *PRODUCTION, "--wait", "--timeout", "1.5")
    refusing.join()
    assert done.code == 7
    assert "old@web-9 has refused: no such operator" in done.err  # at once, while others are waited for
    assert "old@web-9 (refused: no such operator)" in done.out


def test_who_vanishes_is_missed_and_who_says_goodbye_is_not(
    cli: Cli, flag: str, client: Callable[..., RawClient]
) -> None:
    gone, left = client(host="gone"), client(host="left")
    gone.vanish()
    left.leave()
    done = cli("on", flag, *PRODUCTION, "--wait", "--timeout", "0.5")
    assert done.code == 7
    assert re.search(r"shop@gone \(lost, silent for ", done.out)
    assert "left" not in done.out


def test_json_is_one_document(cli: Cli, flag: str, client: Callable[..., RawClient]) -> None:
    with Obedient(client(host="web-1")):
        document = cli.json("on", flag, *PRODUCTION, "--wait")
    assert document["changed"] is True
    told = document["acknowledged"]
    assert (told["reached"], told["complete"], told["applied"], told["clients"]) == (True, True, 1, 1)
    assert told["revision"] == document["revision"]
    assert told["waited_ms"] >= 0
    client(host="silent")
    done = cli("off", flag, *PRODUCTION, "--wait", "--timeout", "0.3", "--json")
    assert done.code == 7
    told = json.loads(done.out)["acknowledged"]
    assert told["reached"] is False
    assert {one["host"] for one in told["missing"]} >= {"silent"}
    assert json.loads(done.err)["error"]["exit_code"] == 7


def test_a_change_of_all_environments_is_waited_for_in_all(
    cli: Cli, flag: str, client: Callable[..., RawClient]
) -> None:
    with Obedient(client(host="web-1")):
        done = cli("edit", flag, "--description", "One page", "--wait")
    assert done.code == 0, done
    assert "production: applied by 1 / 1 SDKs" in done.out
    assert "no SDK is connected in staging" in done.out


def test_what_was_so_already_is_waited_for_too(cli: Cli, flag: str, client: Callable[..., RawClient]) -> None:
    with Obedient(client(host="web-1")):
        cli.ok("on", flag, *PRODUCTION, "--wait")
        done = cli("on", flag, *PRODUCTION, "--wait")
    assert done.code == 0
    assert "nothing to change" in done.out


def test_a_revision_can_be_waited_for_by_itself(cli: Cli, flag: str, client: Callable[..., RawClient]) -> None:
    silent = client(host="web-1")
    revision = cli.json("on", flag, *PRODUCTION)["revision"]
    done = cli("wait", str(revision), *PRODUCTION, "--timeout", "0.3")
    assert done.code == 7
    assert f"revision {revision}: 1 of 1 SDKs have not confirmed it" in done.err
    silent.say(revision)
    assert cli("wait", str(revision), *PRODUCTION).code == 0
    assert cli.json("wait", str(revision), *PRODUCTION)["acknowledged"]["reached"] is True
    done = cli("wait", "99999", *PRODUCTION)
    assert done.code == ExitCode.NOT_FOUND
    assert "There is no revision 99999" in done.err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--wait", "--dry-run"), "cannot go together"),
        (("--timeout", "5"), "add --wait"),
        (("--require", "99%"), "add --wait"),
        (("--wait", "--require", "lots"), "--require"),
        (("--wait", "--timeout", "-1"), "--timeout"),
    ],
)
def test_options_that_make_no_sense_change_nothing(
    cli: Cli, flag: str, options: tuple[str, ...], complaint: str
) -> None:
    done = cli("on", flag, *PRODUCTION, *options)
    assert (done.code, complaint in done.err) == (ExitCode.USAGE, True)
    assert cli.json("show", flag)["environments"]["production"]["enabled"] is False


def test_waiting_goes_on_when_the_server_dies_and_comes_back(unsigned: Cli, tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        config.save(
            Config(current="t", profiles={"t": Profile(url=server.url, token=server.admin_token, project="default")})
        )
        unsigned.ok("create", "a")
        before = RawClient(server, host="web-1")
        waiting = unsigned.start("on", "a", "-e", "production", "--wait", "--timeout", "60")
        # Once this is told, it is known to whoever waits that there is somebody to come back.
        before.stream.follow(before.revision + 1)
        before.say(before.revision + 1, applied=False, error="not yet")
        assert waiting.stderr is not None
        assert "has refused: not yet" in waiting.stderr.readline()
        server.kill()
        before.vanish()
        server.start()
        back = RawClient(server, host="web-1")
        back.say(back.revision)
        out, err = waiting.communicate(timeout=60)
        assert waiting.returncode == 0, (out, err)
        assert "applied by 1 / 1 SDKs" in out
        back.vanish()


def test_it_ends_in_time_when_the_server_does_not_come_back(unsigned: Cli, tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        config.save(
            Config(current="t", profiles={"t": Profile(url=server.url, token=server.admin_token, project="default")})
        )
        unsigned.ok("create", "a")
        silent = RawClient(server, host="web-1")
        waiting = unsigned.start("on", "a", "-e", "production", "--wait", "--timeout", "3")
        wait_for(lambda: unsigned.json("show", "a")["environments"]["production"]["enabled"], "the change")
        server.kill()
        silent.vanish()
        out, err = waiting.communicate(timeout=30)
        assert waiting.returncode == 7, (out, err)
        assert "the change is made, but" in err


def test_clients_are_listed(cli: Cli, flag: str, client: Callable[..., RawClient]) -> None:
    current, old, gone = client(host="web-1"), client(host="web-2"), client(app="batch", host="job-1")
    revision = cli.json("on", flag, *PRODUCTION)["revision"]
    current.say(revision)
    gone.vanish()
    wait_for(lambda: "1 lost" in cli.ok("clients", *PRODUCTION), "the loss to be noticed")
    said = cli.ok("clients", *PRODUCTION)
    assert f"production is at revision {revision}: 2 connected · 2 behind · 1 lost" in said
    assert re.search(rf"shop +web-1 +\S+ .* {revision} +connected", said)
    assert re.search(rf"batch +job-1 +\S+ .* {revision - 1} \(-1\) +lost", said)
    behind = cli.json("clients", *PRODUCTION, "--behind")
    assert {one["instance"] for one in behind} == {old.name, gone.name}
    assert [one["host"] for one in cli.json("clients", *PRODUCTION, "--state", "lost")] == ["job-1"]


def test_the_history_tells_how_it_was_acknowledged(cli: Cli, flag: str, client: Callable[..., RawClient]) -> None:
    with Obedient(client(host="web-1")):
        cli.ok("on", flag, *PRODUCTION, "--wait")
        wait_for(
            lambda: "applied by 1 of 1 · p50 " in cli.ok("history", flag, *PRODUCTION, "-n", "1"),
            "the acknowledgements to be kept",
        )
