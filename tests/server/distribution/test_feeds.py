"""Feeds at their edges: everybody at once, a database that is slow or away, environments that go and come while
somebody is being served. Each test holds the database up in the moment that matters."""

import asyncio
import gzip
import json
from typing import Any

import pytest

from distribution_setting import Reader, Setting, TroubledStore, open_stream, until
from fader_server.bus import MessagesLost, RevisionHint
from fader_server.distribution.distributor import NoSuchEnvironment
from fader_server.distribution.events import Version
from fader_server.distribution.recent import MOST_CHANGES
from fader_server.distribution.subscription import Ending
from fader_server.errors import Unavailable
from fader_server.storage import schema

pytestmark = pytest.mark.anyio

HERE = ("default", "production")


def events(message: bytes | None) -> list[tuple[str, dict[str, Any]]]:
    """Names and documents of the events in a message."""
    found = []
    for event in (message or b"").split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in event.split(b"\n") if line and not line.startswith(b":"))
        if b"data" in fields:
            found.append((fields[b"event"].decode(), json.loads(fields[b"data"])))
    return found


async def first_event(reader: Reader) -> tuple[str, dict[str, Any]] | None:
    found = events(await reader.read())
    assert len(found) <= 1
    return found[0] if found else None


async def test_all_who_come_back_after_a_restart_ask_the_database_once(setting: Setting, store: TroubledStore) -> None:
    await store.change(times=20)
    feed = await setting.distributor.feed(*HERE)
    store.asked.clear()
    held = [Version(feed.version.epoch, 5 + number % 10) for number in range(300)]
    readers = await asyncio.gather(*(open_stream(feed, "key", version) for version in held))
    for version, reader in zip(held, readers, strict=True):
        name, change = await first_event(reader) or ("", {})
        assert name == "change"
        assert (change["since"], change["revision"]) == (version.revision, 20)
        assert reader.subscription.version == feed.version
    # Once for each step further back, at most: here, from the first one's revision and from the earliest.
    assert store.asked["changes_after"] <= 2


async def test_who_was_away_for_long_gets_everything_without_a_question(setting: Setting, store: TroubledStore) -> None:
    await store.change(times=3)
    feed = await setting.distributor.feed(*HERE)
    # As if a thousand more had happened since the third.
    async with store.write() as connection:
        await connection.execute(schema.environments.update().values(revision=MOST_CHANGES + 10))
    await feed.begin_anew()
    store.asked.clear()
    reader = await open_stream(feed, "key", Version(feed.version.epoch, 3))
    name, snapshot = await first_event(reader) or ("", {})
    assert (name, snapshot["revision"]) == ("snapshot", MOST_CHANGES + 10)
    assert store.asked == {}


async def test_who_is_ahead_of_this_server_lets_it_catch_up(setting: Setting, store: TroubledStore) -> None:
    """It was at another server, which heard of a change before this one."""
    await store.change(times=3)
    feed = await setting.distributor.feed(*HERE)
    await store.change(times=2)
    store.asked.clear()
    held = Version(feed.version.epoch, 5)
    for reader in await asyncio.gather(*(open_stream(feed, "key", held) for _ in range(100))):
        assert await first_event(reader) is None
        assert reader.subscription.version == feed.version == held
    assert store.asked == {"committed_after": 1}


async def test_while_the_database_is_away_memory_must_do(setting: Setting, store: TroubledStore) -> None:
    await store.change(times=3)
    feed = await setting.distributor.feed(*HERE)

    async def away(question: str, arguments: object) -> None:
        raise Unavailable("The database is away.")

    store.trouble = away
    for held in (1, 99):
        reader = await open_stream(feed, "key", Version(feed.version.epoch, held))
        name, snapshot = await first_event(reader) or ("", {})
        assert (name, snapshot["revision"]) == ("snapshot", 3)


