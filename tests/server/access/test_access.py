"""From the Authorization header to a principal: who is let in, for how long, and what the database is
asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.access import Access, Forbidden, Unauthorized, ensure_initial_credentials, has_admin_token
from fader_server.access.issuing import CredentialService
from fader_server.bus import EnvironmentRemoved
from fader_server.bus.in_process import InProcessBus
from fader_server.errors import Unavailable
from fader_server.storage import Store, environments, keys, schema
from fader_server.storage.records import SdkKey
from services.postgres import PostgresDatabases

pytestmark = pytest.mark.anyio

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)
TOKEN = "fader_" + "t" * 32
SDK_KEY = "default:production." + "s" * 32
CLIENT_KEY = "default:production.client-" + "c" * 32


class Clock:
    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{tmp_path}/fader.db")
    await ensure_initial_credentials(store, admin_token=TOKEN, sdk_keys=[SDK_KEY], now=BEGIN)
    yield store
    await store.close()


@pytest.fixture
async def access(store: Store, clock: Clock) -> AsyncIterator[Access]:
    access = Access(store, clock)
    yield access
    await access.close()


@pytest.fixture
def credentials(store: Store, access: Access, clock: Clock) -> CredentialService:
    return CredentialService(store, InProcessBus(), access, clock)


async def _listed(store: Store) -> list[SdkKey]:
    async with store.read() as connection:
        return await keys.keys(connection, "default")


@pytest.mark.parametrize("header", [f"Bearer {SDK_KEY}", f"bearer  {SDK_KEY} ", SDK_KEY])
async def test_sdk_keys_are_taken_with_and_without_bearer(access: Access, header: str) -> None:
    principal = await access.sdk_principal(header)
    assert (principal.project, principal.environment) == ("default", "production")


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer default:production.x", "ø\udc80"]
)
async def test_strangers_are_sent_away(access: Access, header: str | None) -> None:
    with pytest.raises(Unauthorized):
        await access.sdk_principal(header)
    with pytest.raises((Unauthorized, Forbidden)):
        await access.admin_principal(header)


async def test_keys_and_tokens_do_not_stand_in_for_each_other(access: Access) -> None:
    with pytest.raises(Forbidden, match="admin token"):
        await access.sdk_principal(f"Bearer {TOKEN}")
    with pytest.raises(Forbidden, match="SDK key"):
        await access.admin_principal(f"Bearer {SDK_KEY}")
    assert (await access.admin_principal(f"Bearer {TOKEN}")).role == "admin"


@pytest.fixture
async def client_key(store: Store) -> str:
    await ensure_initial_credentials(store, admin_token=None, sdk_keys=[], client_keys=[CLIENT_KEY], now=BEGIN)
    return CLIENT_KEY


async def test_a_client_key_only_asks_for_values(access: Access, client_key: str) -> None:
    principal = await access.evaluation_principal(f"Bearer {client_key}")
    assert (principal.kind, principal.project, principal.environment) == ("client", "default", "production")
    assert await access.evaluation_principal(client_key, kinds=("client",)) == principal
    with pytest.raises(Forbidden, match="client key, for browsers") as refused:
        await access.sdk_principal(client_key)
    assert refused.value.reason == "wrong_kind"
    # Not even just after it was good for something else.
    assert access.recent_sdk_principal(client_key) is None
    with pytest.raises(Forbidden, match="admin token"):
        await access.admin_principal(client_key)


async def test_where_browsers_ask_a_key_of_a_server_is_refused(access: Access) -> None:
    assert (await access.evaluation_principal(SDK_KEY)).kind == "server"
    with pytest.raises(Forbidden, match="only client keys") as refused:
        await access.evaluation_principal(SDK_KEY, kinds=("client",))
    assert refused.value.reason == "wrong_kind"
    assert (await access.sdk_principal(SDK_KEY)).kind == "server"


@pytest.mark.parametrize("header", [None, f"Bearer {TOKEN}", "Bearer default:production.client-" + "x" * 32])
async def test_strangers_get_no_values_either(access: Access, header: str | None) -> None:
    with pytest.raises((Unauthorized, Forbidden)):
        await access.evaluation_principal(header)


async def test_a_refused_use_is_no_use(access: Access, store: Store, client_key: str) -> None:
    with pytest.raises(Forbidden):
        await access.sdk_principal(client_key)
    await access.close()
    assert [key.last_used_at for key in await _listed(store)] == [None, None]


async def test_a_key_shows_its_kind(credentials: CredentialService) -> None:
    issued = await credentials.issue_key("default", "staging", "web", None, "client")
    assert issued.key.kind == "client"
    assert issued.secret.startswith("default:staging.client-")
    assert issued.secret.startswith(issued.key.prefix.removesuffix("…"))
    assert len(issued.key.prefix) == len("default:staging.client-0123…")


async def test_an_expired_key_is_refused_even_if_it_was_seen_just_now(
    access: Access, credentials: CredentialService, clock: Clock
) -> None:
    issued = await credentials.issue_key("default", "staging", "short", BEGIN + timedelta(seconds=5))
    assert (await access.sdk_principal(issued.secret)).environment == "staging"
    clock.advance(seconds=5)
    with pytest.raises(Unauthorized, match="expired"):
        await access.sdk_principal(issued.secret)


async def test_a_revoked_key_is_refused_at_once(access: Access, credentials: CredentialService) -> None:
    issued = await credentials.issue_key("default", "staging", "shop", None)
    await access.sdk_principal(issued.secret)
    await credentials.revoke_key("default", issued.key.id, lambda _: None)
    with pytest.raises(Unauthorized, match="revoked"):
        await access.sdk_principal(issued.secret)


async def test_what_another_server_revokes_is_noticed_soon(access: Access, store: Store, clock: Clock) -> None:
    principal = await access.sdk_principal(SDK_KEY)
    async with store.write() as connection:
        await keys.revoke_key(connection, principal.key_id, clock())
    await access.sdk_principal(SDK_KEY)
    clock.advance(seconds=15)
    with pytest.raises(Unauthorized):
        await access.sdk_principal(SDK_KEY)


async def test_an_outage_signs_nobody_out(access: Access, store: Store, clock: Clock) -> None:
    known = await access.sdk_principal(SDK_KEY)
    async with store.write() as connection:
        await connection.execute(sa.text("ALTER TABLE sdk_keys RENAME TO away"))
    clock.advance(minutes=10)
    assert await access.sdk_principal(SDK_KEY) == known
    with pytest.raises(Unavailable):
        await access.sdk_principal("default:production." + "x" * 32)
    async with store.write() as connection:
        await connection.execute(sa.text("ALTER TABLE away RENAME TO sdk_keys"))


async def test_the_last_use_is_written_at_most_once_a_minute(access: Access, store: Store, clock: Clock) -> None:
    async def last_written() -> datetime | None:
        if access._writing_use is not None:
            await access._writing_use
        [key] = await _listed(store)
        return key.last_used_at

    await access.sdk_principal(SDK_KEY)
    assert await last_written() == BEGIN
    clock.advance(seconds=30)
    await access.sdk_principal(SDK_KEY)
    assert await last_written() == BEGIN
    clock.advance(seconds=30)
    await access.sdk_principal(SDK_KEY)
    assert await last_written() == BEGIN + timedelta(minutes=1)
    clock.advance(seconds=30)
    await access.sdk_principal(SDK_KEY)
    await access.close()
    assert await last_written() == BEGIN + timedelta(minutes=1, seconds=30)


async def test_many_at_once_are_recognised(access: Access) -> None:
    principals = await asyncio.gather(*(access.sdk_principal(SDK_KEY) for _ in range(200)))
    assert len(set(principals)) == 1


async def test_initial_credentials_are_ensured_once(store: Store) -> None:
    await ensure_initial_credentials(store, admin_token=TOKEN, sdk_keys=[SDK_KEY], now=BEGIN)
    assert len(await _listed(store)) == 1
    assert await has_admin_token(store)
    async with store.read() as connection:
        digests = list((await connection.execute(sa.select(schema.sdk_keys.c.hash))).scalars())
    assert [len(digest) for digest in digests] == [64]


async def test_servers_that_start_at_once_ensure_the_same_credentials(postgres: PostgresDatabases) -> None:
    store = await Store.open(postgres.create_database())
    starts = [
        ensure_initial_credentials(store, admin_token=TOKEN, sdk_keys=[SDK_KEY], now=BEGIN + timedelta(seconds=number))
        for number in range(8)
    ]
    await asyncio.gather(*starts)
    assert len(await _listed(store)) == 1
    await store.close()


async def test_without_initial_credentials_there_are_none(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/other.db")
    await ensure_initial_credentials(store, admin_token=None, sdk_keys=[], now=BEGIN)
    assert not await has_admin_token(store)
    await store.close()


@pytest.mark.parametrize(
    ("sdk_keys", "client_keys", "told"),
    [
        ([CLIENT_KEY], [], "initial SDK key 1 must not have client- before its secret"),
        ([], [SDK_KEY], "initial client key 1 must have client- before its secret"),
        ([], ["default:production.client-0123456789"], "16 characters"),
        ([], ["default:nowhere.client-" + "c" * 32], "client key 1 is for default:nowhere"),
    ],
)
async def test_an_initial_key_must_look_like_what_it_is(
    store: Store, sdk_keys: list[str], client_keys: list[str], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        await ensure_initial_credentials(store, admin_token=None, sdk_keys=sdk_keys, client_keys=client_keys, now=BEGIN)
    assert len(await _listed(store)) == 1


@pytest.mark.parametrize(
    ("admin_token", "sdk_keys", "told"),
    [
        ("letmein_0123456789abcdef", [], "fader_"),
        ("fader_tiny", [], "16 characters"),
        (None, ["default:production.tiny"], "16 characters"),
        (None, ["production." + "s" * 32], "project:environment.secret"),
        (None, [SDK_KEY, "default:nowhere." + "s" * 32], "SDK key 2 is for default:nowhere"),
    ],
)
async def test_initial_credentials_that_make_no_sense_are_refused_unseen(
    store: Store, admin_token: str | None, sdk_keys: list[str], told: str
) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        await ensure_initial_credentials(store, admin_token=admin_token, sdk_keys=sdk_keys, now=BEGIN)
    for secret in (admin_token, *sdk_keys):
        assert secret is None or secret.rpartition(".")[2] not in str(refused.value)


async def test_secrets_are_not_in_representations(credentials: CredentialService) -> None:
    key = await credentials.issue_key("default", "staging", "shop", None)
    token = await credentials.issue_token("ci", "viewer")
    assert key.secret not in repr(key)
    assert token.secret not in repr(token)
    assert token.secret.startswith("fader_")


class CountingStore:
    """A store that counts how often it is asked, and can keep those who ask waiting."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked = 0
        self.has_read = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        self.asked += 1
        async with self._store.read() as connection:
            yield connection
            self.has_read.set()
            await self.may_answer.wait()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        async with self._store.write() as connection:
            yield connection


