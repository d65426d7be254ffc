"""Evaluators: always at what the feed serves, right about long lists, and counting what they were asked."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fader import Context
from fader.evaluation import ErrorCode, Reason
from fader.model import MemberList
from fader_server.distribution.distributor import NoSuchEnvironment
from fader_server.distribution.events import Version
from fader_server.errors import Unavailable
from fader_server.evaluation import Evaluator, Evaluators
from fader_server.storage import Store
from in_process import InProcess, running_in_process

pytestmark = pytest.mark.anyio

HERE = ("default", "production")
FLAG = "/projects/default/flags/a/environments/production"
KEYS = [f"user-{number}" for number in range(2_000)]
"""Too many to travel with their segment."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with running_in_process(tmp_path, FADER_POLL_SECONDS="60") as server:
        yield server


def evaluators(server: InProcess) -> Evaluators:
    found: Evaluators = server.state.evaluators
    return found


async def newest(server: InProcess) -> Evaluator:
    """The evaluator, once the feed has heard of everything."""
    await (await server.state.distributor.feed(*HERE)).catch_up()
    return await evaluators(server).of(*HERE)


async def is_on(server: InProcess, key: str, context: object = "ada") -> bool:
    return (await newest(server)).details(key, context).enabled


async def listed(server: InProcess, keys: list[str]) -> MemberList:
    """Let the segment list these, and return how the list is named."""
    await server.admin("PUT", "/projects/default/segments/vip/members", text="\n".join(keys))
    return await named(server)


async def named(server: InProcess) -> MemberList:
    feed = await server.state.distributor.feed(*HERE)
    await feed.catch_up()
    members = feed.snapshot.segments["vip"].members
    assert members is not None
    return members


async def create_segment_and_flag(server: InProcess) -> None:
    await server.admin("POST", "/projects/default/segments", {"key": "vip"})
    await server.create_flag("a", {"enabled": True, "rules": [{"segments": ["vip"]}]})


