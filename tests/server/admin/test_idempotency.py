"""A write that is sent again with its Idempotency-Key: applied once, and answered alike, in every database."""

import asyncio
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admin_server import AdminClient, AdminServer, Answer, running_admin_server, utc_now
from fader_server.storage import schema
from services.postgres import PostgresDatabases

REPLAYED = "Idempotency-Replayed"
FLAG = "/flags/f/environments/production"


def new_key() -> str:
    return f'"{uuid.uuid4()}"'


class Keyed:
    """Sends writes with keys; paths are relative to the project of the test."""

    def __init__(self, client: AdminClient, project: str) -> None:
        self.client = client
        self.project = project

    def __call__(self, method: str, path: str, body: Any = None, *, key: str, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.send(method, self._at(path), body, headers={"Idempotency-Key": key} | named)

    def ok(self, method: str, path: str, body: Any = None) -> Any:
        """Without a key; it must succeed."""
        answer = self.client.send(method, self._at(path), body)
        assert 200 <= answer.status < 300, answer
        return answer.body if answer.text else None

    def changes(self) -> list[Any]:
        return self.client.all(self._at("/changes"))

    def _at(self, path: str) -> str:
        return path if path.startswith(("/projects", "/tokens")) else f"/projects/{self.project}{path}"


@pytest.fixture
def send(admin: AdminClient, project: str) -> Keyed:
    keyed = Keyed(admin, project)
    keyed.ok("POST", "/flags", {"key": "f"})
    return keyed


def kept(server: AdminServer) -> list[Any]:
    """All that is kept of keys."""

    async def read() -> list[Any]:
        async with server.services.store.read() as connection:
            return list(await connection.execute(sa.select(schema.idempotency_keys)))

    rows: list[Any] = server.call(read)
    return rows


def test_every_write_is_applied_once_and_answered_alike(send: Keyed) -> None:
    rule = {"id": "r1", "description": "one"}
    other = f"/projects/{send.project}-other"
    writes: list[tuple[str, str, Any]] = [
        ("POST", "/flags", {"key": "g"}),
        ("PATCH", "/flags/g", {"description": "new"}),
        ("POST", f"{FLAG}/on", None),
        ("POST", f"{FLAG}/on", {"percentage": 50, "reason": "half"}),
        ("POST", f"{FLAG}/off", {}),
        ("POST", f"{FLAG}/rollout", {"percentage": 5}),
        ("POST", f"{FLAG}/undo", None),
        ("POST", f"{FLAG}/rules", rule),
        ("POST", f"{FLAG}/rules", {"description": "two"}),
        ("PUT", f"{FLAG}/rules/r1", {"description": "three"}),
        ("DELETE", f"{FLAG}/rules/r1?reason=done", None),
        ("PUT", FLAG, {"enabled": True, "rules": [rule]}),
        ("POST", "/flags/g/archive", None),
        ("POST", "/flags/g/unarchive", {"reason": "back"}),
        ("POST", "/flags/g/archive", None),
        ("DELETE", "/flags/g", None),
        ("POST", "/segments", {"key": "s", "targeting_keys": ["a"]}),
        ("PUT", "/segments/s", {"targeting_keys": ["b"]}),
        ("DELETE", "/segments/s", None),
        ("POST", "/projects", {"key": f"{send.project}-other"}),
        ("PATCH", other, {"description": "new"}),
        ("POST", f"{other}/environments", {"key": "canary"}),
        ("DELETE", f"{other}/environments/canary", None),
        ("DELETE", other, None),
    ]
    for method, path, body in writes:
        key = new_key()
        first = send(method, path, body, key=key)
        assert 200 <= first.status < 300, (method, path, first)
        assert REPLAYED not in first.headers
        log = send.changes()
        for _ in range(2):
            again = send(method, path, body, key=key)
            assert again.headers[REPLAYED] == "true", (method, path, again)
            assert (again.status, again.text) == (first.status, first.text)
            assert again.headers.get("Content-Type") == first.headers.get("Content-Type")
        assert send.changes() == log
    counted = [
        change["revision"] for change in send.client.all(f"/projects/{send.project}/changes?environment=production")
    ]
    assert counted == list(range(len(counted), 0, -1))


def test_a_replayed_undo_does_not_undo_the_undo(send: Keyed) -> None:
    send.ok("POST", f"{FLAG}/on")
    key = new_key()
    for _ in range(3):
        send("POST", f"{FLAG}/undo", key=key)
    assert send.ok("GET", "/flags/f")["environments"]["production"]["enabled"] is False


def test_the_first_answer_is_given_even_if_things_have_changed_since(send: Keyed) -> None:
    key = new_key()
    first = send("POST", f"{FLAG}/on", key=key)
    send.ok("POST", f"{FLAG}/off")
    send.ok("POST", "/flags/f/archive")
    send.ok("DELETE", "/flags/f")
    again = send("POST", f"{FLAG}/on", key=key)
    assert (again.status, again.text) == (200, first.text)
    assert again.body["flag"]["environments"]["production"]["enabled"] is True


def test_quotation_marks_are_not_part_of_the_key(send: Keyed) -> None:
    key = str(uuid.uuid4())
    first = send("POST", f"{FLAG}/rules", {}, key=key)
    assert send("POST", f"{FLAG}/rules", {}, key=f'"{key}"').text == first.text


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("POST", f"{FLAG}/rollout", {"percentage": 6}, {}),
        ("POST", f"{FLAG}/on", {"percentage": 5}, {}),
        ("POST", "/flags/f/environments/staging/rollout", {"percentage": 5}, {}),
        ("POST", f"{FLAG}/rollout?dry_run=true", {"percentage": 5}, {}),
        ("PUT", f"{FLAG}/rollout", {"percentage": 5}, {}),
        ("POST", f"{FLAG}/rollout", {"percentage": 5}, {"If_Match": '"1"'}),
    ],
    ids=["body", "path", "environment", "query", "method", "precondition"],
)
def test_the_key_of_another_request_is_refused(
    send: Keyed, method: str, path: str, body: Any, headers: dict[str, str]
) -> None:
    key = new_key()
    assert send("POST", f"{FLAG}/rollout", {"percentage": 5}, key=key).status == 200
    log = send.changes()
    answer = send(method, path, body, key=key, **headers)
    if method == "PUT":  # there is no such operation, and that comes first
        assert answer.status == 405
    else:
        assert answer.status == 422, answer
        assert answer.body["type"] == "urn:fader:problem:idempotency-key-reused"
        assert answer.body["field"] == "Idempotency-Key"
    assert send.changes() == log
    assert send("POST", f"{FLAG}/rollout", {"percentage": 5}, key=key).headers[REPLAYED] == "true"


