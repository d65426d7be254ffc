"""Many followers that speak HTTP and Server-Sent Events by hand, as a proxy would see them, and write down every event.

Nothing of the SDK is used here: what is held against the log is what stood on the wire.
"""

import asyncio
import json
import random
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from faults.history import Event, Opened, Reached, Recorder
from faults.programs.assignment import Assignment, Waypoint, read_assignment, waypoints

_LONGEST_LINE = 4 * 1024 * 1024


class Follower:
    """One stream, opened anew whenever it ends: at another server, and from where it had come to."""

    def __init__(self, assignment: Assignment, number: int, recorder: Recorder) -> None:
        environments = sorted(assignment.keys)
        self.environment = environments[number % len(environments)]
        self.name = f"{assignment.name}-{number}"
        self.trouble = ""
        self._epoch, self._revision = "", 0
        self._key = assignment.keys[self.environment]
        self._urls = assignment.urls
        self._silence = 2.5 * assignment.heartbeat_seconds
        self._recorder = recorder
        self._rng = random.Random(f"{assignment.seed} {self.name}")
        self._connections = 0
        self._moved = asyncio.Event()

    @property
    def revision(self) -> int:
        """What it has come to."""
        return self._revision

    async def arrives(self, revision: int) -> None:
        """Wait until it has come that far."""
        while self._revision < revision:
            self._moved.clear()
            await self._moved.wait()

    async def follow(self) -> None:
        """Until it is cancelled."""
        turn = self._rng.randrange(len(self._urls))
        while True:
            turn += 1
            try:
                await self._connect(self._urls[turn % len(self._urls)])
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self.trouble = f"{type(error).__name__}: {error}"
            await asyncio.sleep(self._rng.uniform(0.05, 0.5))

    async def _connect(self, url: str) -> None:
        address = urlsplit(url)
        async with asyncio.timeout(self._silence):
            reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=_LONGEST_LINE)
        try:
            since = f"{self._epoch}-{self._revision}" if self._epoch else ""
            fields = [f"Host: {address.netloc}", f"Authorization: Bearer {self._key}", "Accept: text/event-stream"]
            fields += [f"Last-Event-ID: {since}"] if since else []
            writer.write("\r\n".join(["GET /sdk/v1/stream HTTP/1.1", *fields, "", ""]).encode())
            async with asyncio.timeout(self._silence):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
            status = int(head.split(" ", 2)[1])
            if status != 200:
                raise ValueError(f"the stream was answered with {status}")
            self._connections += 1
            self._recorder.record(
                Opened(
                    stream=self.name,
                    environment=self.environment,
                    connection=self._connections,
                    at=time.monotonic(),
                    since=since,
                )
            )
            await self._read(reader)
        finally:
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        unread = b""
        while True:
            async with asyncio.timeout(self._silence):
                size = int(await reader.readuntil(b"\r\n"), 16)
                chunk = (await reader.readexactly(size + 2))[:-2]
            if not chunk:
                return
            *events, unread = (unread + chunk).split(b"\n\n")
            for event in events:
                self._take(event.decode())

    def _take(self, event: str) -> None:
        fields = dict(line.split(": ", 1) for line in event.split("\n") if not line.startswith(":"))
        if not fields:
            return  # a comment
        data = json.loads(fields["data"])
        self._recorder.record(
            Event(
                stream=self.name,
                environment=self.environment,
                connection=self._connections,
                at=time.monotonic(),
                id=fields.get("id", ""),
                name=fields["event"],
                data=msgspec.Raw(fields["data"].encode()),
            )
        )
        # As an SDK: what a server that is behind sends is no way back.
        if "revision" in data and (data["epoch"] != self._epoch or data["revision"] > self._revision):
            self._epoch, self._revision = data["epoch"], data["revision"]
            self._moved.set()


async def _run(assignment: Assignment) -> None:
    recorder = Recorder(Path(assignment.history))
    followers = [Follower(assignment, number, recorder) for number in range(assignment.followers)]
    loop = asyncio.get_running_loop()

    def travel() -> None:
        for waypoint in waypoints():
            asyncio.run_coroutine_threadsafe(_arrive(followers, waypoint, recorder), loop).result()

    async with asyncio.TaskGroup() as all_of_them:
        tasks = [all_of_them.create_task(follower.follow()) for follower in followers]
        await asyncio.to_thread(travel)
        for task in tasks:
            task.cancel()


async def _arrive(followers: list[Follower], waypoint: Waypoint, recorder: Recorder) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(waypoint.patience):
            for follower in followers:
                await follower.arrives(waypoint.revisions[follower.environment])
    for follower in followers:
        recorder.record(
            Reached(
                follower=follower.name,
                environment=follower.environment,
                at=time.monotonic(),
                wanted=waypoint.revisions[follower.environment],
                revision=follower.revision,
                detail=follower.trouble,
            )
        )


if __name__ == "__main__":
    asyncio.run(_run(read_assignment()))
