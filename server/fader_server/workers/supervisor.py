"""The parent of several workers: starts them, starts again those that die, ends them all, and passes on what they say
to each other. It needs next to nothing, so that nothing happens to it."""

import asyncio
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from contextlib import closing, suppress
from typing import Any, Final

from fader_server.listening import SharedAddress
from fader_server.logs import logger
from fader_server.settings import Settings
from fader_server.workers.hub import Hub

_log = logger(__name__)

_SET_UP_WRONGLY: Final = 2
"""What a worker ends with if somebody must mend something first. It has said what."""

_PAUSES: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds until a worker that died is started again, by how often that has happened in a row."""

_STEADY_SECONDS: Final = 60.0
"""A worker that lived for so long did not die of its start."""

_MARGIN_SECONDS: Final = 5.0
"""By how much longer than a shutdown may take a worker is waited for before it is killed."""

_AT_ONCE_SECONDS: Final = 1.0
"""The same after a second signal."""


def supervise(settings: Settings) -> int:
    """Run the workers until a signal ends them: the first one lets requests finish, a second one does not.

    Returns:
        The exit code: 0 if all went well; that of a worker that could not start for the first time; 1 if one had to be
        killed in the end.

    Raises:
        SettingsError: if the address cannot be had.
    """
    with closing(SharedAddress(settings)) as address:
        return asyncio.run(_Supervisor(settings, address).run())


class _Supervisor:
    def __init__(self, settings: Settings, address: SharedAddress) -> None:
        self._settings = settings
        self._address = address
        self._hub = Hub(self._has_begun)
        self._numbers = range(1, settings.workers + 1)
        self._serving = {number: asyncio.Event() for number in self._numbers}
        self._processes: dict[int, Process] = {}
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for ordering in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(ordering, self._on_signal)
        first, *others = self._numbers
        # One alone at first: it brings the database up to date, and whatever is wrong is said once.
        keeping = [asyncio.create_task(self._keep(first))]
        await self._unless_ending(self._serving[first])
        if not self._ending.is_set():
            keeping += [asyncio.create_task(self._keep(number)) for number in others]
            for number in others:
                await self._unless_ending(self._serving[number])
        if not self._ending.is_set():
            _log.info("listening", url=self._address.url, workers=self._settings.workers)
        await self._ending.wait()
        await self._end(keeping)
        return self._code

    def _has_begun(self, number: int) -> None:
        self._serving[number].set()
        _log.info("a worker serves", worker=number, process=self._processes[number].pid)

    def _on_signal(self) -> None:
        if self._ending.is_set():
            self._hurry.set()
        self._ending.set()

    async def _keep(self, number: int) -> None:
        """See to it that there is a worker of this number, until the end."""
        lives = deaths = 0
        while not self._ending.is_set():
            began = time.monotonic()
            code = await self._live(number)
            if self._ending.is_set():
                return
            lives += 1
            if lives == 1 and self._is_hopeless(number, code):
                self._code = code if code > 0 else 1
                self._ending.set()
                return
            deaths = 0 if code == 0 or time.monotonic() - began > _STEADY_SECONDS else deaths + 1
            pause = _PAUSES[min(deaths, len(_PAUSES) - 1)]
            _log.error("a worker has ended; starting another one", worker=number, why=_reason(code), in_seconds=pause)
            await self._unless_ending(seconds=pause)

    def _is_hopeless(self, number: int, code: int) -> bool:
        """Whether the first end of a worker is everybody's: what one finds wrong with the settings the others find,
        too; and before the first one serves nobody does."""
        return code == _SET_UP_WRONGLY or (number == self._numbers[0] and not self._serving[number].is_set())

    async def _live(self, number: int) -> int:
        """One worker, from its start to its end.

        Returns:
            Its exit code; negative if a signal has killed it.
        """
        ours, theirs = socket.socketpair()
        with theirs, self._address.another() as listening:
            places = (number, self._settings.workers, theirs.fileno(), listening.fileno())
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # what lies in the working directory is not ours
                "-m",
                "fader_server",
                "worker",
                *map(str, places),
                stdin=PIPE,  # into which nothing is written: it ends with this process, however that ends
                pass_fds=places[2:],
                process_group=0,  # Ctrl-C is for us: a worker takes what comes after for impatience
            )
        self._processes[number] = process
        if self._ending.is_set():
            self._signal(signal.SIGTERM)
        await self._hub.admit(number, ours)
        try:
            return await process.wait()
        finally:
            del self._processes[number]
            self._hub.dismiss(number)

    async def _end(self, keeping: list[asyncio.Task[None]]) -> None:
        self._signal(signal.SIGTERM)
        ended: asyncio.Future[Any] = asyncio.gather(*keeping)
        hurry: asyncio.Future[Any] = asyncio.create_task(self._hurry.wait())
        longest = self._settings.shutdown_seconds + _MARGIN_SECONDS
        await asyncio.wait([ended, hurry], timeout=longest, return_when=asyncio.FIRST_COMPLETED)
        if hurry.done():
            self._signal(signal.SIGTERM)
            await asyncio.wait([ended], timeout=_AT_ONCE_SECONDS)
        if self._processes:
            _log.error("workers that do not end are killed", workers=sorted(self._processes))
            self._signal(signal.SIGKILL)
            self._code = self._code or 1
        hurry.cancel()
        await ended

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.send_signal(number)

    async def _unless_ending(self, event: asyncio.Event | None = None, seconds: float | None = None) -> None:
        """Wait for an event, or for some seconds; but no longer than until the end begins."""
        waited_for = [asyncio.create_task(one.wait()) for one in (self._ending, event) if one is not None]
        await asyncio.wait(waited_for, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waited_for:
            task.cancel()


def _reason(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
