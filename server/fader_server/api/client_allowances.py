"""What may be asked with a client key: an allowance for each address that it is used from.

Everybody who opens a page has its key, so one allowance for the key would let any of them use up that of all others.
"""

import ipaddress
from collections.abc import Callable
from typing import Final

from fader_server.api.turnstile import Turnstile

_KEYS: Final = 10_000
_ADDRESSES: Final = 50_000

_NETWORK_BITS: Final = 64
"""Of an IPv6 address: the rest is the owner's to choose (RFC 4291, section 2.5.1), and changes by itself."""


class ClientAllowances:
    """The allowances of all client keys.

    Args:
        allowance: Makes a new one.
    """

    def __init__(self, allowance: Callable[[], Turnstile]) -> None:
        self._allowance = allowance
        self._keys: dict[int, None] = {}
        self._of: dict[tuple[int, str], Turnstile] = {}

    def introduce(self, key: int) -> None:
        """A key has let somebody in."""
        if key not in self._keys:
            if len(self._keys) >= _KEYS:
                del self._keys[next(iter(self._keys))]
            self._keys[key] = None

    def of(self, key: int, host: str) -> Turnstile | None:
        """The allowance of an address; ``None`` where the key has let nobody in yet.

        Args:
            key: The key's hash.
            host: The address.
        """
        if key not in self._keys:
            return None
        known = self._of.get((key, host))
        if known is None:
            asker = key, network_of(host)
            known = self._of.get(asker)
            if known is None:
                if len(self._of) >= _ADDRESSES:
                    del self._of[next(iter(self._of))]
                known = self._of[asker] = self._allowance()
        return known


def network_of(host: str) -> str:
    """What is taken for one asker: an IPv4 address, or the network that an IPv6 address is in."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), _NETWORK_BITS), strict=False).network_address)
