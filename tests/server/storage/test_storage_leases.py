"""Of several servers one has a lease, until it gives it back or lets it run out."""

import pytest

from fader_server.storage import Store, leases

pytestmark = pytest.mark.anyio


async def take(store: Store, holder: str, seconds: float = 60.0) -> bool:
    async with store.write() as connection:
        return await leases.take(connection, "ramps", holder, seconds)


async def holds(store: Store, holder: str) -> bool:
    async with store.write() as connection:
        return await leases.holds(connection, "ramps", holder)


async def test_one_has_it_and_keeps_it(store: Store) -> None:
    assert await take(store, "one")
    assert not await take(store, "other")
    assert await take(store, "one")
    assert await holds(store, "one")
    assert not await holds(store, "other")


async def test_who_gives_it_back_lets_others_have_it(store: Store) -> None:
    assert not await holds(store, "one")
    await take(store, "one")
    async with store.write() as connection:
        await leases.release(connection, "ramps", "other")
        await leases.release(connection, "ramps", "one")
    assert await take(store, "other")
    assert not await holds(store, "one")


async def test_who_is_late_has_lost_it(store: Store) -> None:
    await take(store, "one", seconds=-1.0)
    assert not await holds(store, "one")
    assert await take(store, "other")
    assert not await holds(store, "one")
    assert not await take(store, "one")


async def test_leases_of_different_names_have_nothing_to_do_with_each_other(store: Store) -> None:
    await take(store, "one")
    async with store.write() as connection:
        assert await leases.take(connection, "notices", "other", 60.0)
