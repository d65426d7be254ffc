"""The process: its signals, and an orderly end."""

import asyncio
import contextlib
import gc
import resource
import signal
import socket
from collections.abc import Iterator
from types import FrameType
from typing import Final

import uvicorn
from litestar import Litestar

from fader_server.app import create_app, create_asgi
from fader_server.distribution import Distributor
from fader_server.http_connection import ConnectionLimits, Oversight
from fader_server.listening import BACKLOG, listening_socket, url_of
from fader_server.logs import logger
from fader_server.settings import Settings, SettingsError
from fader_server.telemetry import Telemetry
from fader_server.workers.link import Link

_log = logger(__name__)

_OTHER_FILES: Final = 256
"""Open files that are no connections of clients: databases, logs, and those for probes."""

_COLLECT: Final = (20_000, 20, 20)
"""Objects until the collector looks at the newest, and how much rarer at those that have outlived that."""

_SHARE_FOR_GOODBYES: Final = 0.4
"""Of the time that a shutdown may take."""

_GOODBYES_A_SECOND: Final = 2_000
"""Each is a client that will soon ask another server for a stream: as fast as those can take them in."""


def serve(settings: Settings) -> None:
    """Serve until a signal ends it: the first one lets requests finish, a second one does not.

    Raises:
        SettingsError: if it cannot start.
    """
    serve_at(listening_socket(settings), settings)


def serve_at(listening: socket.socket, settings: Settings, link: Link | None = None) -> None:
    """The same, at a socket that is bound already.

    Args:
        listening: The socket. It is closed in the end.
        settings: Everything else.
        link: What ties this process to others, if it is one of several that are one node.
    """
    app = create_app(settings, link)
    telemetry: Telemetry = app.state.telemetry
    asgi, shortcuts = create_asgi(app, settings)
    oversight = Oversight(
        ConnectionLimits(
            connections=_connections(settings.max_connections),
            head_bytes=settings.max_head_bytes,
            url_bytes=settings.max_url_bytes,
            request_seconds=settings.request_seconds,
            stuck_seconds=settings.stuck_seconds,
        ),
        telemetry.metrics.admission_refused,
        shortcuts,
    )
    config = uvicorn.Config(
        asgi,
        interface="asgi3",
        http=oversight.protocol(),
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=max(1, round(settings.shutdown_seconds * (1 - _SHARE_FOR_GOODBYES))),
    )
    server = _Server(config, app, settings, listening, oversight, link)
    try:
        server.run(sockets=[listening])
    finally:
        listening.close()
    if server.failure is not None:
        raise server.failure


def _connections(wanted: int) -> int:
    """As many of these as the process may have open files for. The limit is raised if it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < files:
        soft = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= files:
        return wanted
    possible = max(soft - _OTHER_FILES, 1)
    _log.warning("fewer connections than FADER_MAX_CONNECTIONS: raise the limit of open files", connections=possible)
    return possible


def _spare_the_collector() -> None:
    """Python looks for cycles after every 700 new objects, which is a handful of streams, and through everything that
    there is whenever a quarter has been added: half of the time when thousands of clients come at once. What is there
    now stays, and need not be looked at again; and of what comes, little is in cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)


class _Server(uvicorn.Server):
    """Says goodbye to streams before it waits for them, and takes signals as an order to end, not as a failure."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: Litestar,
        settings: Settings,
        listening: socket.socket,
        oversight: Oversight,
        link: Link | None,
    ) -> None:
        super().__init__(config)
        self._link = link
        self._oversight = oversight
        self._app = app
        self._settings = settings
        self._listening = listening
        self.failure: SettingsError | None = None
        app.state.give_up = self._give_up

    def _give_up(self, failure: SettingsError) -> None:
        self.failure = failure
        self.should_exit = True

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        # Not by the ASGI lifespan protocol, which knows failures as text only.
        try:
            async with self._app.lifespan():
                watching = asyncio.create_task(self._oversight.watch())
                try:
                    await super().serve(sockets)
                finally:
                    watching.cancel()
        except* SettingsError as group:
            self.failure = next(error for error in group.exceptions if isinstance(error, SettingsError))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            _spare_the_collector()
            if self._link is None:
                _log.info("listening", url=url_of(self._listening))
            else:
                self._link.serving()  # and the parent says that we listen, when all do

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _log.info("shutting down")
        if self._link is not None and not self._link.is_connected:
            # The parent is gone, and whoever starts another one wants the address.
            for server in self.servers:
                server.close()
        if not self.force_exit:
            await self._leave()
        for server in self.servers:
            server.close()
        await self._app.state.admin.bus.close()
        await super().shutdown(sockets=sockets)
        _log.info("stopped")

    async def _leave(self) -> None:
        """Say that we are going, and still answer: until load balancers have heard it, they send requests here."""
        distributor: Distributor = self._app.state.distributor
        longest = self._settings.shutdown_seconds * _SHARE_FOR_GOODBYES
        drain = asyncio.sleep(min(self._settings.drain_seconds, self._settings.shutdown_seconds))
        leaving = asyncio.gather(drain, distributor.farewell(min(longest, distributor.streams / _GOODBYES_A_SECOND)))
        while not leaving.done() and not self.force_exit:
            await asyncio.wait([leaving], timeout=0.1)
        leaving.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        del sig, frame
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # As inherited, but the signal is not raised again afterwards: an end that was asked for is no failure.
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
