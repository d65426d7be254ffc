"""All streams of one kind that follow one environment."""

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias, TypeVar

from fader_server.distribution.encoding import Encoding
from fader_server.distribution.events import Delivery, Version, body
from fader_server.distribution.fan_out import FanOut
from fader_server.distribution.subscription import Ending, Send, Subscription
from fader_server.telemetry import Metrics
from fader_server.telemetry.catalogue import StreamEvent

Admit: TypeAlias = Callable[[StreamEvent, int], None]
"""Asked with the kind and the bytes of what a stream would begin with; raises if that cannot be sent now."""

_AFTER_THE_END: Final = 1_000  # milliseconds
_WAYS: Final = 32
"""Ways kept: those who lost the same server hold one of a few revisions, and need the same."""

_KnownT = TypeVar("_KnownT", Version, Version | None)


class Followed(Protocol):
    """A feed, as its streams see it."""

    @property
    def version(self) -> Version:
        """What is being served."""

    @property
    def is_over(self) -> bool:
        """Whether the environment is gone."""

    async def come_together(self, since: Version | None) -> None:
        """Get what is needed to go on from a version, as far as it can be had."""


class Streams:
    """Follows a feed, in one encoding. It holds what has been encoded, and who gets it.

    Args:
        feed: What is followed.
        encoding: How it is written.
        metrics: Where it is counted what is sent.
    """

    def __init__(self, feed: Followed, encoding: Encoding, metrics: Metrics) -> None:
        self._feed = feed
        self._encoding = encoding
        self._metrics = metrics
        self._ways: dict[Version, Delivery | None] = {}
        self._beginnings: dict[Version | None, Delivery | None] = {}
        self._subscriptions: set[Subscription] = set()
        self._fan_out = FanOut(self._way, body(encoding.heartbeat), metrics)

    def __len__(self) -> int:
        return len(self._subscriptions)

    @property
    def key_ids(self) -> set[str]:
        """With which SDK keys they came."""
        return {subscription.key_id for subscription in self._subscriptions}

    async def subscribe(
        self, key_id: str, since: Version | None, send: Send, *, admit: Admit = lambda _event, _size: None
    ) -> Subscription:
        """Open a stream.

        Args:
            key_id: The SDK key that it is opened with.
            since: What the client has already.
            send: Sends to the client.
            admit: Asked before it is opened.

        Returns:
            A subscription whose first message brings the client to what is being served. Who has sent that calls
            ``follow``, so that it gets every change from there on. It must be given back to ``unsubscribe``.
        """
        await self._feed.come_together(since)
        # Nothing is awaited from here on, so that no change can come in between.
        way = _once(self._beginnings, since, self._encoding.beginning)
        event: StreamEvent = "change" if way is None else way.event
        first = b"" if way is None else way.message["body"]
        admit(event, len(first))
        subscription = Subscription(key_id, send, first, self._feed.version)
        if self._feed.is_over:
            self.dismiss(subscription, _AFTER_THE_END, Ending.GOODBYE)
            return subscription
        self._subscriptions.add(subscription)
        if way is not None:
            self._metrics.event_sent(event, len(first))
        return subscription

    async def follow(self, subscription: Subscription) -> None:
        """Send whatever has changed since the first message, and everything from then on."""
        await self._fan_out.join(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a stream."""
        self._subscriptions.discard(subscription)
        self._fan_out.remove(subscription)

    def advance(self) -> None:
        """There is a newer version: send it to everybody."""
        self._ways.clear()
        self._beginnings.clear()
        self._fan_out.advance()

    async def beat(self) -> None:
        """Show everybody that the streams live."""
        await self._fan_out.beat()

    def end(self, retry_milliseconds: int, ending: Ending, *, key_id: str | None = None) -> None:
        """Say goodbye to everybody, or to those who came with one key."""
        for subscription in list(self._subscriptions):
            if key_id is None or subscription.key_id == key_id:
                self.dismiss(subscription, retry_milliseconds, ending)

    def dismiss(self, subscription: Subscription, retry_milliseconds: int, ending: Ending) -> None:
        """Say goodbye to one."""
        self._fan_out.dismiss(subscription, ending, self._encoding.goodbye(retry_milliseconds))

    def some(self) -> list[Subscription]:
        """All who listen at this moment."""
        return list(self._subscriptions)

    def _way(self, since: Version) -> Delivery | None:
        here = self._feed.version
        return None if since is here or since == here else _once(self._ways, since, self._encoding.way)


def _once(
    known: dict[_KnownT, Delivery | None], since: _KnownT, made: Callable[[_KnownT], Delivery | None]
) -> Delivery | None:
    if since not in known:
        if len(known) >= _WAYS:
            known.clear()
        known[since] = made(since)
    return known[since]