def test_keys_are_the_senders_own(send: Keyed) -> None:
    token = send.ok("POST", "/tokens", {"name": "other", "role": "editor"})["secret"]
    stranger = Keyed(send.client.as_token(token), send.project)
    key = new_key()
    first = send("POST", f"{FLAG}/rules", {}, key=key)
    other = stranger("POST", f"{FLAG}/rules", {}, key=key)
    assert REPLAYED not in other.headers
    assert other.text != first.text
    assert len(other.body["flag"]["environments"]["production"]["rules"]) == 2
    stranger.client.close()


def test_a_replay_is_for_those_who_may_still_do_it(send: Keyed) -> None:
    made = send.ok("POST", "/tokens", {"name": "other", "role": "editor"})
    other = Keyed(send.client.as_token(made["secret"]), send.project)
    key = new_key()
    assert other("POST", f"{FLAG}/on", key=key).status == 200
    send.ok("DELETE", f"/tokens/{made['id']}")
    assert other("POST", f"{FLAG}/on", key=key).status == 401
    other.client.close()


def test_what_was_refused_is_decided_anew(send: Keyed) -> None:
    key = new_key()
    revision = send.ok("POST", f"{FLAG}/on")["revision"]
    wanted = f'"{revision + 1}"'
    assert send("POST", f"{FLAG}/off", key=key, If_Match=wanted).status == 412
    send.ok("POST", f"{FLAG}/rollout", {"percentage": 1})
    off = send("POST", f"{FLAG}/off", key=key, If_Match=wanted)
    assert (off.status, off.headers.get(REPLAYED)) == (200, None)

    key = new_key()
    assert send("DELETE", "/flags/f", key=key).status == 409
    send.ok("POST", "/flags/f/archive")
    assert send("DELETE", "/flags/f", key=key).status == 204
    assert send("DELETE", "/flags/f", key=key).headers[REPLAYED] == "true"


