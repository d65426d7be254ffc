"""How changes have reached clients: kept once for each revision and node, of each epoch by itself."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from fader_server.storage import Store, propagations
from fader_server.storage.records import NodePropagation

pytestmark = pytest.mark.anyio

ROW = NodePropagation(
    project="default",
    environment="production",
    epoch="e",
    revision=7,
    node="web-1:42:abcd",
    clients=5,
    applied=4,
    refused=1,
    buckets={3: 2, 41: 2},
    max_ms=51.5,
    recorded_at=datetime(2026, 5, 1, 12, 30, tzinfo=UTC),
)


async def kept(store: Store, *revisions: int, environment: str = "production") -> list[NodePropagation]:
    async with store.read() as connection:
        found = await propagations.of_revisions(connection, "default", environment, revisions)
    return sorted(found, key=lambda row: (row.revision, row.epoch, row.node))


async def test_rows_read_back_as_they_were_written(store: Store) -> None:
    other_node, other_epoch, later = (
        replace(ROW, node="web-2:42:abcd"),
        replace(ROW, epoch="f", applied=0),
        replace(ROW, revision=9, buckets={}),
    )
    await store.record_propagations([ROW, other_node, other_epoch, later])
    assert await kept(store, 7) == [ROW, other_node, other_epoch]
    assert await kept(store, 8, 9) == [later]
    assert await kept(store) == []
    assert await kept(store, 7, environment="staging") == []


async def test_the_first_word_of_a_node_counts(store: Store) -> None:
    await store.record_propagations([ROW])
    await store.record_propagations([replace(ROW, applied=0), replace(ROW, revision=8)])
    assert await kept(store, 7, 8) == [ROW, replace(ROW, revision=8)]


async def test_many_revisions_can_be_asked_for_at_once(store: Store) -> None:
    await store.record_propagations([replace(ROW, revision=number) for number in range(1_200)])
    assert len(await kept(store, *range(2_000))) == 1_200
