"""Revisions and the log of changes: gapless, visible in order, all or nothing."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from fader import model
from fader_server.flags.lookup import locked_flag
from fader_server.storage import Store, changes, environments, flags, segments
from fader_server.storage.documents import flag_document, segment_document
from fader_server.storage.records import Configuration, ConfigurationState, Definition, Entry, Segment

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 5, 1, 12, 30, 15, 123456, tzinfo=UTC)


def _definition(key: str, **fields: Any) -> Definition:
    return Definition(project="default", key=key, created_at=NOW, updated_at=NOW, **fields)


def _state(configuration: Configuration) -> ConfigurationState:
    return ConfigurationState(
        environment="staging", configuration=configuration, revision=1, updated_at=NOW, updated_by="ada"
    )


def _entry(key: str, *, before: Any = None, after: Any = None, kind: Any = "flag") -> Entry:
    return Entry(kind=kind, key=key, action="created", actor="ada", at=NOW, reason="why", before=before, after=after)


async def _write(store: Store, key: str, environment: str = "production") -> int:
    async with store.write() as connection:
        document = flag_document(_definition(key), Configuration(enabled=True))
        return await changes.append(connection, "default", environment, _entry(key, after=document))


async def test_everybody_starts_with_one_project(store: Store) -> None:
    found = await store.environments()
    assert [(one.project, one.key, one.revision) for one in found] == [
        ("default", "development", 0),
        ("default", "production", 0),
        ("default", "staging", 0),
    ]
    assert all(len(one.epoch) >= 8 and int(one.epoch, 16) >= 0 for one in found)
    snapshot = await store.snapshot("default", "production")
    assert snapshot == model.Snapshot(project="default", environment="production", epoch=found[1].epoch, revision=0)
    assert await store.snapshot("default", "nowhere") is None


async def test_each_environment_counts_for_itself(store: Store) -> None:
    assert [await _write(store, key) for key in "abc"] == [1, 2, 3]
    assert await _write(store, "a", "staging") == 1
    assert [one.revision for one in await store.environments()] == [0, 3, 1]


async def test_changes_follow_from_any_revision_on(store: Store) -> None:
    for key in "abc":
        await _write(store, key)
    state = (await store.environments())[1]
    found = await store.changes_after("default", "production", 1, 100)
    assert found == [
        model.Change(epoch=state.epoch, since=1, revision=2, flags={"b": model.Flag(key="b", enabled=True)}),
        model.Change(epoch=state.epoch, since=2, revision=3, flags={"c": model.Flag(key="c", enabled=True)}),
    ]
    assert await store.changes_after("default", "production", 0, 2) == [
        *await store.changes_after("default", "production", 0, 1),
        found[0],
    ]
    assert await store.changes_after("default", "production", 3, 100) == []
    assert await store.changes_after("default", "nowhere", 0, 100) == []


async def test_a_change_says_what_is_gone(store: Store) -> None:
    archived = flag_document(_definition("a", archived_at=NOW), Configuration())
    segment = segment_document(Segment(project="default", key="s", id=7, created_at=NOW, updated_at=NOW))
    async with store.write() as connection:
        for entry in (
            _entry("a", after=archived),
            _entry("b", before=archived),
            _entry("s", after=segment, kind="segment"),
            _entry("s", before=segment, kind="segment"),
            _entry("production", after={"key": "production"}, kind="environment"),
        ):
            await changes.append(connection, "default", "production", entry)
    found = await store.changes_after("default", "production", 0, 100)
    assert [(one.flags, one.segments) for one in found] == [
        ({"a": None}, {}),
        ({"b": None}, {}),
        ({}, {"s": model.Segment(key="s", id=7)}),
        ({}, {"s": None}),
        ({}, {}),
    ]


async def test_what_fails_leaves_no_trace_and_no_gap(store: Store) -> None:
    await _write(store, "a")

    async def fail() -> None:
        async with store.write() as connection:
            await flags.insert(connection, _definition("b"))
            await changes.append(connection, "default", "production", _entry("b"))
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        await fail()
    async with store.write(dry_run=True) as connection:
        await flags.insert(connection, _definition("c"))
        assert await changes.append(connection, "default", "production", _entry("c")) == 2
    assert await _write(store, "d") == 2
    snapshot = await store.snapshot("default", "production")
    assert snapshot is not None
    assert (snapshot.revision, snapshot.flags) == (2, {})


async def test_concurrent_writers_never_skip_or_share_a_number(store: Store) -> None:
    numbers = await asyncio.gather(*(_write(store, f"flag-{number}") for number in range(40)))
    assert sorted(numbers) == list(range(1, 41))
    found = await store.changes_after("default", "production", 0, 100)
    assert [one.revision for one in found] == list(range(1, 41))


async def test_who_waited_for_the_lock_finds_what_was_done_meanwhile(store: Store) -> None:
    """Lock and flag are one statement, which may have read the flag before it had the lock."""

    async def found_by_another() -> tuple[int, ConfigurationState]:
        async with store.write() as connection:
            state, flag = await locked_flag(connection, "default", "staging", "a")
            return state.revision, flag.configurations["staging"]

    on = _state(Configuration(enabled=True))
    async with store.write() as connection:
        await flags.insert(connection, _definition("a"))
        await flags.put_configuration(connection, "default", "a", _state(Configuration()))
    async with store.write() as connection:
        await locked_flag(connection, "default", "staging", "a")
        other = asyncio.create_task(found_by_another())
        while store.is_shared and not await _waiting(store):
            pass
        await changes.append(connection, "default", "staging", _entry("a"))
        await flags.put_configuration(connection, "default", "a", on)
        assert not other.done()
    assert await other == (1, on)
    assert await found_by_another() == (1, on)


async def _waiting(store: Store) -> bool:
    """Whether somebody waits for a lock in PostgreSQL."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with store.read() as connection:
        return bool((await connection.execute(sa.text(asked))).scalar_one())


