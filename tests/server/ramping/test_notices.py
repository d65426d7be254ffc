"""What people are told of flags that change by themselves: sent by real servers to a real receiver."""

import asyncio
import itertools
import json
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import urllib3
from standardwebhooks import Webhook

from fader_server.outgoing import Outgoing
from fader_server.ramping.deliveries import NOTICES, Deliveries
from fader_server.ramping.destinations import destinations_of
from fader_server.ramping.leader import Leader
from fader_server.storage import Store, notices
from fader_server.storage.records import Notice
from processes import PATIENCE, ServerProcess, running_server, wait_for
from reporting import Reporter
from scraping import scrape
from services.http_receiver import Answering, Receiver, http_receiver
from services.postgres import PostgresDatabases

SECRET = f"whsec_{b64encode(b'a secret of the test, of 32 bytes').decode()}"
BEGAN = datetime(2026, 11, 2, 9, tzinfo=UTC)
_numbers = itertools.count()


def told(receiver: Receiver, path: str, flag: str) -> list[dict[str, Any]]:
    """What has come for a path about a flag, if it was signed."""
    found = []
    for request in list(receiver.received):
        if request.path == path:
            document = Webhook(SECRET).verify(request.body, dict(request.headers))
            assert document["id"] == request.headers["webhook-id"]
            assert request.headers["Content-Type"] == "application/json"
            if document["data"]["flag"] == flag:
                found.append(document)
    return found


def types(receiver: Receiver, path: str, flag: str) -> list[str]:
    return [document["type"] for document in told(receiver, path, flag)]


def path_of(flag: str) -> str:
    return f"/projects/default/flags/{flag}/environments/production"


def begun(server: ServerProcess, *steps: dict[str, Any], **plan: Any) -> str:
    flag = f"flag-{next(_numbers)}"
    server.admin.create_flag(flag)
    server.admin.ok("POST", f"{path_of(flag)}/ramp", {"steps": steps, "bake_seconds": 0} | plan)
    return flag


def step(percentage: float, seconds: float = 0.1, **more: Any) -> dict[str, Any]:
    return {"percentage": percentage, "hold_seconds": seconds, "least_exposed": 10} | more


def fire(server: ServerProcess, flag: str) -> None:
    made = server.admin.ok("POST", f"{path_of(flag)}/hooks", {"name": "pager"})
    url = f"{server.url}{made['path']}"
    assert urllib3.request("POST", url, body=b"it <burns>", retries=False, timeout=PATIENCE).status == 200


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    urls = f"{receiver.url}/ops?key=planted-one, slack+{receiver.url}/services/planted-two"
    folder = tmp_path_factory.mktemp("notices")
    (folder / "secret").write_text(f"{SECRET}\n")
    variables = {"FADER_WEBHOOKS": urls, "FADER_WEBHOOK_SECRET_FILE": str(folder / "secret")}
    with running_server(folder / "server", **variables) as server:
        yield server


def counted(server: ServerProcess, outcome: str = "delivered") -> float:
    """How many notices of this outcome a server has counted."""
    return scrape(server).sum("fader_notices_total", outcome=outcome)


OPS, SLACK = "/ops?key=planted-one", "/services/planted-two"


def test_a_ramp_is_told_of_step_by_step(server: ServerProcess, receiver: Receiver) -> None:
    flag = begun(server, step(10), step(100, needs_approval=True))
    expected = ["ramp.started", "ramp.step", "ramp.awaiting_approval"]
    wait_for(lambda: types(receiver, OPS, flag) == expected, "approval to be asked for")
    server.admin.ok("POST", f"{path_of(flag)}/ramp/approve")
    wait_for(lambda: types(receiver, OPS, flag) == [*expected, "ramp.released"], "the end to be told of")
    first, second, *_ = told(receiver, OPS, flag)
    assert first["data"]["text"] == f"{flag} in default:production comes up in 2 steps; 10 % have it now"
    assert second["data"]["ramp"].items() >= {"status": "running", "step": 2, "steps": 2, "percentage": 100}.items()
    assert second["data"]["actor"] == "ramp"
    history = server.admin.ok("GET", f"/projects/default/changes?flag={flag}&environment=production")["items"]
    assert second["data"]["revision"] in [change["revision"] for change in history]
    assert "key" not in second["data"]["ramp"], "what users are hashed with is nobody's business"
    assert "guards" not in second["data"]["ramp"]


