"""What a process of followers is told, as JSON lines on its standard input: first whom to follow, then, when everything
works again, where it must arrive. It ends with its input."""

import sys
from collections.abc import Iterator

import msgspec
from msgspec import Struct


class Assignment(Struct, frozen=True, kw_only=True):
    """Whom to follow.

    Args:
        name: What its followers' names begin with.
        life: Counted from 1, if the process is started again and again.
        history: The file to record in.
        urls: Servers, or load balancers; followers that can go to several do so by turns.
        keys: SDK keys by environment. Followers are spread over the environments.
        followers: How many.
        flags: What may be asked for.
        heartbeat_seconds: How often a stream must show that it lives.
        folder: For what must outlive the process.
        seed: Of what is drawn.
    """

    name: str
    life: int
    history: str
    urls: tuple[str, ...]
    keys: dict[str, str]
    followers: int
    flags: tuple[str, ...]
    heartbeat_seconds: float
    folder: str
    seed: int


class Waypoint(Struct, frozen=True, kw_only=True):
    """Where to arrive, by environment, and how many seconds that may take."""

    revisions: dict[str, int]
    patience: float


def read_assignment() -> Assignment:
    """Wait for the first line."""
    return msgspec.json.decode(sys.stdin.readline(), type=Assignment)


def waypoints() -> Iterator[Waypoint]:
    """Wait for all the others. Each is to be answered by a line of our own."""
    for line in sys.stdin:
        yield msgspec.json.decode(line, type=Waypoint)
        print(flush=True)