async def test_readers_see_revisions_in_order_and_whole(store: Store) -> None:
    """While somebody writes flag and change together, nobody ever reads one without the other."""

    async def write_many() -> None:
        for number in range(30):
            async with store.write() as connection:
                await flags.insert(connection, _definition(f"flag-{number:02}"))
                await changes.append(connection, "default", "production", _entry(f"flag-{number:02}"))

    async def read_until(done: asyncio.Task[None]) -> list[int]:
        seen = []
        while not done.done():
            snapshot = await store.snapshot("default", "production")
            assert snapshot is not None
            assert len(snapshot.flags) == snapshot.revision
            seen.append(snapshot.revision)
        return seen

    writing = asyncio.ensure_future(write_many())
    for seen in await asyncio.gather(read_until(writing), read_until(writing)):
        assert seen == sorted(seen)
    await writing


async def test_reading_does_not_wait_for_a_writer(store: Store) -> None:
    async with store.write() as connection:
        await changes.append(connection, "default", "production", _entry("a"))
        async with asyncio.timeout(5):
            assert (await store.environments())[1].revision == 0


async def test_a_snapshot_holds_flags_and_segments_as_sdks_see_them(store: Store) -> None:
    constraint = model.Constraint(attribute="age", operator=">=", values=(18, 1.5, True, "ø"))
    configuration = Configuration(
        enabled=True,
        rules=(
            model.Rule(id="r", constraints=(constraint,), segments=("s",), rollout=model.Rollout(percentage=0.001)),
        ),
        prerequisites=(model.Prerequisite(flag="plain"),),
    )
    variants = (model.Variant(name="a", value={"x": [1, 1.0, None]}), model.Variant(name="b"))
    async with store.write() as connection:
        await flags.insert(connection, _definition("rich", type="object", variants=variants, off_variant="b"))
        await flags.insert(connection, _definition("plain"))
        await flags.insert(connection, _definition("archived", archived_at=NOW))
        await flags.put_configuration(connection, "default", "rich", _state(configuration))
        segment = Segment(
            project="default",
            key="s",
            id=0,
            constraints=(constraint,),
            targeting_keys=("u1", "u2"),
            created_at=NOW,
            updated_at=NOW,
        )
        number = await segments.insert(connection, segment)
    snapshot = await store.snapshot("default", "staging")
    assert snapshot is not None
    rich = model.Flag(
        key="rich",
        enabled=True,
        type="object",
        variants=variants,
        off_variant="b",
        prerequisites=configuration.prerequisites,
        rules=configuration.rules,
    )
    assert snapshot.flags == {"plain": model.Flag(key="plain"), "rich": rich}
    values = snapshot.flags["rich"].rules[0].constraints[0].values
    assert [type(value) for value in values] == [int, float, bool, str]
    assert snapshot.segments == {
        "s": model.Segment(key="s", id=number, constraints=(constraint,), targeting_keys=("u1", "u2"))
    }
    elsewhere = await store.snapshot("default", "production")
    assert elsewhere is not None
    assert elsewhere.flags["rich"].enabled is False


async def test_references_are_those_of_the_last_configuration(store: Store) -> None:
    async def put(flag: str, configuration: Configuration) -> None:
        async with store.write() as connection:
            await flags.put_configuration(connection, "default", flag, _state(configuration))

    async def users(kind: Any, target: str | None = None) -> list[tuple[str, str, str]]:
        async with store.read() as connection:
            return await flags.users_of(connection, "default", kind, target)

    async with store.write() as connection:
        for key in "ab":
            await flags.insert(connection, _definition(key))
    await put("a", Configuration(rules=(model.Rule(segments=("s", "t")), model.Rule(segments=("s",)))))
    await put("b", Configuration(prerequisites=(model.Prerequisite(flag="a"),)))
    assert await users("segment") == [("s", "a", "staging"), ("t", "a", "staging")]
    assert await users("prerequisite", "a") == [("a", "b", "staging")]
    await put("a", Configuration(rules=(model.Rule(segments=("t",)),)))
    assert await users("segment", "s") == []
    assert await users("segment", "t") == [("t", "a", "staging")]
    async with store.write() as connection:
        await flags.update(connection, _definition("a", archived_at=NOW))
    assert await users("segment", "t") == []


async def test_an_environment_made_anew_has_another_epoch_and_no_past(store: Store) -> None:
    await _write(store, "a")
    before = (await store.environments())[1]
    async with store.write() as connection:
        await environments.delete(connection, "default", "production")
    assert await store.snapshot("default", "production") is None
    async with store.write() as connection:
        await environments.insert(connection, "default", ["production"], NOW)
    after = (await store.environments())[1]
    assert (after.key, after.revision) == ("production", 0)
    assert after.epoch != before.epoch
    assert await store.changes_after("default", "production", 0, 10) == []
    assert await _write(store, "b") == 1


async def test_times_come_back_in_utc_to_the_microsecond(store: Store) -> None:
    async with store.write() as connection:
        await flags.insert(connection, _definition("a"))
    async with store.read() as connection:
        found = await flags.definition(connection, "default", "a")
    assert found is not None
    assert found.created_at == NOW
    assert found.created_at.utcoffset() == NOW.utcoffset()
