"""The fan-out: everybody comes to the newest version, in order, and whoever does not read holds up nobody."""

import asyncio
import json
from typing import Any

import pytest

from distribution_setting import Reader, Setting, TroubledStore, open_stream, until
from fader_server.distribution import Feed
from fader_server.distribution.subscription import Ending
from fader_server.storage import schema

pytestmark = pytest.mark.anyio

HERE = ("default", "production")


def documents(message: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Names and documents of the events in a message."""
    found = []
    for event in message.split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in event.split(b"\n") if line and not line.startswith(b":"))
        if b"data" in fields:
            found.append((fields[b"event"].decode(), json.loads(fields[b"data"])))
    return found


async def follow(reader: Reader, held: int, until_revision: int) -> list[str]:
    """Read until a revision has come, and check that each step joins on; returns the names of the events."""
    names = []
    while held < until_revision:
        message = await reader.read()
        assert message is not None
        for name, document in documents(message):
            assert name == "snapshot" or document["since"] == held
            held = document["revision"]
            names.append(name)
    assert held == until_revision
    return names


async def change(feed: Feed, store: TroubledStore, times: int = 1) -> None:
    await store.change(times=times)
    await feed.catch_up()


async def test_everybody_gets_each_change_once_and_in_order(setting: Setting, store: TroubledStore) -> None:
    feed = await setting.distributor.feed(*HERE)
    readers = [await open_stream(feed, "key", feed.version) for _ in range(300)]
    for revision in range(1, 6):
        await change(feed, store)
        if revision == 3:
            readers += [await open_stream(feed, "key", feed.version) for _ in range(5)]
    for reader in readers[:300]:
        assert await follow(reader, 0, 5) == ["change"] * 5
    for reader in readers[300:]:
        assert await follow(reader, 3, 5) == ["change"] * 2


async def test_changes_that_follow_while_a_round_is_under_way_reach_everybody_too(
    setting: Setting, store: TroubledStore
) -> None:
    feed = await setting.distributor.feed(*HERE)
    readers = [await open_stream(feed, "key", feed.version) for _ in range(400)]
    await store.change(times=3)
    rounds = asyncio.create_task(feed.catch_up())  # three changes, while four batches are waiting for their turns
    await rounds
    await change(feed, store, times=2)
    for reader in readers:
        assert await follow(reader, 0, 5) == ["change"] * 5


async def test_who_does_not_read_is_parked_and_goes_on_from_where_it_was(
    setting: Setting, store: TroubledStore
) -> None:
    feed = await setting.distributor.feed(*HERE)
    stuck, well = await open_stream(feed, "key", feed.version), await open_stream(feed, "key", feed.version)
    stuck.stop()
    for revision in range(1, 40):
        await change(feed, store)
        assert await follow(well, revision - 1, revision) == ["change"]
    assert stuck.subscription is not None
    assert stuck.subscription.is_parked
    stuck.go_on()
    # All that it has missed comes as one: nothing was kept for it.
    assert await follow(stuck, 0, 39) == ["change"]
    await change(feed, store)
    assert await follow(stuck, 39, 40) == ["change"]
    assert not stuck.subscription.is_parked


async def test_who_does_not_read_when_it_is_dismissed_hears_goodbye_when_it_reads(
    setting: Setting, store: TroubledStore
) -> None:
    feed = await setting.distributor.feed(*HERE)
    stuck = await open_stream(feed, "key", feed.version)
    assert await stuck.read() is not None
    stuck.stop()
    await change(feed, store)
    await until(lambda: stuck.subscription is not None and stuck.subscription.is_parked)
    feed.end_key("key")
    assert stuck.ending is Ending.REVOKED
    assert not stuck.is_over
    stuck.go_on()
    said = await stuck.read()
    assert said is not None
    assert [name for name, _ in documents(said)] == ["goodbye"]
    assert await stuck.read() is None


async def test_who_is_forgotten_while_it_is_parked_is_sent_nothing_more(setting: Setting, store: TroubledStore) -> None:
    feed = await setting.distributor.feed(*HERE)
    stuck = await open_stream(feed, "key", feed.version)
    assert await stuck.read() is not None
    stuck.stop()
    await change(feed, store)
    await until(lambda: stuck.subscription is not None and stuck.subscription.is_parked)
    assert stuck.subscription is not None
    feed.sdk_streams.unsubscribe(stuck.subscription)
    stuck.go_on()
    well = await open_stream(feed, "key", None)
    await change(feed, store)
    await follow(well, 0, 2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await stuck.read()


async def test_a_connection_that_fails_when_it_is_written_to_holds_up_nobody(
    setting: Setting, store: TroubledStore
) -> None:
    feed = await setting.distributor.feed(*HERE)
    broken, well = await open_stream(feed, "key", feed.version), await open_stream(feed, "key", feed.version)

    async def fail(message: Any) -> None:
        raise ConnectionResetError

    assert broken.subscription is not None
    broken.subscription.send = fail
    await change(feed, store, times=2)
    await feed.beat()
    assert await follow(well, 0, 2) == ["change"] * 2


async def test_heartbeats_reach_all_who_read(setting: Setting, store: TroubledStore) -> None:
    feed = await setting.distributor.feed(*HERE)
    readers = [await open_stream(feed, "key", feed.version) for _ in range(200)]
    for reader in readers:
        await reader.read()
    readers[0].stop()
    await feed.beat()
    for reader in readers[1:]:
        assert await reader.read() == b": heartbeat\n\n"


async def test_other_epochs_are_followed_by_a_snapshot(setting: Setting, store: TroubledStore) -> None:
    await store.change(times=3)
    feed = await setting.distributor.feed(*HERE)
    readers = [await open_stream(feed, "key", feed.version) for _ in range(3)]
    before = feed.version.epoch
    async with store.write() as connection:
        await connection.execute(schema.environments.update().values(epoch="anew", revision=1))
    await feed.begin_anew()
    assert feed.version.epoch != before
    for reader in readers:
        await reader.read()
        message = await reader.read()
        assert message is not None
        [(name, snapshot)] = documents(message)
        assert (name, snapshot["epoch"], snapshot["revision"]) == ("snapshot", "anew", 1)
