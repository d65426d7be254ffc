"""Streams of Unleash's SDKs, as those see them who want to know which process has what.

These SDKs acknowledge nothing. So who has a stream is taken for one that polls, and asks again and again for as long as
it is open; what it has is what it was sent last.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fader_server.access import SdkPrincipal
from fader_server.clients import Gathering, Identity
from fader_server.distribution import Subscription
from fader_server.distribution.events import Version

_LOOK_SECONDS: Final = 1.0
_ROUNDS: Final = 60
"""After so many looks it is said again that a process is there, also if nothing has changed."""


class _Follower:
    __slots__ = ("identity", "noted", "principal", "subscription")

    def __init__(self, principal: SdkPrincipal, identity: Identity, subscription: Subscription) -> None:
        self.principal = principal
        self.identity = identity
        self.subscription = subscription
        self.noted: Version | None = None


class Followers:
    """All of them at this node.

    Args:
        gathering: Whom to tell.
    """

    def __init__(self, gathering: Gathering) -> None:
        self._gathering = gathering
        self._followers: set[_Follower] = set()

    @contextmanager
    def following(
        self, principal: SdkPrincipal, identity: Identity | None, subscription: Subscription
    ) -> Iterator[None]:
        """One more, for as long as the context is open; nobody knows of it if it does not say who it is."""
        if identity is None:
            yield
            return
        follower = _Follower(principal, identity, subscription)
        self._note(follower)
        self._followers.add(follower)
        try:
            yield
        finally:
            self._followers.discard(follower)

    async def run(self) -> None:
        """Tell of them, until cancelled."""
        rounds = 0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            rounds += 1
            for follower in tuple(self._followers):
                if rounds % _ROUNDS == 0 or follower.noted is not follower.subscription.version:
                    self._note(follower)

    def _note(self, follower: _Follower) -> None:
        version = follower.noted = follower.subscription.version
        place = follower.principal.project, follower.principal.environment
        self._gathering.polled(*place, follower.identity, version.epoch, version.revision)
