"""The operator ``in_cidr``: addresses and networks of IPv4 and IPv6."""

import ipaddress
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from fader.operators.operator import Operator, Test

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(text: str) -> Network:
    try:
        # A plain address is the network of one host, and bits beyond the prefix are allowed, as in Unleash.
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is not an address or a network: write it like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"
        ) from None


def _in_cidr(networks: Sequence[Network], _case_insensitive: bool) -> Test:
    def test(value: Any) -> bool:
        if not isinstance(value, str | ipaddress.IPv4Address | ipaddress.IPv6Address):
            return False
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return False
        # An address of the other version is in none of them: `in` says so without raising.
        return any(address in network for network in networks)

    return test


OPERATORS: Final = (
    Operator(name="in_cidr", meaning="is an address in one of the networks", parse=_network, build=_in_cidr),
)
