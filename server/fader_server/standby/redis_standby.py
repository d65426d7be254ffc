"""Copies of environments in Redis."""

import gzip
import zlib
from typing import Final

import msgspec
from redis.asyncio import Redis

from fader_server.errors import Unavailable
from fader_server.redis_client import FAULTS
from fader_server.standby import EnvironmentCopy

_SAVE: Final = """
local epoch, revision = redis.call('HGET', KEYS[1], 'epoch'), redis.call('HGET', KEYS[1], 'revision')
if epoch == ARGV[1] and tonumber(revision) > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'revision', ARGV[2], 'document', ARGV[3])
return 1
"""
"""In one step, so that a server that is behind never replaces what a faster one has saved."""


class RedisStandby:
    """Implements :class:`fader_server.standby.Standby`.

    Args:
        client: Redis.
        prefix: of the keys, so that several installations can share one Redis.
    """

    def __init__(self, client: Redis, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._save = client.register_script(_SAVE)

    async def save(self, copy: EnvironmentCopy) -> None:
        """Keep this copy, unless there is a newer one of the same epoch."""
        snapshot = copy.snapshot
        document = gzip.compress(msgspec.json.encode(copy), 3, mtime=0)
        try:
            await self._save(
                keys=[self._key(snapshot.project, snapshot.environment)],
                args=[snapshot.epoch, snapshot.revision, document],
            )
        except FAULTS as fault:
            raise _unavailable(fault) from fault

    async def load(self, project: str, environment: str) -> EnvironmentCopy | None:
        """The copy of an environment, if there is one that this version can read."""
        try:
            document = await self._client.hget(self._key(project, environment), "document")
        except FAULTS as fault:
            raise _unavailable(fault) from fault
        if not isinstance(document, bytes):
            return None
        try:
            return msgspec.json.decode(gzip.decompress(document), type=EnvironmentCopy)
        except (msgspec.MsgspecError, OSError, EOFError, zlib.error):
            return None

    def _key(self, project: str, environment: str) -> str:
        # Neither name can hold a colon.
        return f"{self._prefix}:standby:{project}:{environment}"


def _unavailable(fault: BaseException) -> Unavailable:
    return Unavailable(f"Redis cannot be used at the moment ({type(fault).__name__}).")