class Away:
    """A database that does not say who is listed."""

    def __init__(self, server: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away = True
        self.asked = 0
        whole = Store.members_at

        async def members_at(store: Store, described: MemberList) -> Any:
            self.asked += 1
            if self.is_away:
                raise Unavailable("The database is away.")
            return await whole(store, described)

        monkeypatch.setattr(Store, "members_at", members_at)
        monkeypatch.setattr("fader_server.evaluation.evaluators._LISTS_AGAIN", 0.0)


async def test_a_change_is_in_the_next_answer(server: InProcess) -> None:
    await server.create_flag("a", {"enabled": True, "rules": [{"rollout": {"percentage": 100}}]})
    assert await is_on(server, "a")
    await server.admin("POST", f"{FLAG}/off")
    assert not await is_on(server, "a")
    found = (await newest(server)).details("a", Context("ada"))
    assert (found.reason, found.variant) == (Reason.DISABLED, "off")
    assert found.revision == server.state.distributor.version(*HERE).revision


async def test_what_a_change_does_not_touch_is_not_compiled_again(server: InProcess) -> None:
    await server.create_flag("a", {"enabled": True})
    await server.create_flag("b", {"enabled": True})
    before = (await newest(server)).flags
    compiled = before.compiled("b")
    await server.admin("POST", f"{FLAG}/off")
    after = (await newest(server)).flags
    assert after is not before
    assert after.compiled("b") is compiled
    assert after.compiled("a") is not before.compiled("a")


async def test_one_evaluator_answers_by_one_version(server: InProcess) -> None:
    await server.create_flag("a", {"enabled": True})
    evaluator = await newest(server)
    await server.admin("POST", f"{FLAG}/off")
    assert evaluator.details("a", "ada").enabled
    assert not await is_on(server, "a")


async def test_many_changes_and_another_epoch_are_followed(server: InProcess) -> None:
    await server.create_flag("a", {"enabled": True})
    first = await newest(server)
    for verb in ("off", "on", "off"):
        await server.admin("POST", f"{FLAG}/{verb}")
    assert not await is_on(server, "a")
    async with server.state.admin.store.write() as connection:
        await connection.exec_driver_sql("UPDATE environments SET epoch = 'anew', revision = 1")
    await (await server.state.distributor.feed(*HERE)).begin_anew()
    renewed = await evaluators(server).of(*HERE)
    assert renewed.version == Version("anew", 1)
    assert renewed.flags.counters is first.flags.counters, "counts go on"


async def test_what_is_not_there_has_no_evaluator(server: InProcess) -> None:
    with pytest.raises(NoSuchEnvironment):
        await evaluators(server).of("default", "nowhere")
    found = (await evaluators(server).of(*HERE)).details("nothing", "ada", default=7)
    assert (found.value, found.reason, found.error_code) == (7, Reason.ERROR, ErrorCode.FLAG_NOT_FOUND)


async def test_an_environment_that_is_removed_and_made_anew_is_another_one(server: InProcess) -> None:
    await server.create_flag("a")
    await server.admin("POST", "/projects/default/environments", {"key": "brief"})
    await server.admin("POST", "/projects/default/flags/a/environments/brief/on")
    old = await evaluators(server).of("default", "brief")
    assert old.details("a", "ada").enabled
    await server.admin("DELETE", "/projects/default/environments/brief")
    await server.state.distributor._ask()
    with pytest.raises(NoSuchEnvironment):
        await evaluators(server).of("default", "brief")
    await server.admin("POST", "/projects/default/environments", {"key": "brief"})
    new = await evaluators(server).of("default", "brief")
    assert not new.details("a", "ada").enabled
    assert new.flags.counters is not old.flags.counters


async def test_long_lists_are_taken_from_the_database(server: InProcess) -> None:
    await create_segment_and_flag(server)
    await listed(server, KEYS)
    evaluator = await newest(server)
    assert evaluator.is_complete
    assert [evaluator.details("a", key).enabled for key in (KEYS[0], KEYS[-1], "stranger")] == [True, True, False]
    await server.admin("POST", "/projects/default/segments/vip/members", {"add": ["stranger"], "remove": [KEYS[0]]})
    assert [await is_on(server, "a", key) for key in (KEYS[0], KEYS[-1], "stranger")] == [False, True, True]
    await listed(server, [*KEYS, "more", "stranger"])
    assert [await is_on(server, "a", key) for key in (KEYS[0], "more", "nobody")] == [True, True, False]


async def test_a_flag_whose_list_has_never_come_has_no_answer_rather_than_a_wrong_one(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_segment_and_flag(server)
    await server.create_flag("free", {"enabled": True})
    await server.create_flag("child", {"enabled": True, "prerequisites": [{"flag": "a"}]})
    await listed(server, KEYS)
    database = Away(server, monkeypatch)
    evaluator = await newest(server)
    assert not evaluator.is_complete
    assert evaluator.details("free", KEYS[0]).enabled
    for key in ("a", "child"):
        found = evaluator.details(key, KEYS[0], default="mine")
        assert (found.value, found.reason, found.error_code) == ("mine", Reason.ERROR, ErrorCode.GENERAL)
    database.is_away = False
    assert await is_on(server, "child", KEYS[0])


async def test_a_list_as_it_was_must_do_while_the_database_is_away(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_segment_and_flag(server)
    await listed(server, KEYS)
    assert await is_on(server, "a", KEYS[0])
    database = Away(server, monkeypatch)
    monkeypatch.setattr(Store, "member_deltas", lambda *_: no_deltas())
    await listed(server, [f"other-{number}" for number in range(5_000)])
    evaluator = await newest(server)
    assert not evaluator.is_complete
    assert evaluator.details("a", KEYS[0]).enabled
    database.is_away = False
    assert [await is_on(server, "a", key) for key in (KEYS[0], "other-0")] == [False, True]


async def no_deltas() -> list[Any]:
    return []


async def test_the_database_is_not_asked_for_each_answer_while_it_is_away(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_segment_and_flag(server)
    await listed(server, KEYS)
    database = Away(server, monkeypatch)
    monkeypatch.setattr("fader_server.evaluation.evaluators._LISTS_AGAIN", 3600.0)
    for _ in range(5):
        assert not (await evaluators(server).of(*HERE)).is_complete
    assert database.asked == 1


async def test_a_version_that_another_server_announced_is_waited_for(server: InProcess, tmp_path: Path) -> None:
    await server.create_flag("a", {"enabled": True})
    version = (await newest(server)).version
    async with running_in_process(tmp_path, FADER_POLL_SECONDS="60") as other:
        await other.admin("POST", f"{FLAG}/off")
        announced = (await newest(other)).version
    assert (await evaluators(server).of(*HERE)).version == version, "nobody has told it"
    reached = await evaluators(server).at_least(*HERE, announced)
    assert reached.version == announced
    assert not reached.details("a", "ada").enabled


@pytest.mark.parametrize("version", [Version("nowhere", 99), Version("", 0)])
async def test_a_version_that_never_comes_is_not_waited_for(server: InProcess, version: Version) -> None:
    evaluator = await newest(server)
    assert await evaluators(server).at_least(*HERE, version) is evaluator
    beyond = Version(evaluator.version.epoch, evaluator.version.revision + 1_000)
    assert await evaluators(server).at_least(*HERE, beyond) is evaluator


async def test_who_evaluates_while_the_database_is_away_gets_answers_from_memory(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.create_flag("a", {"enabled": True})
    await evaluators(server).of(*HERE)

    async def away(*_: Any) -> Any:
        raise Unavailable("The database is away.")

    monkeypatch.setattr(Store, "committed_after", away)
    evaluator = await evaluators(server).at_least(
        *HERE, Version((await evaluators(server).of(*HERE)).version.epoch, 99)
    )
    assert evaluator.details("a", "ada").enabled


async def usage(server: InProcess) -> dict[str, int]:
    found = await server.admin("GET", "/projects/default/flags/a/usage")
    return {one["variant"]: one["count"] for one in found["items"]}


async def test_what_was_evaluated_is_counted_once(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    await server.create_flag("a", {"enabled": True})
    reports = evaluators(server)._usage
    evaluator = await newest(server)
    for _ in range(3):
        evaluator.details("a", "ada")
    record = Store.record_usage

    async def record_and_break(store: Store, *arguments: Any) -> int:
        await record(store, *arguments)
        raise Unavailable("The database broke off.")

    monkeypatch.setattr(Store, "record_usage", record_and_break)
    await reports.report()
    evaluator.details("a", "ada")
    monkeypatch.setattr(Store, "record_usage", record)
    for _ in range(3):
        await reports.report()
    assert await usage(server) == {"on": 4}


async def test_the_last_counts_are_written_at_the_end_of_the_server(tmp_path: Path) -> None:
    async with running_in_process(tmp_path) as server:
        await server.create_flag("a", {"enabled": True})
        evaluator: Evaluator = await evaluators(server).of(*HERE)
        evaluator.details("a", "ada")
        evaluator.details("x" * 9_999, "ada")
    async with running_in_process(tmp_path) as server:
        assert await usage(server) == {"on": 1}
