"""The connection to Redis that the bus and the standby share."""

from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

FAULTS: Final = (RedisError, OSError, TimeoutError, RuntimeError)
"""What using Redis may raise while it is away. ``RuntimeError`` is uvloop's word for a connection that has closed in
this very moment, where asyncio's own loop has none."""

_ANSWER_SECONDS: Final = 1.0
"""Redis answers in a millisecond or is not there. What waits for it can do without."""


def redis_client(url: str) -> Redis:
    """A client that connects when it is first used, and gives up quickly: whoever uses it knows when to try again.

    Raises:
        ValueError: if the URL cannot be read.
    """
    return Redis.from_url(
        url,
        socket_timeout=_ANSWER_SECONDS,
        socket_connect_timeout=_ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
