"""TLS that a fork cannot catch inside OpenSSL.

OpenSSL guards what all connections share by locks of its own, and holds them for moments while it shakes hands. A fork
by another thread in such a moment leaves the child with a lock that nobody will ever open, and the child's own
handshake waits for ever. A server that loads an application and then forks does it in just these milliseconds.

So OpenSSL is called only for as long as it computes, never while it waits for the network, and each time under a lock
that a fork waits for. Where Python's hooks before a fork are not run, the moments stay, but they are short ones.
"""

import _thread
import os
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from urllib3.util import wait_for_read, wait_for_write

from fader import forking

T = TypeVar("T")

_FORK_WAITS: Final = 1.0
"""Seconds after which a fork goes on regardless. A computation takes a thousandth of that."""

_computing = _thread.allocate_lock()
_forking: set[int] = set()


class ForkableSocket(ssl.SSLSocket):
    """A TLS socket that is outside OpenSSL while it waits."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: ARG002 (the socket's timeout says it)
        """Shake hands, within the socket's timeout."""
        self._in_steps(super().do_handshake)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Read what there is or, within the socket's timeout, what comes."""
        receive = super().recv_into
        return self._in_steps(lambda: receive(buffer, nbytes, flags))

    def send(self, data: Any, flags: int = 0) -> int:
        """Write as much as is taken, within the socket's timeout."""
        send = super().send
        return self._in_steps(lambda: send(data, flags))

    def _in_steps(self, step: Callable[[], T]) -> T:
        timeout = self.gettimeout()
        deadline = None if timeout is None else time.monotonic() + timeout
        self.settimeout(0.0)
        try:
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                try:
                    with _computing:
                        return step()
                except ssl.SSLWantReadError:
                    is_time_left = wait_for_read(self, timeout=left)
                except ssl.SSLWantWriteError:
                    is_time_left = wait_for_write(self, timeout=left)
                if not is_time_left:
                    raise TimeoutError("timed out")
        finally:
            self.settimeout(timeout)


def client_context(ca_file: str | os.PathLike[str] | None) -> ssl.SSLContext:
    """How to verify servers, and to speak to them so that a fork does no harm.

    Args:
        ca_file: Certificates to trust instead of the system's.

    Raises:
        OSError: The certificates cannot be read.
    """
    context = ssl.create_default_context(cafile=ca_file)
    # gevent's sockets are another class, and need none of this: no greenlet forks while another one computes.
    if ssl.SSLSocket.__module__ == ssl.__name__:
        context.sslsocket_class = ForkableSocket
    return context


def _before_fork() -> None:
    if _computing.acquire(timeout=_FORK_WAITS):
        _forking.add(_thread.get_ident())


def _after_fork_in_parent() -> None:
    if _thread.get_ident() in _forking:
        _forking.discard(_thread.get_ident())
        _computing.release()


def _after_fork_in_child() -> None:
    global _computing
    _computing = _thread.allocate_lock()
    _forking.clear()


forking.do_first_in_child(_after_fork_in_child)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent)