async def test_all_who_come_with_one_key_at_once_ask_the_database_once(store: Store, clock: Clock) -> None:
    counting = CountingStore(store)
    access = Access(cast("Store", counting), clock)
    for _ in range(2):  # the second time, what was known has become too old
        counting.asked = 0
        found = await asyncio.gather(*(access.sdk_principal(SDK_KEY) for _ in range(500)))
        assert {principal.environment for principal in found} == {"production"}
        assert counting.asked == 1
        clock.advance(minutes=1)
    await access.close()


async def test_who_gives_up_takes_nobody_along(store: Store, clock: Clock) -> None:
    counting = CountingStore(store)
    access = Access(cast("Store", counting), clock)
    counting.may_answer.clear()
    first, second = (asyncio.create_task(access.sdk_principal(SDK_KEY)) for _ in range(2))
    await counting.has_read.wait()
    first.cancel()
    counting.may_answer.set()
    assert (await second).project == "default"
    await access.close()


async def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_remembered_as_good(
    store: Store, clock: Clock
) -> None:
    counting = CountingStore(store)
    access = Access(cast("Store", counting), clock)
    counting.may_answer.clear()
    asking = asyncio.create_task(access.sdk_principal(SDK_KEY))
    await counting.has_read.wait()
    async with store.read() as connection:
        (key,) = (await connection.execute(sa.select(schema.sdk_keys.c.id))).scalars()
    async with store.write() as connection:
        await connection.execute(schema.sdk_keys.update().values(revoked_at=BEGIN))
    access.forget(key)
    counting.may_answer.set()
    await asking
    with pytest.raises(Unauthorized, match="revoked"):
        await access.sdk_principal(SDK_KEY)
    await access.close()


async def test_with_an_environment_its_keys_are_forgotten(store: Store, access: Access) -> None:
    """Made anew under the same name, it is none of theirs; they would else be good for some seconds more."""
    assert (await access.sdk_principal(SDK_KEY)).environment == "production"
    async with store.write() as connection:
        await environments.delete(connection, "default", "production")
        await environments.insert(connection, "default", ["production"], BEGIN)
    bus = InProcessBus()
    async with bus.subscribe() as messages:
        await bus.publish(EnvironmentRemoved("default", "production"))
        await bus.close()
        await access.follow(messages)
    with pytest.raises(Unauthorized):
        await access.sdk_principal(SDK_KEY)
