"""Records how a piece of code went: whether it raised, and how long it took."""

import functools
import inspect
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Records(Protocol):
    """Where the result goes."""

    def watches(self, metric: str) -> bool:
        """Whether it may be of interest."""

    def record(self, metric: str, context: Any, failed: bool, value: float | None) -> None:
        """As ``Client.record``."""

    def refuse(self, metric: str, error: Exception) -> None:
        """Say, once, that something cannot be recorded."""


class Measurement:
    """Measures a block of code, or each call of a function.

    What is no ``Exception`` (a cancelled task, Ctrl-C, the end of a generator) says nothing about the code, and is not
    recorded.

    Args:
        records: Where the result goes.
        metric: Under which name.
        context: Whom the code runs for; or, to decorate a function, what gives it, from the function's arguments.
    """

    __slots__ = ("_began", "_context", "_metric", "_records")

    def __init__(self, records: Records, metric: str, context: Any) -> None:
        self._records = records
        self._metric = metric
        self._context = context
        self._began: float | None = None

    def __enter__(self) -> Self:
        if self._records.watches(self._metric):
            self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        began, self._began = self._began, None
        if began is not None:
            self._finish(began, kind)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function or a coroutine function."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(*args: P.args, **named: P.kwargs) -> Any:
                with self._of_call(*args, **named):
                    return await function(*args, **named)

            return later  # type: ignore[return-value]

        @functools.wraps(function)
        def now(*args: P.args, **named: P.kwargs) -> R:
            with self._of_call(*args, **named):
                return function(*args, **named)

        return now

    def _of_call(self, *args: Any, **named: Any) -> "Measurement":
        context = self._context
        if callable(context) and self._records.watches(self._metric):
            try:
                context = context(*args, **named)
            except Exception as error:  # noqa: BLE001 (it must not cost the application its function)
                self._records.refuse(self._metric, error)
                return Measurement(_NOWHERE, self._metric, None)
        return Measurement(self._records, self._metric, context)

    def _finish(self, began: float, kind: type[BaseException] | None) -> None:
        if kind is None or issubclass(kind, Exception):
            took = (time.perf_counter() - began) * 1000
            self._records.record(self._metric, self._context, kind is not None, took)


class _Nowhere:
    """For a call of which nothing can be recorded."""

    def watches(self, _metric: str) -> bool:
        return False

    def record(self, metric: str, context: Any, failed: bool, value: float | None) -> None:
        """Nothing."""

    def refuse(self, metric: str, error: Exception) -> None:
        """Nothing."""


_NOWHERE = _Nowhere()
