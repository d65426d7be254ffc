"""Candidates beside controls: whatever they do, the application gets what the control does."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from fader.background import MOST_RUNNING, MOST_WAITING
from fader.dark_launches import MOST_TASKS
from fader.model import Flag, Guard, Rollout, Rule, Snapshot
from fader.testing import InMemoryClient
from fader.usage import UsageReports
from processes import wait_for

HALF = Flag(key="new-search", enabled=True, rules=(Rule(id="ramped", rollout=Rollout(percentage=50)),))
USERS = [f"user-{number}" for number in range(100)]


class BoomError(Exception):
    """What a test raises."""


def fails() -> Any:
    raise BoomError


@pytest.fixture
def client() -> InMemoryClient:
    return InMemoryClient({"new-search": True, "off": False})


def counts(client: InMemoryClient, flag: str = "new-search") -> dict[str, int]:
    """What was counted, without times."""
    counted = client._runtime.counters.dark_launches().get(flag, {})
    return {name: count for name, count in counted.items() if not name.endswith("_us")}


def inline(client: InMemoryClient, control: Callable[[], Any], candidate: Callable[[], Any], **named: Any) -> Any:
    return client.dark_launch("new-search", "ada", control=control, candidate=candidate, inline=True, **named)


@pytest.mark.parametrize(
    ("candidate", "counted"),
    [
        (lambda: [1], {"compared": 1}),
        (lambda: [2], {"compared": 1, "mismatched": 1}),
        (fails, {"compared": 1, "candidate_raised": 1}),
        (lambda: exit(), {"compared": 1, "candidate_raised": 1}),
    ],
)
def test_what_the_control_returns_is_returned(
    client: InMemoryClient, candidate: Callable[[], Any], counted: dict[str, int]
) -> None:
    answer = [1]
    assert inline(client, lambda: answer, candidate) is answer
    assert counts(client) == counted


@pytest.mark.parametrize(
    ("candidate", "counted"),
    [
        (fails, {"compared": 1}),
        (lambda: 1 / 0, {"compared": 1, "mismatched": 1}),
        (lambda: 1, {"compared": 1, "control_raised": 1}),
    ],
)
def test_what_the_control_raises_is_raised(
    client: InMemoryClient, candidate: Callable[[], Any], counted: dict[str, int]
) -> None:
    with pytest.raises(BoomError):
        inline(client, fails, candidate)
    assert counts(client) == counted


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_where_the_control_is_interrupted_the_candidate_does_not_run(
    client: InMemoryClient, error: type[BaseException]
) -> None:
    def interrupted() -> None:
        raise error

    with pytest.raises(error):
        inline(client, interrupted, lambda: pytest.fail("it has run"))
    assert counts(client) == {}


def test_how_to_compare_can_be_said(client: InMemoryClient) -> None:
    assert inline(client, lambda: [1, 2], lambda: [2, 1], compare=lambda some, others: set(some) == set(others)) == [
        1,
        2,
    ]
    assert counts(client) == {"compared": 1}


def test_what_cannot_be_compared_is_not_the_same(client: InMemoryClient) -> None:
    assert inline(client, lambda: 1, lambda: 1, compare=lambda _some, _others: fails()) == 1
    assert counts(client) == {"compared": 1, "mismatched": 1}


def test_the_candidate_runs_for_those_whom_the_flag_lets_in(client: InMemoryClient) -> None:
    client.set("new-search", HALF)
    ran = []
    for user in USERS:
        client.dark_launch(
            "new-search", user, control=lambda: 1, candidate=lambda user=user: ran.append(user), inline=True
        )
    assert ran == [user for user in USERS if client.is_enabled("new-search", user)]
    assert 0 < len(ran) < len(USERS)
    assert client.dark_launch("off", "ada", control=lambda: 1, candidate=fails, inline=True) == 1
    assert counts(client, "off") == {}


def test_of_a_sample_only_so_many_are_looked_at(client: InMemoryClient) -> None:
    for _ in range(1_000):
        inline(client, lambda: 1, lambda: 1, sample=0.2)
    assert 100 < counts(client)["compared"] < 300
    inline(client, lambda: 1, lambda: pytest.fail("it has run"), sample=0)


@pytest.mark.parametrize("wrong", [{"sample": "all"}, {"key": []}, {"context": object()}])
def test_nonsense_costs_the_candidate_and_nothing_else(client: InMemoryClient, wrong: dict[str, Any]) -> None:
    told = {"key": "new-search", "context": "ada", "control": lambda: 1, "candidate": lambda: 1, "inline": True} | wrong
    assert client.dark_launch(**told) == 1


def test_it_is_said_once_that_a_candidate_raises_and_never_what(
    client: InMemoryClient, caplog: pytest.LogCaptureFixture
) -> None:
    def tells() -> None:
        raise BoomError("ada@example.com")

    for _ in range(3):
        inline(client, lambda: 1, tells)
    [line] = caplog.messages
    assert "'new-search' raised BoomError" in line
    assert "ada@example.com" not in caplog.text


# --- beside -------------------------------------------------------------------------------------------------------


def test_the_candidate_is_not_waited_for_and_runs_in_the_callers_context(client: InMemoryClient) -> None:
    gate, trace = threading.Event(), contextvars.ContextVar("trace", default="")
    seen: list[tuple[str, bool]] = []
    trace.set("t1")

    def candidate() -> int:
        gate.wait(10)
        seen.append((trace.get(), threading.current_thread() is threading.main_thread()))
        return 1

    assert client.dark_launch("new-search", "ada", control=lambda: 1, candidate=candidate) == 1
    assert counts(client) == {}
    gate.set()
    wait_for(lambda: counts(client) == {"compared": 1}, "the candidate to be compared")
    assert seen == [("t1", False)]


def test_candidates_that_there_is_no_room_for_are_dropped_and_counted(client: InMemoryClient) -> None:
    gate = threading.Event()
    running: list[bool] = []

    def candidate() -> int:
        running.append(True)
        gate.wait(30)
        return 1

    def launch() -> None:
        assert client.dark_launch("new-search", "ada", control=lambda: 1, candidate=candidate) == 1

    try:
        launch()
        wait_for(lambda: running, "the first to run")
        for _ in range(MOST_RUNNING + MOST_WAITING + 9):
            launch()
        assert counts(client)["dropped"] >= 10
    finally:
        gate.set()
    whole = MOST_RUNNING + MOST_WAITING + 10
    wait_for(lambda: sum(counts(client).values()) == whole, "the others to run")


def test_a_coroutine_beside_a_function_is_an_error_of_the_candidate(client: InMemoryClient) -> None:
    async def candidate() -> int:
        return 1

    client.dark_launch("new-search", "ada", control=lambda: 1, candidate=candidate)
    wait_for(lambda: counts(client) == {"compared": 1, "candidate_raised": 1}, "it to be refused")


# --- coroutines ---------------------------------------------------------------------------------------------------


async def returns(result: Any) -> Any:
    await asyncio.sleep(0)
    return result


async def raises(error: BaseException) -> Any:
    await asyncio.sleep(0)
    raise error


@pytest.mark.anyio
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize(
    ("candidate", "counted"),
    [
        (lambda: returns(1), {"compared": 1}),
        (lambda: returns(2), {"compared": 1, "mismatched": 1}),
        (lambda: raises(BoomError()), {"compared": 1, "candidate_raised": 1}),
        (lambda: raises(SystemExit()), {"compared": 1, "candidate_raised": 1}),
        (lambda: raises(asyncio.CancelledError()), {"compared": 1, "candidate_raised": 1}),
    ],
)
async def test_coroutines(
    client: InMemoryClient, candidate: Callable[[], Any], counted: dict[str, int], *, in_place: bool
) -> None:
    answer = await client.dark_launch(
        "new-search", "ada", control=lambda: returns(1), candidate=candidate, inline=in_place
    )
    assert answer == 1
    if not in_place:
        assert counts(client) == {}
        await settled(client)
    assert counts(client) == counted


async def settled(client: InMemoryClient) -> None:
    """Until no candidate is running."""
    while tasks := list(client._runtime.dark_launches._tasks):
        await asyncio.wait(tasks)


@pytest.mark.anyio
async def test_what_a_coroutine_raises_is_raised(client: InMemoryClient) -> None:
    with pytest.raises(BoomError):
        await client.dark_launch(
            "new-search", "ada", control=lambda: raises(BoomError()), candidate=lambda: raises(BoomError())
        )
    await settled(client)
    assert counts(client) == {"compared": 1}


@pytest.mark.anyio
async def test_a_cancelled_control_has_no_candidate(client: InMemoryClient) -> None:
    task = asyncio.ensure_future(
        client.dark_launch("new-search", "ada", control=lambda: asyncio.sleep(30), candidate=lambda: returns(1))
    )
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settled(client)
    assert counts(client) == {}


@pytest.mark.anyio
async def test_coroutines_that_there_is_no_room_for_are_dropped_and_counted(client: InMemoryClient) -> None:
    gate = asyncio.Event()
    for _ in range(MOST_TASKS + 5):
        await client.dark_launch("new-search", "ada", control=lambda: returns(True), candidate=gate.wait)
    assert counts(client) == {"dropped": 5}
    gate.set()
    await settled(client)
    assert counts(client) == {"dropped": 5, "compared": MOST_TASKS}


def test_a_loop_that_was_closed_takes_no_room(client: InMemoryClient) -> None:
    async def begin() -> None:
        for _ in range(MOST_TASKS):
            await client.dark_launch(
                "new-search", "ada", control=lambda: returns(1), candidate=lambda: asyncio.sleep(30)
            )

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    abandoned = list(client._runtime.dark_launches._tasks)
    assert len(abandoned) == MOST_TASKS
    loop.close()

    async def once_more() -> None:
        await client.dark_launch("new-search", "ada", control=lambda: returns(1), candidate=lambda: returns(1))
        await settled(client)

    asyncio.run(once_more())
    assert counts(client) == {"compared": 1}
    for task in abandoned:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # that they are is what this is about


# --- guards and reports -------------------------------------------------------------------------------------------


def watched(*metrics: str) -> InMemoryClient:
    """A client with half of all users in, and guards by their metrics' names."""
    client = InMemoryClient()
    guards = tuple(Guard(id=metric, metric=metric, hash_key="00" * 16, rule="ramped") for metric in metrics)
    client._runtime.holder.receive(
        Snapshot(
            project="p", environment="e", epoch="watched", revision=1,
            flags={HALF.key: HALF}, guards={HALF.key: guards},
        )
    )  # fmt: skip
    return client


