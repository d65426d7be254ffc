"""Streams in another encoding than that of our SDKs: filled, parked, shown to live and ended as those are."""

from collections.abc import Sequence

import pytest

from distribution_setting import Reader, Setting, TroubledStore, open_stream, until
from fader_server.bus import CredentialRevoked, MessagesLost
from fader_server.distribution import Feed
from fader_server.distribution.encoding import Served
from fader_server.distribution.events import OPENING, Delivery, Version, body
from fader_server.distribution.subscription import Ending

pytestmark = pytest.mark.anyio

HERE = ("default", "production")


class Plain:
    """Revisions, as plain lines."""

    heartbeat = b"thump\n"

    def __init__(self, served: Served) -> None:
        self.served = served
        self.encoded: list[Version | None] = []

    def beginning(self, since: Version | None) -> Delivery | None:
        self.encoded.append(since)
        return None if since == self.served.version else self._line("snapshot", since)

    def way(self, since: Version) -> Delivery:
        self.encoded.append(since)
        return self._line("change", since)

    def goodbye(self, retry_milliseconds: int) -> bytes:
        return b"bye %d\n" % retry_milliseconds

    def _line(self, event: str, since: Version | None) -> Delivery:
        held = "nothing" if since is None else f"{since.revision}"
        line = f"from {held} to {self.served.version.revision}\n".encode()
        return Delivery("snapshot" if since is None else "change", body(line), self.served.version)


class Silent(Plain):
    """Says nothing at the end."""

    def goodbye(self, retry_milliseconds: int) -> bytes:
        return b""


async def open_plain(feed: Feed, since: Version | None = None, key_id: str = "key") -> Reader:
    return await open_stream(feed, key_id, since, feed.streams_in(Plain))


async def read(reader: Reader, lines: int) -> Sequence[bytes | None]:
    return [await reader.read() for _ in range(lines)]


async def test_each_kind_of_stream_gets_its_own_words(setting: Setting, store: TroubledStore) -> None:
    feed = await setting.distributor.feed(*HERE)
    plain, ours = await open_plain(feed), await open_stream(feed, "key", None)
    await store.change()
    await feed.catch_up()
    assert await read(plain, 2) == [OPENING + b"from nothing to 0\n", b"from 0 to 1\n"]
    first, second = await read(ours, 2)
    assert first is not None
    assert b"event: snapshot" in first
    assert second is not None
    assert b"event: change" in second
    assert feed.streams == 2


async def test_what_all_need_is_encoded_once(setting: Setting, store: TroubledStore) -> None:
    feed = await setting.distributor.feed(*HERE)
    made: list[Plain] = []

    def making(served: Served) -> Plain:
        made.append(Plain(served))
        return made[-1]

    beginning = feed.version
    readers = [await open_stream(feed, "key", None, feed.streams_in(making)) for _ in range(200)]
    await store.change()
    await feed.catch_up()
    for reader in readers:
        assert await read(reader, 2) == [OPENING + b"from nothing to 0\n", b"from 0 to 1\n"]
    [encoding] = made
    assert encoding.encoded == [None, beginning]


async def test_who_has_what_is_served_is_sent_nothing_until_there_is_more(
    setting: Setting, store: TroubledStore
) -> None:
    feed = await setting.distributor.feed(*HERE)
    reader = await open_plain(feed, feed.version)
    await store.change()
    await feed.catch_up()
    assert await read(reader, 2) == [OPENING, b"from 0 to 1\n"]


async def test_who_does_not_read_is_parked_and_then_sent_the_whole_way_at_once(
    setting: Setting, store: TroubledStore
) -> None:
    feed = await setting.distributor.feed(*HERE)
    stuck = await open_plain(feed)
    await stuck.read()
    stuck.stop()
    for _ in range(5):
        await store.change()
        await feed.catch_up()
    await until(lambda: stuck.subscription is not None and stuck.subscription.is_parked)
    stuck.go_on()
    assert await stuck.read() == b"from 0 to 5\n"


async def test_quiet_streams_show_that_they_live(setting: Setting) -> None:
    feed = await setting.distributor.feed(*HERE)
    plain, ours = await open_plain(feed), await open_stream(feed, "key", None)
    await feed.beat()
    assert (await read(plain, 2))[1] == b"thump\n"
    assert (await read(ours, 2))[1] == b": heartbeat\n\n"


async def test_a_revoked_key_ends_the_streams_of_all_kinds(setting: Setting, store: TroubledStore) -> None:
    await setting.run()
    feed = await setting.distributor.feed(*HERE)
    plain, other, ours = (
        await open_plain(feed),
        await open_plain(feed, key_id="other"),
        await open_stream(feed, "key", None),
    )
    await setting.tell(CredentialRevoked("key"))
    await until(lambda: plain.is_over and ours.is_over)
    assert (plain.ending, ours.ending, other.ending) == (Ending.REVOKED, Ending.REVOKED, None)
    assert (await read(plain, 2))[1] == b"bye 1000\n"
    assert not other.is_over


async def test_a_key_that_nobody_told_of_is_found_out(setting: Setting, store: TroubledStore) -> None:
    """Those who came with it follow in no other way."""
    await setting.run()
    feed = await setting.distributor.feed(*HERE)
    reader = await open_plain(feed, key_id="never-made")
    await setting.tell(MessagesLost())
    await until(lambda: reader.is_over)
    assert reader.ending is Ending.REVOKED


async def test_an_environment_that_is_removed_ends_them(setting: Setting, store: TroubledStore) -> None:
    await setting.run()
    await store.create_environment("brief")
    feed = await setting.distributor.feed("default", "brief")
    reader = await open_plain(feed)
    await store.delete_environment("brief")
    await setting.tell(MessagesLost())
    await until(lambda: reader.is_over)
    assert reader.ending is Ending.REVOKED, "keys go with their environment"
    late = await open_plain(feed)
    assert late.ending is Ending.GOODBYE


async def test_a_shutdown_dismisses_them_too_with_or_without_a_word(setting: Setting) -> None:
    feed = await setting.distributor.feed(*HERE)
    plain, silent = await open_plain(feed), await open_stream(feed, "key", None, feed.streams_in(Silent))
    await setting.distributor.farewell(0.0)
    assert await read(plain, 3) == [OPENING + b"from nothing to 0\n", b"bye 1000\n", None]
    assert await read(silent, 2) == [OPENING + b"from nothing to 0\n", None]


async def test_nothing_is_made_before_somebody_wants_it(setting: Setting) -> None:
    feed = await setting.distributor.feed(*HERE)
    assert len(feed.all_streams()) == 1
    assert feed.streams_in(Plain) is feed.streams_in(Plain)
    assert len(feed.all_streams()) == 2
