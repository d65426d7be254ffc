"""What a process of followers is told, as one JSON line on its standard input; a second line tells it to come to an
end."""

import sys

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


class Ending(Struct, frozen=True, kw_only=True):
    """Where to arrive, by environment, and how many seconds that may take."""

    revisions: dict[str, int]
    patience: float


def read_assignment() -> Assignment:
    """Wait for the first line."""
    return msgspec.json.decode(sys.stdin.readline(), type=Assignment)


def read_ending() -> Ending | None:
    """Wait for the second line; ``None`` if whoever would write it is gone."""
    line = sys.stdin.readline()
    return msgspec.json.decode(line, type=Ending) if line else None