def test_guards_compare_the_candidate_with_the_control_of_those_without() -> None:
    client = watched("new-search", "new-search.mismatch")
    let_in = [user for user in USERS if client.is_enabled("new-search", user)]
    others = [user for user in USERS if user not in let_in]

    def candidate(user: str) -> int:
        return fails() if user in let_in[:3] else 2 if user in let_in[:10] else 1  # type: ignore[no-any-return]

    for user in USERS:
        control = fails if user == others[0] else lambda: 1
        try:
            client.dark_launch(
                "new-search", user, control=control, candidate=lambda user=user: candidate(user), inline=True
            )
        except BoomError:
            assert user == others[0]
    taken = client._runtime.recorder.take()
    failures, mismatches = taken["new-search"], taken["new-search.mismatch"]
    assert failures.treatment.counts() == (len(let_in), 3)
    assert failures.control.counts() == (len(others), 1)
    assert failures.treatment.sums.count == len(let_in)
    assert mismatches.treatment.counts() == (len(let_in), 10)
    assert mismatches.control.counts() == (len(others), 0)


def test_a_guard_may_watch_it_by_another_name() -> None:
    client = watched("search")
    for user in USERS:
        client.dark_launch("new-search", user, control=lambda: 1, candidate=lambda: 1, metric="search", inline=True)
    taken = client._runtime.recorder.take()["search"]
    assert taken.treatment.counts()[0] + taken.control.counts()[0] == len(USERS)


def test_usage_reports_tell_of_it_once(client: InMemoryClient) -> None:
    reports = UsageReports(client._runtime.counters, "web-1", "shop")
    inline(client, lambda: 1, lambda: 2)
    inline(client, lambda: 1, lambda: 1)
    told = msgspec.json.decode(reports.next_report() or b"")["dark_launches"]["new-search"]
    assert (told["compared"], told["mismatched"]) == (2, 1)
    assert reports.next_report() is None
    assert UsageReports(client._runtime.counters, "web-2", "shop").next_report() is None  # a forked child's
