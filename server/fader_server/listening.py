"""Where clients connect: sockets, bound before anything else is started, so that an address that cannot be had is said
first of all."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fader_server.settings import Settings, SettingsError

BACKLOG: Final = 4_096
"""Connections that wait to be accepted. Linux allows no more by itself."""

_LATER_THAN_WE: Final = 10.0
"""Seconds, at most, by which the kernel gives a connection up later than we do: so who does not read is counted."""

_SPREADS: Final = sys.platform == "linux"
"""Whether the kernel spreads connections evenly over sockets that share an address: https://lwn.net/Articles/542629/."""


def listening_socket(settings: Settings) -> socket.socket:
    """A socket that listens where the settings say.

    Raises:
        SettingsError: if the address cannot be had.
    """
    with _named_in_errors(settings):
        made = _bound(settings, settings.port)
        try:
            made.listen(BACKLOG)
        except BaseException:
            made.close()
            raise
        return made


class SharedAddress:
    """An address at which several processes of this user listen. It is held from the beginning, also while none does.

    Args:
        settings: Where.

    Raises:
        SettingsError: if the address cannot be had.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        with _named_in_errors(settings):
            # Alone at first, so that somebody else's address is refused; shared only with those who come after.
            self._held = _bound(settings, settings.port)
            if _SPREADS:
                self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    @property
    def url(self) -> str:
        """What clients find there."""
        return url_of(self._held)

    def another(self) -> socket.socket:
        """A socket for a process that will listen there.

        Where the kernel spreads connections it is one of its own: what waits to be accepted goes down with a process
        that dies, and what comes after goes to the others. Elsewhere all have the same one.
        """
        if not _SPREADS:
            return self._held.dup()
        return _bound(self._settings, self._held.getsockname()[1], is_shared=True)

    def close(self) -> None:
        """Let go of it."""
        self._held.close()


def url_of(made: socket.socket) -> str:
    """The URL of a server that has this socket."""
    host, port = made.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _named_in_errors(settings: Settings) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(
            (
                f"FADER_HOST and FADER_PORT: cannot listen on {settings.host}:{settings.port} "
                f"({error.strerror or error}); choose another port, for instance FADER_PORT=8081",
            )
        ) from None


def _bound(settings: Settings, port: int, *, is_shared: bool = False) -> socket.socket:
    host = settings.host.removeprefix("[").removesuffix("]")  # as in a URL
    (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # `::` is for IPv4, too
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Connections inherit it. Of a client whose host has vanished the kernel would else hope to hear for a
            # quarter of an hour (RFC 5482).
            seconds = settings.stuck_seconds + min(settings.stuck_seconds, _LATER_THAN_WE)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made
