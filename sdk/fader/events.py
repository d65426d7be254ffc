"""What travels on a stream: what clients evaluate with, and how its arrival is acknowledged."""

from fader.model import Change, Snapshot


class SnapshotEvent(Snapshot, frozen=True):
    """Everything. ``ack_within_ms`` are the milliseconds over which clients spread their acknowledgements."""

    ack_within_ms: int = 0


class ChangeEvent(Change, frozen=True):
    """What became different; ``ack_within_ms`` as of ``SnapshotEvent``."""

    ack_within_ms: int = 0
