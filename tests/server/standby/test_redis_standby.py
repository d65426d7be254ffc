"""Copies of environments in a real Redis."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from fader import model
from fader_server.errors import Unavailable
from fader_server.redis_client import redis_client
from fader_server.standby import EnvironmentCopy
from fader_server.standby.redis_standby import RedisStandby
from fader_server.storage.records import SdkKey
from services.redis_server import RedisDatabases, RedisServer

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(redis_server: RedisDatabases) -> AsyncIterator[Redis]:
    client = redis_client(redis_server.url)
    yield client
    await client.aclose()


@pytest.fixture
def standby(client: Redis, request: pytest.FixtureRequest) -> RedisStandby:
    return RedisStandby(client, f"test:{request.node.name}")


def copy_at(revision: int, *, epoch: str = "a", environment: str = "production") -> EnvironmentCopy:
    snapshot = model.Snapshot(
        project="default",
        environment=environment,
        epoch=epoch,
        revision=revision,
        flags={"ø": model.Flag(key="ø", enabled=revision % 2 == 1)},
        segments={"s": model.Segment(key="s", id=7, targeting_keys=("u",))},
    )
    key = SdkKey(
        id="k", name="n", project="default", environment=environment, kind="server", prefix="p", created_at=NOW
    )
    return EnvironmentCopy(snapshot=snapshot, keys={"digest": key})


async def test_what_is_saved_can_be_loaded(standby: RedisStandby) -> None:
    assert await standby.load("default", "production") is None
    await standby.save(copy_at(3))
    await standby.save(copy_at(8, environment="staging"))
    assert await standby.load("default", "production") == copy_at(3)
    assert await standby.load("default", "staging") == copy_at(8, environment="staging")


async def test_a_slower_server_never_replaces_what_is_newer(standby: RedisStandby) -> None:
    await standby.save(copy_at(10))
    await standby.save(copy_at(9))
    assert await standby.load("default", "production") == copy_at(10)
    await standby.save(copy_at(11))
    assert await standby.load("default", "production") == copy_at(11)


async def test_another_epoch_replaces_whatever_there_is(standby: RedisStandby) -> None:
    await standby.save(copy_at(10))
    await standby.save(copy_at(2, epoch="b"))
    assert await standby.load("default", "production") == copy_at(2, epoch="b")


@pytest.mark.parametrize("document", [b"", b"garbage", b"\x1f\x8b\x08", None])
async def test_what_cannot_be_read_counts_as_nothing(
    standby: RedisStandby, client: Redis, document: bytes | None
) -> None:
    await standby.save(copy_at(1))
    key = standby._key("default", "production")
    if document is None:
        await client.hset(key, "document", (await client.hget(key, "document"))[:-9])
    else:
        await client.hset(key, "document", document)
    assert await standby.load("default", "production") is None


async def test_without_redis_it_says_so() -> None:
    server = RedisServer()
    server.start()
    client = redis_client(server.url)
    standby = RedisStandby(client, "test")
    await standby.save(copy_at(1))
    server.kill()
    with pytest.raises(Unavailable):
        await standby.save(copy_at(2))
    with pytest.raises(Unavailable):
        await standby.load("default", "production")
    await client.aclose()
