"""A load generator that costs less than any server: the same request again and again, on a few connections.

Started as a program of its own, it prints how many answers a second it got. It reads the first answer with care, and
of the others only status and size, which must be the same.
"""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import uvloop

CONNECTIONS: Final = 16


class Job(msgspec.Struct, frozen=True):
    """What to do.

    Args:
        port: Of the server, on loopback.
        request: The bytes to send, head and body.
        seconds: For how long.
        status: What every answer must be.
        connections: How many ask at once.
        varies: Whether answers may differ in size, so that each of their heads is read; for servers of others.
    """

    port: int
    request: str
    seconds: float
    status: int
    connections: int = CONNECTIONS
    varies: bool = False


class Result(msgspec.Struct, frozen=True):
    """How it went.

    Args:
        per_second: Answers.
        size: Bytes of one answer.
    """

    per_second: float
    size: int


class _Asking(asyncio.Protocol):
    """One connection: sends the next request when the answer to the last one is complete."""

    def __init__(self, job: Job) -> None:
        self._request = job.request.encode()
        self._status = f"HTTP/1.1 {job.status} ".encode()
        self._varies = job.varies
        self._head = b""
        self._missing = 0
        self._transport: asyncio.WriteTransport | None = None
        self.size = 0
        self.answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is one by its methods only
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.size and not self._varies:
            if self._missing == self.size and not data.startswith(self._status):
                raise SystemExit(f"an answer that was not asked for: {data[:200]!r}")
            self._missing -= len(data)
            if self._missing < 0:
                raise SystemExit("an answer has another size than the first one")
            if self._missing == 0:
                self._next()
            return
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(self._status):
            raise SystemExit(f"an answer that was not asked for: {head[:200]!r}")
        length = next((line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0")
        self.size = len(head) + 4 + int(length)
        self._missing = self.size - len(head) - 4 - len(body)
        if self._missing == 0:
            self._next()

    def _next(self) -> None:
        self.answers += 1
        self._missing = self.size
        self._head = b""
        assert self._transport is not None
        self._transport.write(self._request)


async def _ask(job: Job) -> Result:
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(lambda: _Asking(job), "127.0.0.1", job.port) for _ in range(job.connections)]
    began = time.perf_counter()
    before = sum(asking.answers for _, asking in opened)
    await asyncio.sleep(job.seconds)
    answers = sum(asking.answers for _, asking in opened) - before
    took = time.perf_counter() - began
    for transport, _ in opened:
        transport.abort()
    if not answers:
        raise SystemExit("there was no answer")
    return Result(answers / took, opened[0][1].size)


def throughput(job: Job) -> Result:
    """Do the job in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "loadtests.requests"],
        input=msgspec.json.encode(job),
        capture_output=True,
        timeout=job.seconds + 30,
        cwd=Path(__file__).parent.parent,
        check=False,
    )
    if ran.returncode:
        raise SystemExit(ran.stderr.decode())
    return msgspec.json.decode(ran.stdout, type=Result)


def get(path: str, **headers: Any) -> str:
    """The text of a GET request."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: fader\r\n{lines}\r\n"


def post(path: str, body: bytes, **headers: Any) -> str:
    """The text of a POST request with JSON."""
    about = {"Content-Type": "application/json", "Content-Length": len(body)} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in about.items())
    return f"POST {path} HTTP/1.1\r\nHost: fader\r\n{lines}\r\n{body.decode()}"


if __name__ == "__main__":
    done = uvloop.run(_ask(msgspec.json.decode(sys.stdin.buffer.read(), type=Job)))
    print(json.dumps(msgspec.to_builtins(done)))
