"""What a Fader server says: flags, snapshots and changes as plain JSON documents, and their form on a stream.

Plain dictionaries, not ``fader.model``: the harness must be able to say what no model allows, and must not
share a mistake with the SDK that it tests.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]

EPOCH = "0123abcd"
OTHER_EPOCH = "89abcdef"


def flag(key: str, enabled: bool = True, **fields: Any) -> Document:
    """A boolean flag without rules: on for everyone when enabled."""
    return {"key": key, "enabled": enabled, **fields}


def flag_with_value(key: str, value: Any, **fields: Any) -> Document:
    """An enabled flag that serves ``value`` to everyone; its type follows from the value."""
    kinds = {str: "string", int: "number", float: "number"}
    return {
        "key": key,
        "enabled": True,
        "type": kinds.get(type(value), "object"),
        "variants": [{"name": "served", "value": value}, {"name": "none", "value": None}],
        "off_variant": "none",
        **fields,
    }


def flag_for_segment(key: str, segment: str) -> Document:
    """A boolean flag that is on for the members of one segment."""
    return flag(key, rules=[{"id": "members", "segments": [segment]}])


def guard(identifier: str, metric: str, rule: str = "", **fields: Any) -> Document:
    """A guard as clients are told of it; ``hash_key`` may be said."""
    return {"id": identifier, "metric": metric, "hash_key": "0123456789abcdef" * 2, "rule": rule, **fields}


def segment(key: str, *targeting_keys: str) -> Document:
    return {"key": key, "id": 1, "targeting_keys": list(targeting_keys)}


def snapshot(revision: int, *flags: Document, segments: tuple[Document, ...] = (), epoch: str = EPOCH) -> Document:
    return {
        "project": "default",
        "environment": "production",
        "epoch": epoch,
        "revision": revision,
        "flags": {each["key"]: each for each in flags},
        "segments": {each["key"]: each for each in segments},
    }


def change(
    since: int,
    revision: int,
    flags: Mapping[str, Document | None] | None = None,
    segments: Mapping[str, Document | None] | None = None,
    epoch: str = EPOCH,
) -> Document:
    return {
        "epoch": epoch,
        "since": since,
        "revision": revision,
        "flags": dict(flags or {}),
        "segments": dict(segments or {}),
    }


def tag(document: Document) -> str:
    """The version of a snapshot or change: its ETag without quotes, its event's id."""
    return f"{document['epoch']}-{document['revision']}"


def event(name: str, data: Document | str | bytes, event_id: str | None = None) -> bytes:
    """One server-sent event; ``data`` that is not a document is sent as it is, however broken."""
    raw = data if isinstance(data, bytes) else (data if isinstance(data, str) else json.dumps(data)).encode()
    lines = [b"event: " + name.encode(), *(b"data: " + line for line in raw.split(b"\n"))]
    if event_id is not None:
        lines.append(b"id: " + event_id.encode())
    return b"\n".join(lines) + b"\n\n"


def snapshot_event(document: Document, ack_within_ms: int | None = None) -> bytes:
    return event("snapshot", _asking(document, ack_within_ms), tag(document))


def change_event(document: Document, ack_within_ms: int | None = None) -> bytes:
    return event("change", _asking(document, ack_within_ms), tag(document))


def _asking(document: Document, ack_within_ms: int | None) -> Document:
    return document if ack_within_ms is None else {**document, "ack_within_ms": ack_within_ms}


HEARTBEAT = b": heartbeat\n\n"


def goodbye_event(retry_ms: int) -> bytes:
    return b"retry: " + str(retry_ms).encode() + b"\nevent: goodbye\ndata: {}\n\n"


@dataclass
class World:
    """The environment that a well-behaved server would serve: the state, and the log that resuming streams
    read."""

    epoch: str = EPOCH
    revision: int = 1
    flags: dict[str, Document] = field(default_factory=dict)
    guards: dict[str, list[Document]] = field(default_factory=dict)
    segments: dict[str, Document] = field(default_factory=dict)
    log: list[Document] = field(default_factory=list)
    ack_within_ms: int | None = None
    """Over what streams ask acknowledgements to be spread; ``None`` for a server that does not say."""

    def snapshot(self) -> Document:
        segments = tuple(self.segments.values())
        made = snapshot(self.revision, *self.flags.values(), segments=segments, epoch=self.epoch)
        return {**made, "guards": self.guards} if self.guards else made

    def change(
        self,
        flags: Mapping[str, Document | None] | None = None,
        segments: Mapping[str, Document | None] | None = None,
    ) -> Document:
        """Take the next revision and return the change that leads there."""
        made = change(self.revision, self.revision + 1, flags, segments, self.epoch)
        for target, news in ((self.flags, made["flags"]), (self.segments, made["segments"])):
            for key, value in news.items():
                if value is None:
                    target.pop(key, None)
                else:
                    target[key] = value
        self.revision += 1
        self.log.append(made)
        return made

    def begin_epoch(self, epoch: str, revision: int = 1) -> None:
        """What a restored database does: revisions start afresh and no old one can be resumed."""
        self.epoch, self.revision = epoch, revision
        self.log.clear()

    def resume(self, since: str | None) -> bytes:
        """The first event of a stream for a client that holds ``since``: a snapshot, one change, or nothing.
        The first event of a stream for a client that holds ``since``: a snapshot, one change, or nothing."""
        if since == tag(self.snapshot()):
            return b""
        known = {f"{made['epoch']}-{made['since']}": index for index, made in enumerate(self.log)}
        if since not in known:
            return snapshot_event(self.snapshot(), self.ack_within_ms)
        missed = self.log[known[since] :]
        merged = change(missed[0]["since"], self.revision, epoch=self.epoch)
        for made in missed:
            merged["flags"].update(made["flags"])
            merged["segments"].update(made["segments"])
        return change_event(merged, self.ack_within_ms)
