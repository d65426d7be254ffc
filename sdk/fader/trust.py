"""Which certificates a client believes, and which proxy stands before its server.

Certificates are read once, on the application's thread: OpenSSL does it under locks of its own, and a fork while the
daemon thread held one would leave the child with a lock that nobody opens. A forked child goes on with what its
parent has read.
"""

import contextlib
import ssl
import urllib.request
from typing import Final
from urllib.parse import urlsplit

from fader.config import Settings
from fader.tls import client_context

_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Trust:
    """How to reach a server and how to verify it.

    Args:
        settings: Which server it is, and whom to trust.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context: ssl.SSLContext | None = None
        # What fails now will fail again, and be reported, when a connection is to be made.
        with contextlib.suppress(OSError, ValueError):
            self.context()

    def proxy(self) -> str | None:
        """The URL of the proxy that the environment names for this server.

        Raises:
            ValueError: It is of a kind that cannot be used.
        """
        return proxy_before(self._settings.url)

    def context(self) -> ssl.SSLContext | None:
        """How to verify the server; ``None`` where nothing is encrypted.

        Raises:
            OSError: The certificates cannot be read.
            ValueError: The proxy cannot be used.
        """
        if not (self._settings.url.startswith("https:") or (self.proxy() or "").startswith("https:")):
            return None
        # gevent replaces the class when it patches a process. A context of the old one would block all greenlets.
        if type(self._context) is not ssl.SSLContext:
            self._context = client_context(self._settings.ca_file)
        return self._context


def proxy_before(url: str) -> str | None:
    """The URL of the proxy that the environment names for a server (``HTTPS_PROXY``, ``NO_PROXY``, …).

    A server on this same machine is never asked for by way of another.
    Only the environment is asked: what macOS keeps in its system settings cannot be read safely after a fork.

    Args:
        url: The server's.

    Raises:
        ValueError: It is of a kind that cannot be used.
    """
    parts = urlsplit(url)
    proxy = urllib.request.getproxies_environment().get(parts.scheme)
    if not proxy or parts.hostname in _HERE or urllib.request.proxy_bypass_environment(parts.netloc):  # type: ignore[attr-defined]
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if urlsplit(proxy).scheme not in {"http", "https"}:
        raise ValueError("only HTTP and HTTPS proxies are supported")
    return proxy