def test_a_release_that_comes_down_is_told_with_its_evidence(server: ServerProcess, receiver: Receiver) -> None:
    flag = begun(server, step(50, 3600), step(100), guards=[{"id": "checkout", "metric": "checkout"}])
    with closing(Reporter(server)) as reporter:
        reporter.report(flag, (200, 150), (200, 2))
    wait_for(lambda: types(receiver, OPS, flag) == ["ramp.started", "ramp.rolled_back"], "that to be told of")
    data = told(receiver, OPS, flag)[1]["data"]
    assert data["ramp"]["found"][0]["e_value"] > 20
    assert data["text"].startswith(f"{flag} in default:production was switched off by its ramp at 50 %: checkout: ")


def test_an_alert_is_told_of_and_the_ramp_that_it_ends(server: ServerProcess, receiver: Receiver) -> None:
    flag = begun(server, step(10, 3600), step(100))
    fire(server, flag)
    expected = {"ramp.started", "ramp.aborted", "flag.switched_off"}
    wait_for(lambda: set(types(receiver, OPS, flag)) == expected, "all of it to be told")
    [data] = [one["data"] for one in told(receiver, OPS, flag) if one["type"] == "flag.switched_off"]
    assert (data["actor"], data["reason"]) == ("hook pager", "it <burns>")
    fire(server, flag)
    sentence = f"{flag} in default:production was switched off by hook pager: it &lt;burns&gt;"

    def in_slack() -> list[str]:
        texts = [json.loads(one.body)["text"] for one in receiver.received if one.path == SLACK]
        return [text for text in texts if text.startswith(f"{flag} ")]

    wait_for(lambda: in_slack()[-1:] == [sentence], "Slack to be told")
    assert len(in_slack()) == 2


def test_what_people_do_with_a_ramp_is_no_news_to_them(server: ServerProcess, receiver: Receiver) -> None:
    flag = begun(server, step(10, 3600), step(100, 3600))
    for verb in ("pause", "resume", "advance"):
        server.admin.ok("POST", f"{path_of(flag)}/ramp/{verb}")
    server.admin.ok("POST", f"{path_of(flag)}/rollout?force=true", {"percentage": 20})
    server.admin.ok("POST", f"{path_of(flag)}/ramp/abort", {"off": True})
    expected = ["ramp.started", "ramp.step", "ramp.held", "ramp.aborted"]
    wait_for(lambda: types(receiver, OPS, flag) == expected, "the rest to be told of")


def test_urls_are_in_no_log_whatever_becomes_of_them(server: ServerProcess, receiver: Receiver) -> None:
    receiver.answers = lambda _: Answering(500, b"planted-three")
    try:
        begun(server, step(10, 3600), step(100))
        wait_for(lambda: server.log.read_text().count("it answered with status 500") >= 2, "both to be in trouble")
    finally:
        receiver.answers = lambda _: Answering()
    assert counted(server, "failed") >= 2
    wait_for(
        lambda: counted(server, "failed") + counted(server) == len(receiver.received), "each attempt to be counted"
    )
    log = server.log.read_text()
    assert "127.0.0.1" in log
    assert "planted" not in log
    assert SECRET not in log
    assert b"planted" not in server.database.read_bytes()


def test_two_servers_tell_of_each_event_once_and_one_goes_on_without_the_other(
    postgres: PostgresDatabases, tmp_path: Path
) -> None:
    with http_receiver() as receiver:
        variables = {"FADER_WEBHOOKS": f"{receiver.url}/", "FADER_WEBHOOK_SECRET": SECRET}
        with running_server(tmp_path / "a", DATABASE_URL=postgres.create_database(), **variables) as first:
            second = first.sibling(tmp_path / "b", FADER_MIGRATE="never")
            try:
                second.start()
                flags = []
                for number in range(12):
                    node = (first, second)[number % 2]
                    flags.append(f"flag-{next(_numbers)}")
                    node.admin.create_flag(flags[-1])
                    node.admin.verb(flags[-1], "on")
                    fire(node, flags[-1])
                wait_for(lambda: counted(first) + counted(second) == len(flags), "all to be delivered")
                ids = [request.headers["webhook-id"] for request in receiver.received]
                assert len(ids) == len(set(ids)) == len(flags)
                other, leader = sorted((first, second), key=counted)
                leader.kill()
                other.admin.verb(flags[0], "on")
                fire(other, flags[0])
                wait_for(lambda: len(types(receiver, "/", flags[0])) == 2, "the other one to tell")
            finally:
                second.close()