def test_a_key_whose_request_was_refused_is_free(send: Keyed) -> None:
    key = new_key()
    assert send("POST", f"{FLAG}/rollout", {"percentage": 101}, key=key).status == 422
    assert send("POST", f"{FLAG}/rollout", {"percentage": 10}, key=key).status == 200


def test_dry_runs_keep_nothing(send: Keyed, server: AdminServer) -> None:
    key, before = new_key(), len(kept(server))
    for _ in range(2):
        answer = send("POST", f"{FLAG}/rules?dry_run=true", {}, key=key)
        assert (answer.status, answer.headers["Fader-Dry-Run"], answer.headers.get(REPLAYED)) == (201, "true", None)
    assert len(kept(server)) == before
    assert send("POST", f"{FLAG}/rules", {}, key=key).body["changed"] is True


def test_the_document_tells_of_keys_wherever_something_is_written(admin: AdminClient) -> None:
    operations = [
        (method, operation)
        for methods in admin.get("/openapi.json").body["paths"].values()
        for method, operation in methods.items()
    ]
    for method, operation in operations:
        named = [one["name"] for one in operation.get("parameters", []) if one["in"] == "header"]
        writes = method != "get" and operation["operationId"] not in ("explain_flag", "preview_ramp")
        assert ("Idempotency-Key" in named) == writes, operation["operationId"]
        done = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
        assert (REPLAYED in done.get("headers", {})) == writes, operation["operationId"]
        assert not writes or {"409", "422"} <= set(operation["responses"])


def test_reading_takes_no_notice_of_keys(send: Keyed, server: AdminServer) -> None:
    before = len(kept(server))
    for _ in range(2):
        assert REPLAYED not in send("GET", "/flags/f", key="not a key").headers
        assert send("POST", f"{FLAG}/explain", {"context": {}}, key="not a key").status == 200
    assert len(kept(server)) == before


@pytest.mark.parametrize("key", ["", '""', '"', "two words", '"open', "a,b;c=\\", "schlüssel", "x" * 129, '"a", "b"'])
def test_what_is_no_key(send: Keyed, key: str) -> None:
    log = send.changes()
    answer = send.client.send(
        "POST",
        f"/projects/{send.project}{FLAG}/on",
        headers={"Idempotency-Key": key.encode("latin-1")},  # type: ignore[dict-item]
    )
    assert (answer.status, answer.body["field"]) == (422, "Idempotency-Key"), answer
    assert send.changes() == log


def test_who_nobody_knows_learns_nothing_of_keys(send: Keyed) -> None:
    stranger = Keyed(send.client.as_token(None), send.project)
    assert stranger("POST", f"{FLAG}/on", key="no key at all").status == 401
    stranger.client.close()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/keys", {"name": "app", "environment": "production"}),
        ("/tokens", {"name": "pipeline", "role": "viewer"}),
        (f"{FLAG}/hooks", {"name": "alert"}),
    ],
)
def test_a_secret_is_shown_once_and_kept_nowhere(send: Keyed, server: AdminServer, path: str, body: Any) -> None:
    key = new_key()
    first = send("POST", path, body, key=key)
    assert first.status == 201
    again = send("POST", path, body, key=key)
    assert (again.status, again.body["type"]) == (409, "urn:fader:problem:secret-not-kept")
    assert first.body["id"] in again.body["detail"]
    assert first.body["id"] in again.body["hint"]
    listed = send.client.all(path if path == "/tokens" else f"/projects/{send.project}{path}")
    assert [one["id"] for one in listed if one["name"] == body["name"]].count(first.body["id"]) == 1
    secret = first.body.get("secret") or first.body["path"].rpartition("/")[2]
    assert secret not in again.text
    rows = kept(server)
    assert any(first.body["id"] in row.answer.body for row in rows if row.answer is not None)
    assert not any(secret in repr(row) for row in rows)


