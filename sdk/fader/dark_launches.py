"""New code under production's load, before anybody sees what it says.

The application gets what the control does, always. For users whom the flag lets in, the candidate runs as well, after
the control has answered and beside the application; what the two did is compared, counted, and recorded for the guards
of ramps. Nothing of it is ever raised, and nothing waits: what there is no room for is left out, and counted.
"""

import contextvars
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from msgspec import Struct

from fader.background import Background
from fader.counters import DarkCount, UsageCounters

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

MOST_TASKS: Final = 64
"""Candidates that are coroutines and run at the same time."""


class Records(Protocol):
    """Where guards learn what became of users."""

    def watches(self, metric: str) -> bool:
        """Whether a guard may be interested."""

    def record(self, metric: str, context: object, failed: bool, value: float | None) -> None:
        """As ``Client.record``."""


class Launch(Struct, frozen=True):
    """What ``Client.dark_launch`` was given, beside the control."""

    key: str
    context: Any
    candidate: Callable[[], Any]
    compare: Callable[[Any, Any], Any]
    metric: str
    sample: float
    inline: bool

    @property
    def differing(self) -> str:
        """The name under which it is recorded whether the two did the same."""
        return f"{self.metric}.mismatch"


class Done(Struct, frozen=True):
    """What the control or the candidate did: returned something or raised, and how many milliseconds it took."""

    result: Any
    error: BaseException | None
    took: float


