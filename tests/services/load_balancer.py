"""A load balancer as production has one: spreads connections over the servers that say they are ready."""

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

_ASK_EVERY = 0.05


class LoadBalancer:
    """Passes each new connection on to the next server whose ``/health/ready`` says 200.

    Args:
        targets: The ports of the servers, on loopback.
    """

    def __init__(self, targets: Sequence[int]) -> None:
        self._targets = list(targets)
        self._ready: dict[int, bool] = {}
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: weakref.WeakSet[asyncio.WriteTransport] = weakref.WeakSet()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(lambda: asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        for target in self._targets:
            asyncio.run_coroutine_threadsafe(self._ask(target), self._loop)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def is_ready(self, target: int) -> bool:
        """Whether a server said 200 the last time that it was asked."""
        return self._ready.get(target, False)

    def _call(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result(10)

    async def _ask(self, target: int) -> None:
        while True:
            self._ready[target] = await self._answers(target)
            await asyncio.sleep(_ASK_EVERY)

    async def _answers(self, target: int) -> bool:
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", target)
                self._transports.add(writer.transport)
                try:
                    writer.write(b"GET /health/ready HTTP/1.1\r\nHost: fader\r\nConnection: close\r\n\r\n")
                    return b" 200 " in await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)  # asyncio itself would let go of it while it waits
        task.add_done_callback(self._tasks.discard)
        self._transports.add(writer.transport)
        with contextlib.suppress(asyncio.CancelledError):  # when the balancer is closed; nobody waits for this
            await self._pass_to_somebody(reader, writer)
        writer.close()

    async def _pass_to_somebody(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in self._targets:
            self._turn += 1
            target = self._targets[self._turn % len(self._targets)]
            if not self._ready.get(target):
                continue
            try:
                onward_reader, onward = await asyncio.open_connection("127.0.0.1", target)
            except OSError:
                continue
            self._transports.add(onward.transport)
            try:
                await asyncio.gather(_pass_on(reader, onward), _pass_on(onward_reader, writer))
            except OSError:
                pass  # one of the two has gone
            finally:
                onward.close()
            return

    def close(self) -> None:
        async def act() -> None:
            self._server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # Those as well that wait to be closed until somebody reads what was written last.
            for transport in list(self._transports):
                transport.abort()
            await asyncio.sleep(0)

        self._call(act)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()


@contextmanager
def balanced(targets: Sequence[int]) -> Iterator[LoadBalancer]:
    """A load balancer before some servers, for the time of a ``with`` block."""
    balancer = LoadBalancer(targets)
    try:
        yield balancer
    finally:
        balancer.close()
