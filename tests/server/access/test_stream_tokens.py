"""Tokens for streams: each says where it leads, and nobody can make one without the key."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from fader.model import Snapshot
from fader_server.access import Access, Unauthorized
from fader_server.access.stream_tokens import StreamClaim, expiry, is_genuine, opened, sealed
from fader_server.errors import Unavailable
from fader_server.standby import EnvironmentCopy
from fader_server.storage import Store
from fader_server.storage.records import SdkKey
from in_process import SDK_KEY, InProcess, running_in_process

CLAIM = StreamClaim("default", "production", "key-1", 1_800_000_000)


def test_what_was_sealed_can_be_opened_and_is_genuine() -> None:
    token = sealed(CLAIM, "digest")
    read = opened(token)
    assert read is not None
    assert read[0] == CLAIM
    assert is_genuine(*read, "digest")
    assert not is_genuine(*read, "another")


def test_no_character_can_be_changed() -> None:
    token = sealed(CLAIM, "digest")
    for position, character in enumerate(token[:-1]):
        changed = token[:position] + ("A" if character != "A" else "B") + token[position + 1 :]
        read = opened(changed)
        assert read is None or not is_genuine(*read, "digest"), position


@pytest.mark.parametrize("nonsense", ["", "x", "é", "====", "A" * 5_000, "bm90aGluZw", "_" * 43])
def test_nonsense_is_no_token(nonsense: str) -> None:
    assert opened(nonsense) is None


def test_a_token_is_good_for_half_a_day_at_least_and_a_day_at_most() -> None:
    day = 1_800_000_000
    for now in range(day, day + 86_400, 997):
        assert 43_200 <= expiry(now) - now <= 86_400
    assert len({expiry(now) for now in range(day, day + 86_400, 997)}) <= 3


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[tuple[InProcess, InProcess]]:
    """Two on one database."""
    async with running_in_process(tmp_path) as one, running_in_process(tmp_path) as other:
        yield one, other


def access(server: InProcess) -> Access:
    found: Access = server.state.sdk.access
    return found


async def token_of(server: InProcess) -> str:
    return access(server).stream_token(SDK_KEY, await access(server).evaluation_principal(SDK_KEY))


@pytest.mark.anyio
async def test_all_servers_on_one_database_know_it(servers: tuple[InProcess, InProcess]) -> None:
    one, other = servers
    token = await token_of(one)
    assert await access(other).stream_principal(token) == await access(one).stream_principal(token)
    assert await token_of(other) == token


@pytest.mark.anyio
async def test_it_ends_in_time_and_with_its_key(servers: tuple[InProcess, InProcess]) -> None:
    one, _ = servers
    now = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
    with time_machine.travel(now, tick=False) as clock:
        token = await token_of(one)
        clock.move_to(now + timedelta(hours=25))
        for server in servers:
            with pytest.raises(Unauthorized, match="expired"):
                await access(server).stream_principal(token)
    token = await token_of(one)
    [key] = (await one.admin("GET", "/projects/default/keys"))["items"]
    await one.admin("DELETE", f"/projects/default/keys/{key['id']}")
    for server in servers:
        with pytest.raises(Unauthorized):
            await access(server).stream_principal(token)


@pytest.mark.anyio
async def test_who_cannot_say_does_not_say_no(
    servers: tuple[InProcess, InProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = servers
    token = await token_of(one)

    async def away(*_: object) -> object:
        raise Unavailable("The database is away.")

    monkeypatch.setattr(Store, "valid_keys", away)
    assert await access(one).stream_principal(token), "it has made the token itself"
    with pytest.raises(Unavailable):
        await access(other).stream_principal(token)


class Copies:
    """A standby that has the keys of an environment."""

    def __init__(self, keys: dict[str, SdkKey]) -> None:
        snapshot = Snapshot(project="default", environment="production", epoch="e", revision=1)
        self._copy = EnvironmentCopy(snapshot=snapshot, keys=keys)

    async def save(self, copy: EnvironmentCopy) -> None:
        raise AssertionError("who cannot read the database has nothing to save")

    async def load(self, project: str, environment: str) -> EnvironmentCopy | None:
        return self._copy if (project, environment) == ("default", "production") else None


@pytest.mark.anyio
async def test_a_server_that_starts_while_the_database_is_away_knows_it_from_a_copy(
    servers: tuple[InProcess, InProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = servers
    token = await token_of(one)
    store: Store = one.state.admin.store
    copies = Copies(await store.valid_keys("default", "production"))

    async def away(*_: object) -> object:
        raise Unavailable("The database is away.")

    monkeypatch.setattr(Store, "valid_keys", away)
    monkeypatch.setattr(Store, "read", broken)
    young = Access(store, lambda: datetime.now(UTC), copies)
    assert (await young.stream_principal(token)).environment == "production"
    monkeypatch.undo()


def broken(*_: object) -> AbstractAsyncContextManager[None]:
    raise Unavailable("The database is away.")