def test_revoking_again(send: Keyed) -> None:
    made = send.ok("POST", "/keys", {"name": "app", "environment": "production"})
    token = send.ok("POST", "/tokens", {"name": "pipeline", "role": "viewer"})
    for path in (f"/keys/{made['id']}", f"/tokens/{token['id']}"):
        key = new_key()
        assert send("DELETE", path, key=key).status == 204
        again = send("DELETE", path, key=key)
        assert (again.status, again.headers[REPLAYED], again.text) == (204, "true", "")
    stranger = send.client.as_token(token["secret"])
    assert stranger.get("/whoami").status == 401
    stranger.close()


def test_answers_are_kept_for_a_day(send: Keyed, server: AdminServer) -> None:
    key, store = new_key(), server.services.store
    send("POST", f"{FLAG}/rules", {}, key=key)
    server.call(lambda: store.prune(utc_now() + timedelta(hours=23)))
    assert send("POST", f"{FLAG}/rules", {}, key=key).headers[REPLAYED] == "true"
    server.call(lambda: store.prune(utc_now() + timedelta(hours=25)))
    anew = send("POST", f"{FLAG}/rules", {}, key=key)
    assert (anew.status, anew.headers.get(REPLAYED)) == (201, None)
    assert len(anew.body["flag"]["environments"]["production"]["rules"]) == 2


BREAKING = {
    "sqlite": ["CREATE TRIGGER broken BEFORE UPDATE ON idempotency_keys BEGIN SELECT RAISE(ABORT, 'broken'); END"],
    "postgresql": [
        "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''broken''; END'",
        "CREATE TRIGGER broken BEFORE UPDATE ON idempotency_keys FOR EACH ROW EXECUTE FUNCTION broken()",
    ],
}
MENDING = {"sqlite": "DROP TRIGGER broken", "postgresql": "DROP FUNCTION broken CASCADE"}


def test_an_answer_that_cannot_be_kept_takes_the_change_with_it(send: Keyed, server: AdminServer) -> None:
    database = "postgresql" if server.services.store.is_shared else "sqlite"

    async def execute(statements: list[str]) -> None:
        async with server.services.store.write() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)

    log, key = send.changes(), new_key()
    server.call(lambda: execute(BREAKING[database]))
    try:
        answer = send("POST", f"{FLAG}/rules", {}, key=key)
    finally:
        server.call(lambda: execute([MENDING[database]]))
    assert (answer.status, answer.body["type"]) == (500, "urn:fader:problem:internal"), answer
    assert send.changes() == log
    again = send("POST", f"{FLAG}/rules", {}, key=key)
    assert (again.status, again.headers.get(REPLAYED)) == (201, None)


def sent_at_once(senders: list[Keyed], tries: int, *request: Any, key: str) -> list[Answer]:
    """Several tries of one request, at the same moment, by turns to each of the servers."""
    together = threading.Barrier(tries)

    def one(number: int) -> Answer:
        together.wait()
        return senders[number % len(senders)](*request, key=key)

    with ThreadPoolExecutor(tries) as pool:
        return list(pool.map(one, range(tries)))


def expect_one_application(answers: list[Answer]) -> None:
    applied = [answer for answer in answers if answer.status == 201 and REPLAYED not in answer.headers]
    assert len(applied) == 1, answers
    for answer in answers:
        if answer.status == 409:
            assert answer.body["type"] == "urn:fader:problem:still-running"
            assert answer.headers["Retry-After"]
        else:
            assert (answer.status, answer.text) == (201, applied[0].text)


def test_tries_at_the_same_moment(send: Keyed) -> None:
    for number in range(1, 6):
        expect_one_application(sent_at_once([send], 8, "POST", f"{FLAG}/rules", {}, key=new_key()))
        assert len(send.ok("GET", "/flags/f")["environments"]["production"]["rules"]) == number