async def test_nobody_misses_a_change_that_happens_while_they_are_let_in(
    setting: Setting, store: TroubledStore
) -> None:
    await store.change(times=10)
    feed = await setting.distributor.feed(*HERE)
    slow = asyncio.Event()

    async def hold(question: str, arguments: object) -> None:
        if question == "changes_after":
            await slow.wait()

    store.trouble = hold
    coming = [
        asyncio.create_task(open_stream(feed, "key", Version(feed.version.epoch, held) if held else None))
        for held in (0, 3, 8, 10, 0, 1)
    ]
    await asyncio.sleep(0)
    for _ in range(5):
        await store.change()
        await feed.catch_up()
    slow.set()
    readers = await asyncio.gather(*coming)
    await store.change()
    await feed.catch_up()
    for held, reader in zip((0, 3, 8, 10, 0, 1), readers, strict=True):
        reached = held
        while reached < 16:
            for name, document in events(await reader.read()):
                assert name == "snapshot" or document["since"] == reached
                reached = document["revision"]
        assert reached == 16


async def test_a_stream_of_an_environment_that_went_meanwhile_ends(setting: Setting, store: TroubledStore) -> None:
    """It would be forgotten by everybody: neither changes nor heartbeats nor goodbyes would reach it."""
    await store.change(times=5)
    feed = await setting.distributor.feed(*HERE)
    slow, asked = asyncio.Event(), asyncio.Event()

    async def hold(question: str, arguments: object) -> None:
        if question == "changes_after":
            asked.set()
            await slow.wait()

    store.trouble = hold
    coming = asyncio.create_task(open_stream(feed, "key", Version(feed.version.epoch, 2)))
    await asked.wait()
    await store.delete_environment("production")
    await setting.run()
    await setting.tell(MessagesLost())
    await until(lambda: setting.distributor.feeds == 0)
    slow.set()
    reader = await coming
    assert reader.ending is Ending.GOODBYE
    assert [name for name, _ in events(await reader.read())] == ["change"]
    assert [name for name, _ in events(await reader.read())] == ["goodbye"]
    assert await reader.read() is None
    with pytest.raises(NoSuchEnvironment):
        await setting.distributor.feed(*HERE)


async def test_an_environment_that_is_made_while_the_database_is_asked_is_not_taken_for_gone(
    setting: Setting, store: TroubledStore
) -> None:
    slow, asked = asyncio.Event(), asyncio.Event()

    async def hold(question: str, arguments: object) -> None:
        if question == "environments":
            asked.set()
            await slow.wait()

    store.trouble = hold
    await setting.run()
    await setting.tell(MessagesLost())
    await asked.wait()  # the answer, without it, is on its way
    await store.create_environment("new")
    await store.create_key("key", "new")
    feed = await setting.distributor.feed("default", "new")
    reader = await open_stream(feed, "key", None)
    store.asked.clear()
    slow.set()
    await setting.tell(MessagesLost())
    await until(lambda: store.asked.get("environments"))
    assert await setting.distributor.feed("default", "new") is feed
    assert reader.ending is None


async def test_who_had_a_key_to_the_old_sees_nothing_of_the_new(setting: Setting, store: TroubledStore) -> None:
    await store.change(times=3)
    feed = await setting.distributor.feed(*HERE)
    old = await open_stream(feed, "key of the old", None)
    await first_event(old)
    await store.delete_environment("production")
    await store.create_environment("production")
    await store.change(key="secret", times=7)
    await setting.run()
    await setting.tell(MessagesLost())
    await until(lambda: feed.version.revision == 7)
    assert old.ending is Ending.REVOKED
    assert [name for name, _ in events(await old.read())] == ["goodbye"]


async def test_an_environment_that_is_made_anew_while_its_feed_is_opened_is_served_as_it_is(
    setting: Setting, store: TroubledStore
) -> None:
    await store.change(times=3)
    slow, asked = asyncio.Event(), asyncio.Event()

    async def hold(question: str, arguments: object) -> None:
        if question == "snapshot" and not asked.is_set():
            asked.set()
            await slow.wait()

    store.trouble = hold
    opening = asyncio.create_task(setting.distributor.feed(*HERE))
    await asked.wait()
    await store.delete_environment("production")
    await store.create_environment("production")
    await store.change(key="b", times=9)
    slow.set()
    feed = await opening
    assert feed.version.revision == 9
    assert feed.version.epoch == next(one.epoch for one in await store.environments() if one.key == "production")


