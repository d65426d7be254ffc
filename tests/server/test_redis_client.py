"""What using Redis raises while it is away, on the event loop that servers run on."""

import pytest
import uvloop
from redis.exceptions import RedisError

from fader_server.redis_client import FAULTS, redis_client
from services.redis_server import RedisDatabases


def test_a_connection_that_closes_at_this_very_moment(redis_server: RedisDatabases) -> None:
    async def close_and_ask() -> None:
        client = redis_client(redis_server.url)
        assert await client.ping()
        [connection] = client.connection_pool._available_connections
        assert connection._writer is not None
        connection._writer.transport.abort()
        with pytest.raises(FAULTS) as raised:
            await client.ping()
        # If it is one of these by now, there is no need any more to count on the others.
        assert not isinstance(raised.value, (RedisError, OSError))
        assert await client.ping()
        await client.aclose()

    # On a loop of its own: that of the tests around may be asyncio's.
    uvloop.run(close_and_ask())