def test_tries_at_the_same_moment_on_two_nodes(postgres: PostgresDatabases, tmp_path: Path) -> None:
    url = postgres.create_database()
    with (
        running_admin_server(tmp_path, database_url=url) as one,
        running_admin_server(tmp_path, database_url=url) as other,
    ):
        senders = [Keyed(AdminClient(node.url), "default") for node in (one, other)]
        senders[0].ok("POST", "/flags", {"key": "f"})
        for number in range(1, 6):
            expect_one_application(sent_at_once(senders, 8, "POST", f"{FLAG}/rules", {}, key=new_key()))
            assert len(senders[1].ok("GET", "/flags/f")["environments"]["production"]["rules"]) == number
        for sender in senders:
            sender.client.close()


def test_a_try_that_waits_in_vain_for_an_earlier_one_is_told_so(postgres: PostgresDatabases, tmp_path: Path) -> None:
    url, key = postgres.create_database(), str(uuid.uuid4())
    with running_admin_server(tmp_path, database_url=url) as server:
        send = Keyed(AdminClient(server.url), "default")
        send.ok("POST", "/flags", {"key": "f"})
        [[token]] = postgres.execute("SELECT id FROM admin_tokens", url)
        has_taken_it, enough = threading.Event(), threading.Event()

        async def another_node_takes_the_key_and_is_slow() -> None:
            connection = await asyncpg.connect(url)
            async with connection.transaction():
                await connection.execute(
                    "INSERT INTO idempotency_keys (token, key, fingerprint, created_at) VALUES ($1, $2, '', now())",
                    token,
                    key,
                )
                has_taken_it.set()
                while not enough.is_set():
                    await connection.execute("SELECT pg_sleep(0.05)")
            await connection.execute("DELETE FROM idempotency_keys")
            await connection.close()

        node = threading.Thread(target=asyncio.run, args=(another_node_takes_the_key_and_is_slow(),))
        node.start()
        try:
            assert has_taken_it.wait(10)
            answer = send("POST", f"{FLAG}/on", key=key)
        finally:
            enough.set()
            node.join(10)
        assert (answer.status, answer.body["type"]) == (409, "urn:fader:problem:still-running"), answer
        assert answer.headers["Retry-After"] == "1"
        assert send("POST", f"{FLAG}/on", key=key).status == 200
        send.client.close()


REQUESTS = st.sampled_from(
    [
        ("POST", f"{FLAG}/on", {}),
        ("POST", f"{FLAG}/off", {}),
        ("POST", f"{FLAG}/rollout", {"percentage": 5}),
        ("POST", f"{FLAG}/rollout", {"percentage": 500}),
        ("POST", f"{FLAG}/rules", {}),
        ("POST", f"{FLAG}/undo", {}),
        ("POST", "/flags", {"key": "g"}),
        ("POST", "/flags/g/archive", {}),
        ("POST", "/flags/g/unarchive", {}),
        ("DELETE", "/flags/g", None),
    ]
)


@given(requests=st.lists(st.tuples(REQUESTS, st.integers(0, 7)), min_size=2, max_size=12))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_requests_and_tries(admin: AdminClient, requests: list[tuple[tuple[str, str, Any], int]]) -> None:
    """Against a model of one line: what a key was first answered, it is answered for ever, and nothing changes."""
    project = f"p{uuid.uuid4().hex}"
    admin.post("/projects", {"key": project})
    send = Keyed(admin, project)
    send.ok("POST", "/flags", {"key": "f"})
    keys = [new_key() for _ in range(8)]
    answered: dict[int, tuple[tuple[str, str, Any], Answer]] = {}
    for request, number in requests:
        log = send.changes()
        answer = send(*request, key=keys[number])
        if number not in answered:
            assert REPLAYED not in answer.headers
            if answer.status < 300:
                answered[number] = request, answer
            else:
                assert send.changes() == log
            continue
        first_request, first = answered[number]
        if first_request == request:
            assert (answer.status, answer.text, answer.headers[REPLAYED]) == (first.status, first.text, "true")
        else:
            assert answer.status == 422
        assert send.changes() == log
