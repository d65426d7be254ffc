"""Blocks and functions that are measured: how they ended, and how long they took."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fader.measuring import Measurement


class Records:
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.is_watched = True
        self.recorded: list[tuple[str, Any, bool]] = []
        self.took: list[float] = []
        self.refusals: list[Exception] = []

    def watches(self, metric: str) -> bool:
        return self.is_watched

    def record(self, metric: str, context: Any, failed: bool, value: float | None) -> None:
        assert value is not None
        self.recorded.append((metric, context, failed))
        self.took.append(value)

    def refuse(self, metric: str, error: Exception) -> None:
        self.refusals.append(error)

    def measure(self, context: Any = "ada") -> Measurement:
        return Measurement(self, "checkout", context)


@pytest.fixture
def records() -> Records:
    return Records()


def test_a_block_that_ends_well(records: Records) -> None:
    with records.measure():
        assert records.recorded == []
    assert records.recorded == [("checkout", "ada", False)]


def test_a_block_that_raises_fails_and_its_exception_passes(records: Records) -> None:
    with pytest.raises(ZeroDivisionError), records.measure():
        _ = 1 / 0
    assert records.recorded == [("checkout", "ada", True)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_what_says_nothing_about_the_code_is_not_recorded(records: Records, error: type[BaseException]) -> None:
    with pytest.raises(error), records.measure():
        raise error
    assert records.recorded == []


def test_the_time_is_in_milliseconds(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((10.0, 10.25))
    monkeypatch.setattr("fader.measuring.time.perf_counter", lambda: next(times))
    with records.measure():
        pass
    assert records.took == [250.0]


def test_a_block_that_nobody_watches_is_not_measured(records: Records) -> None:
    records.is_watched = False
    with records.measure():
        records.is_watched = True
    assert records.recorded == []


def test_functions_are_measured_call_by_call(records: Records) -> None:
    @records.measure()
    def divide(one: int, other: int) -> float:
        """Divide."""
        return one / other

    assert divide(1, other=2) == 0.5
    with pytest.raises(ZeroDivisionError):
        divide(1, 0)
    assert records.recorded == [("checkout", "ada", False), ("checkout", "ada", True)]
    assert (divide.__name__, divide.__doc__) == ("divide", "Divide.")


def test_a_function_that_calls_itself_is_measured_each_time(records: Records) -> None:
    @records.measure()
    def count_down(number: int) -> None:
        if number:
            count_down(number - 1)

    count_down(3)
    assert len(records.recorded) == 4
    assert records.took == sorted(records.took)


def test_coroutines_are_measured_to_their_end(records: Records) -> None:
    @records.measure(lambda user: user)
    async def pay(user: str) -> str:
        await asyncio.sleep(0)
        assert ("checkout", user, False) not in records.recorded
        return user

    async def both() -> None:
        assert await asyncio.gather(pay("ada"), pay("grace")) == ["ada", "grace"]
        async with records.measure("linus"):
            pass

    asyncio.run(both())
    assert records.recorded == [("checkout", user, False) for user in ("ada", "grace", "linus")]


def test_a_cancelled_coroutine_is_not_recorded(records: Records) -> None:
    @records.measure()
    async def wait() -> None:
        await asyncio.Event().wait()

    async def cancel() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert records.recorded == []


def test_the_context_comes_from_the_arguments(records: Records) -> None:
    @records.measure(lambda cart, user: user)
    def checkout(cart: list[str], user: str) -> int:
        return len(cart)

    assert checkout(["book"], "ada") == 1
    assert checkout([], user="grace") == 0
    assert [context for _, context, _ in records.recorded] == ["ada", "grace"]


def test_a_context_that_cannot_be_made_costs_the_function_nothing(records: Records) -> None:
    wrong: Callable[..., str] = lambda cart: cart.owner  # noqa: E731

    @records.measure(wrong)
    def checkout(cart: object) -> str:
        return "done"

    assert checkout(object()) == "done"
    assert records.recorded == []
    assert len(records.refusals) == 1