class DarkLaunches:
    """Runs the candidates of one client.

    Args:
        recorder: Where guards learn what became of users.
        counters: Where it is counted, for people.
        complain: Says once for each cause that something went wrong.
    """

    def __init__(self, recorder: Records, counters: UsageCounters, complain: Callable[[str, str], None]) -> None:
        self._recorder = recorder
        self._counters = counters
        self._complain = complain
        self._background = Background()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pid = os.getpid()

    def run(self, is_enabled: Callable[[str, Any], bool], launch: Launch, control: Callable[[], T]) -> T:
        """As ``Client.dark_launch``."""
        try:
            treated = self._side(is_enabled, launch)
        except Exception as error:  # noqa: BLE001 (never raises, whatever it is given)
            self._refuse(launch, error)
            treated = None
        if treated is None:
            return control()
        began = time.perf_counter()
        try:
            result = control()
        except Exception as error:
            self._conclude(launch, treated, Done(None, error, _since(began)))
            raise
        if _is_coroutine(result):
            return cast("T", self._awaited(launch, treated, cast("Awaitable[Any]", result)))
        self._conclude(launch, treated, Done(result, None, _since(began)))
        return result

    def _side(self, is_enabled: Callable[[str, Any], bool], launch: Launch) -> bool | None:
        """Whether the candidate is to run as well; ``None`` if nobody wants to know of the control either."""
        # Both sides by the same share: else fewer users would be seen with the feature than its rollout lets in.
        if launch.sample < 1 and random.random() >= launch.sample:
            return None
        if is_enabled(launch.key, launch.context):
            return True
        watches = self._recorder.watches
        return False if watches(launch.metric) or watches(launch.differing) else None

    def _conclude(self, launch: Launch, treated: bool, control: Done) -> None:
        """The control is done: run the candidate beside, or record the control."""
        try:
            if not treated:
                self._record(launch, failed=control.error is not None, took=control.took, differs=False)
            elif launch.inline:
                self._try_out(launch, control)
            elif not self._background.submit(partial(contextvars.copy_context().run, self._try_out, launch, control)):
                self._count(launch, "dropped")
        except Exception as error:  # noqa: BLE001 (it must not cost the application its answer)
            self._refuse(launch, error)

    def _try_out(self, launch: Launch, control: Done) -> None:
        began = time.perf_counter()
        try:
            result = launch.candidate()
            if _is_coroutine(result):
                result.close()
                raise TypeError("the candidate is a coroutine, and the control is none")
            done = Done(result, None, _since(began))
        except (Exception, SystemExit) as error:  # noqa: BLE001 (what the candidate does is no matter of the caller's)
            done = Done(None, error, _since(began))
        self._compare(launch, control, done)

    # --- coroutines -------------------------------------------------------------------------------------------

    async def _awaited(self, launch: Launch, treated: bool, control: Awaitable[T]) -> T:
        began = time.perf_counter()
        try:
            result = await control
        except Exception as error:
            await self._conclude_later(launch, treated, Done(None, error, _since(began)))
            raise
        await self._conclude_later(launch, treated, Done(result, None, _since(began)))
        return result

    async def _conclude_later(self, launch: Launch, treated: bool, control: Done) -> None:
        if not treated:
            self._conclude(launch, treated, control)
            return
        try:
            if launch.inline:
                await self._try_out_later(launch, control)
            else:
                self._begin(launch, control)
        except Exception as error:  # noqa: BLE001 (as above)
            self._refuse(launch, error)

    def _begin(self, launch: Launch, control: Done) -> None:
        import asyncio

        if self._pid != os.getpid():
            self._tasks, self._pid = set(), os.getpid()  # those of the parent
        if len(self._tasks) >= MOST_TASKS:
            # Of a loop that was closed in the midst of them, tasks are never done.
            self._tasks = {task for task in self._tasks if not task.get_loop().is_closed()}
        if len(self._tasks) >= MOST_TASKS:
            self._count(launch, "dropped")
            return
        # Loops know their tasks by weak references only.
        task = asyncio.get_running_loop().create_task(self._beside(launch, control), name="fader-dark-launch")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._tasks.discard(done))

    async def _beside(self, launch: Launch, control: Done) -> None:
        import asyncio

        await asyncio.sleep(0)  # the caller goes first, in loops too that begin tasks at once
        try:
            await self._try_out_later(launch, control)
        except Exception as error:  # noqa: BLE001 (as above)
            self._refuse(launch, error)

    async def _try_out_later(self, launch: Launch, control: Done) -> None:
        import asyncio

        began = time.perf_counter()
        try:
            result = launch.candidate()
            done = Done(await result if _is_coroutine(result) else result, None, _since(began))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # it is us who are cancelled
            done = Done(None, error, _since(began))
        except (Exception, SystemExit) as error:  # noqa: BLE001 (as above)
            done = Done(None, error, _since(began))
        self._compare(launch, control, done)

    # --- what came of it --------------------------------------------------------------------------------------

    def _compare(self, launch: Launch, control: Done, candidate: Done) -> None:
        differs = True
        if candidate.error is not None and control.error is None:
            self._count(launch, "candidate_raised")
            self._say(launch, candidate.error, "raised")
        elif control.error is not None and candidate.error is None:
            self._count(launch, "control_raised")
        else:
            differs = not self._are_alike(launch, control, candidate)
            self._count(launch, "mismatched", int(differs))
            self._count(launch, "control_us", round(control.took * 1000))
            self._count(launch, "candidate_us", round(candidate.took * 1000))
        self._count(launch, "compared")
        self._record(launch, failed=candidate.error is not None, took=candidate.took, differs=differs)

    def _are_alike(self, launch: Launch, control: Done, candidate: Done) -> bool:
        if control.error is not None:
            return type(control.error) is type(candidate.error)
        try:
            return bool(launch.compare(control.result, candidate.result))
        except Exception as error:  # noqa: BLE001 (what cannot be compared is not the same)
            self._say(launch, error, "could not be compared, which raised")
            return False

    def _record(self, launch: Launch, *, failed: bool, took: float, differs: bool) -> None:
        self._recorder.record(launch.metric, launch.context, failed, took)
        self._recorder.record(launch.differing, launch.context, differs, None)

    def _count(self, launch: Launch, what: DarkCount, by: int = 1) -> None:
        if by:
            self._counters.of_dark_launch(launch.key, what)[0] += by

    def _say(self, launch: Launch, error: BaseException, what: str) -> None:
        # No more than its kind: its text may hold anybody's data.
        kind = type(error).__name__
        self._complain(
            f"dark launch {launch.key} {what} {kind}",
            f"the candidate of {launch.key!r} {what} {kind}; nobody has seen it",
        )

    def _refuse(self, launch: Launch, error: Exception) -> None:
        kind = type(error).__name__
        self._complain(f"dark launch {kind}", f"a dark launch of {launch.key!r} is left out: that raised {kind}")


def _is_coroutine(result: object) -> bool:
    # The second is for those that are compiled.
    return type(result) is CoroutineType or isinstance(result, Coroutine)


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
