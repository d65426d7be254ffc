"""A TCP proxy that can be told to misbehave as networks do: it delays, cuts, refuses, and swallows."""

import asyncio
import contextlib
import socket
import struct
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

_RESET = struct.pack("ii", 1, 0)
"""For ``SO_LINGER``: closing sends RST instead of FIN."""
_HEAD = 2_000


class TcpProxy:
    """Listens on a port of its own and passes everything on to another one, until told otherwise.

    All methods may be called from any thread, and have taken effect when they return.

    Args:
        target: The port on loopback that is passed on to.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._delay = 0.0
        self._is_refusing = False
        self._flows = asyncio.Event()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter | None]] = set()
        self._transports: weakref.WeakSet[asyncio.WriteTransport] = weakref.WeakSet()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(self._listen)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.accepted = 0
        """How many connections there have been."""
        self.requests: list[bytes] = []
        """How requests of HTTP begin that were passed on: their lines and headers."""

    @property
    def url(self) -> str:
        """What a client of HTTP is given."""
        return f"http://127.0.0.1:{self.port}"

    def _call(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result(10)

    async def _listen(self) -> asyncio.Server:
        self._flows.set()
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    def delay(self, seconds: float) -> None:
        """From now on each piece of data is this late, in each direction. 0 ends it."""
        self._delay = seconds

    def cut(self) -> int:
        """Reset all connections that there are; new ones are welcome. How many there were."""

        async def act() -> int:
            pairs = list(self._pairs)
            for pair in pairs:
                for writer in pair:
                    _reset(writer)
            return len(pairs)

        return self._call(act)

    def refuse(self) -> None:
        """Reset all connections, and each new one at once, until ``restore``."""
        self._is_refusing = True
        self.cut()

    def swallow(self) -> None:
        """A black hole, until ``restore``: connections stay open, new ones are taken, and nothing gets through. What
        was swallowed is passed on afterwards, as TCP would."""

        async def act() -> None:
            self._flows.clear()

        self._call(act)

    def restore(self) -> None:
        """Behave well again."""

        async def act() -> None:
            self._flows.set()

        self._delay, self._is_refusing = 0.0, False
        self._call(act)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._transports.add(writer.transport)
        if self._is_refusing:
            _reset(writer)
            return
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter | None] = (writer, None)
        self._pairs.add(pair)
        try:
            await self._flows.wait()
            onward_reader, onward = await asyncio.open_connection("127.0.0.1", self._target)
            self._transports.add(onward.transport)
            self._pairs.discard(pair)
            pair = (writer, onward)
            self._pairs.add(pair)
            await asyncio.gather(self._pass_on(reader, onward, self.requests), self._pass_on(onward_reader, writer))
        except (OSError, asyncio.CancelledError):  # cancelled when the proxy is closed, by nobody who waits for it
            _reset(writer)
        finally:
            self._pairs.discard(pair)
            for one in pair:
                if one is not None:
                    one.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: list[bytes] | None = None
    ) -> None:
        """Pieces keep their order; a piece waits for its own time, not for that of the one before it."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1_000)

        async def deliver() -> None:
            while True:
                due, data = await late.get()
                await asyncio.sleep(due - self._loop.time())
                await self._flows.wait()
                if not data:
                    with contextlib.suppress(OSError):
                        writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        is_broken = False
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(deliver())
                data = b"?"
                while data:
                    try:
                        data = await reader.read(65_536)
                    except OSError:
                        data = b""
                        _reset(writer)
                    if requests is not None and data.startswith((b"GET /", b"POST /")):
                        requests.append(data[:_HEAD])
                    await late.put((self._loop.time() + self._delay, data))
        except* OSError:
            is_broken = True
        if is_broken:
            raise ConnectionResetError

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


def _reset(writer: asyncio.StreamWriter | None) -> None:
    if writer is None:
        return
    link: socket.socket | None = writer.get_extra_info("socket")
    if link is not None and link.fileno() >= 0:
        with contextlib.suppress(OSError):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@contextmanager
def proxied(target: int) -> Iterator[TcpProxy]:
    """A proxy before a port, for the time of a ``with`` block."""
    proxy = TcpProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