async def test_a_feed_may_go_while_it_is_opened(setting: Setting, store: TroubledStore) -> None:
    await store.create_environment("brief")
    slow, asked = asyncio.Event(), asyncio.Event()

    async def hold(question: str, arguments: tuple[object, ...]) -> None:
        if question == "committed_after" and arguments[0] == "brief":
            asked.set()
            await slow.wait()

    store.trouble = hold
    opening = asyncio.create_task(setting.distributor.feed("default", "brief"))
    await asked.wait()
    await store.delete_environment("brief")
    await setting.run()
    await setting.tell(MessagesLost())
    await until(lambda: setting.distributor.feeds == 0)
    slow.set()
    reader = await open_stream(await opening, "key", None)
    assert reader.ending is Ending.GOODBYE


async def test_one_environment_that_cannot_be_followed_holds_up_no_other(
    setting: Setting, store: TroubledStore, capsys: pytest.CaptureFixture[str]
) -> None:
    poisoned = await setting.distributor.feed("default", "development")
    well = await setting.distributor.feed(*HERE)

    async def poison(question: str, arguments: tuple[object, ...]) -> None:
        if question == "committed_after" and arguments[0] == "development":
            raise ZeroDivisionError("a document that nobody can read")

    store.trouble = poison
    await setting.run()
    for revision in range(1, 4):
        await store.change("development")
        await store.change()
        await setting.tell(RevisionHint("default", "development", revision))
        await setting.tell(MessagesLost())
        await until(lambda: well.version.revision == revision)  # noqa: B023
    assert poisoned.version.revision == 0
    assert capsys.readouterr().out.count("an environment cannot be followed") == 1
    store.trouble = None
    await setting.tell(MessagesLost())
    await until(lambda: poisoned.version.revision == 3)


async def test_a_chore_that_fails_goes_on_and_complains_once(
    setting: Setting, store: TroubledStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fader_server.chores._AFTER_A_FAULT", 0.001)
    feed = await setting.distributor.feed(*HERE)

    async def break_down(question: str, arguments: object) -> None:
        if question == "environments":
            raise ZeroDivisionError("nobody thought of this")

    store.trouble = break_down
    await setting.run()
    for count in range(1, 4):
        await setting.tell(MessagesLost())
        await until(lambda: store.asked.get("environments", 0) >= count)  # noqa: B023
    assert capsys.readouterr().out.count("a chore failed") == 1
    store.trouble = None
    await store.change()
    await setting.tell(MessagesLost())
    await until(lambda: feed.version.revision == 1)


async def test_a_snapshot_that_could_not_be_encoded_once_can_be_encoded_later(
    setting: Setting, store: TroubledStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = await setting.distributor.feed(*HERE)
    with monkeypatch.context() as broken:

        def compress(*_: object, **__: object) -> bytes:
            raise MemoryError

        broken.setattr(gzip, "compress", compress)
        with pytest.raises(MemoryError):
            await feed.encoded()
    encoded = await feed.encoded()
    assert json.loads(gzip.decompress(encoded.gzipped)) == json.loads(encoded.plain)


async def test_a_gap_in_the_log_is_bridged_by_a_snapshot(setting: Setting, store: TroubledStore) -> None:
    await store.change(times=3)
    feed = await setting.distributor.feed(*HERE)
    reader = await open_stream(feed, "key", feed.version)
    assert await first_event(reader) is None
    await store.change(times=4)
    async with store.write() as connection:
        await connection.execute(schema.changes.delete().where(schema.changes.c.revision == 5))
    await feed.catch_up()
    assert feed.version.revision == 7
    reached = 3
    while reached < 7:
        for name, document in events(await reader.read()):
            assert name == "snapshot" or document["since"] == reached
            reached = document["revision"]
    assert reached == 7