# With a clock of the test's own.


class Setting:
    """An outbox with one notice, and a server's part that sends it, to a receiver of the test's."""

    def __init__(self, store: Store, receiver: Receiver, outgoing: Outgoing) -> None:
        self.now = BEGAN
        self.outcomes: list[str] = []
        self.store = store
        [self.destination] = destinations_of([receiver.url])
        self._deliveries = Deliveries(
            store,
            outgoing,
            Leader(store, "node", NOTICES),
            [self.destination],
            [b"one of twenty-four bytes", b"two of twenty-four bytes"],
            lambda: self.now,
            self.outcomes.append,
        )

    async def put_out(self) -> None:
        document = msgspec.Raw(b'{"id":"msg_1","type":"ramp.step","data":{"text":"up"}}')
        notice = Notice(
            id="n", notice=document, destination=self.destination.name, created_at=self.now, due_at=self.now
        )
        async with self.store.write() as connection:
            await notices.insert_all(connection, [notice])

    async def after(self, seconds: float) -> list[str]:
        """What became of what was due so much later."""
        self.now += timedelta(seconds=seconds)
        self.outcomes.clear()
        await self._deliveries.round(self.destination)
        return list(self.outcomes)


def run(scenario: Callable[[Setting, Receiver], Coroutine[Any, Any, None]], folder: Path) -> Receiver:
    async def within(receiver: Receiver) -> None:
        store, outgoing = await Store.open(f"sqlite:///{folder}/fader.db"), Outgoing()
        try:
            await scenario(Setting(store, receiver, outgoing), receiver)
        finally:
            outgoing.close()
            await store.close()

    with http_receiver() as receiver:
        asyncio.run(within(receiver))
    return receiver


def test_who_does_not_answer_is_told_later_and_later_and_once(tmp_path: Path) -> None:
    async def scenario(setting: Setting, receiver: Receiver) -> None:
        await setting.put_out()
        receiver.answers = lambda _: Answering(302, headers={"Location": "/elsewhere"})
        assert await setting.after(0) == ["failed"]
        assert await setting.after(14) == []
        assert await setting.after(1) == ["failed"]
        receiver.answers = lambda _: Answering(429, headers={"Retry-After": "600"})
        assert await setting.after(45) == ["failed"]
        receiver.answers = lambda _: Answering(204)
        assert await setting.after(599) == []
        assert await setting.after(1) == ["delivered"]
        assert await setting.after(24 * 3600) == []

    received = run(scenario, tmp_path).received
    assert [request.headers["webhook-id"] for request in received] == ["msg_1"] * 4
    assert {request.path for request in received} == {"/"}


def test_after_a_day_it_is_given_up(tmp_path: Path) -> None:
    async def scenario(setting: Setting, receiver: Receiver) -> None:
        await setting.put_out()
        receiver.answers = lambda _: Answering(503)
        outcomes = [outcome for _ in range(30) for outcome in await setting.after(3600)]
        assert outcomes == ["failed"] * 23 + ["given_up"]

    run(scenario, tmp_path)


def test_two_secrets_sign_each(tmp_path: Path) -> None:
    async def scenario(setting: Setting, _: Receiver) -> None:
        setting.now = datetime.now(UTC)
        await setting.put_out()
        assert await setting.after(0) == ["delivered"]

    [request] = run(scenario, tmp_path).received
    for secret in (b"one of twenty-four bytes", b"two of twenty-four bytes"):
        Webhook(secret).verify(request.body, dict(request.headers))
