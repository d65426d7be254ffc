"""Every metric that the server exposes, as data: what it is called, what it counts, what its labels may be.

Names and units follow https://prometheus.io/docs/practices/naming/. Labels take values from small sets that the server
itself knows (routes rather than paths, kinds rather than messages, never a key or a user), so no request can make a
series of its own.
"""

from typing import Final, Literal, TypeAlias

from msgspec import Struct

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

StreamEnding: TypeAlias = Literal["left", "too_slow", "goodbye", "revoked", "broken"]
StreamEvent: TypeAlias = Literal["snapshot", "change", "goodbye", "heartbeat"]
TransactionKind: TypeAlias = Literal["read", "write"]
Door: TypeAlias = Literal["sdk", "ofrep", "frontend", "admin", "metrics"]
AckOutcome: TypeAlias = Literal["applied", "refused"]
NoticeOutcome: TypeAlias = Literal["delivered", "failed", "given_up"]
Limit: TypeAlias = Literal[
    "connections",
    "evaluations",
    "head",
    "members",
    "requests_per_key",
    "resumes",
    "slow_request",
    "snapshots",
    "strangers",
    "streams_per_key",
    "stuck_reader",
    "url",
]


class Definition(Struct, frozen=True, kw_only=True):
    """One metric.

    Args:
        name: As it is exposed, with ``_total`` if it is a counter.
        kind: Prometheus' type.
        meaning: A sentence, for ``# HELP`` and the reference.
        labels: The names of its labels.
        buckets: Upper bounds, for a histogram.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

HTTP_REQUESTS: Final = Definition(
    name="fader_http_requests_total",
    kind="counter",
    meaning="Requests answered, by method, route template and status. A stream counts when it opens.",
    labels=("method", "route", "status"),
)
HTTP_REQUEST_DURATION: Final = Definition(
    name="fader_http_request_duration_seconds",
    kind="histogram",
    meaning="Time from a request's arrival to the end of its answer; of a stream, until it has opened.",
    labels=("method", "route"),
    buckets=_FAST,
)
CREDENTIALS_REJECTED: Final = Definition(
    name="fader_credentials_rejected_total",
    kind="counter",
    meaning="Requests refused with 401 or 403, by the door (sdk, ofrep, frontend, admin, metrics) and by what was "
    "wrong with their key or token: missing, unknown, expired, revoked, of the wrong kind, or without the role or the "
    "scope needed.",
    labels=("door", "reason"),
)
ADMISSION_REFUSED: Final = Definition(
    name="fader_admission_refused_total",
    kind="counter",
    meaning="Requests refused and connections cut to protect the server, by the limit that they met.",
    labels=("limit",),
)
STREAMS_OPEN: Final = Definition(
    name="fader_streams_open",
    kind="gauge",
    meaning="SDK streams that are open on this node.",
    labels=("project", "environment"),
)
STREAMS_OPENED: Final = Definition(
    name="fader_streams_opened_total",
    kind="counter",
    meaning="SDK streams opened.",
)
STREAMS_ENDED: Final = Definition(
    name="fader_streams_ended_total",
    kind="counter",
    meaning="SDK streams ended: the client left, read too slowly (it was parked, and never read on), was told goodbye, "
    "had its key revoked, or the connection broke.",
    labels=("reason",),
)
STREAMS_PARKED: Final = Definition(
    name="fader_streams_parked_total",
    kind="counter",
    meaning="How often a stream's client did not read, and the stream was parked until it did.",
)
CLIENTS: Final = Definition(
    name="fader_clients",
    kind="gauge",
    meaning="SDK processes known to this node: connected by a stream, polling, lost (their stream ended without a "
    "goodbye), or refusing what they were sent.",
    labels=("project", "environment", "state"),
)
ACKNOWLEDGEMENTS: Final = Definition(
    name="fader_acknowledgements_total",
    kind="counter",
    meaning="Acknowledgements of SDK processes that are connected to this node, by outcome: applied, refused.",
    labels=("outcome",),
)
APPLIED: Final = Definition(
    name="fader_change_applied_seconds",
    kind="histogram",
    meaning="Time from a change's own time to the moment when a client of this node had applied it, by its "
    "acknowledgement; one observation for each change and client.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
STREAM_EVENTS: Final = Definition(
    name="fader_stream_events_total",
    kind="counter",
    meaning="Events handed to SDK streams, by kind; one for each stream that it goes to.",
    labels=("event",),
)
STREAM_BYTES: Final = Definition(
    name="fader_stream_bytes_total",
    kind="counter",
    meaning="Bytes of events handed to SDK streams.",
)
SNAPSHOT_BYTES: Final = Definition(
    name="fader_snapshot_bytes_total",
    kind="counter",
    meaning="Bytes of snapshots sent by request, as compressed. How many there were, and how many clients had them "
    'already, say fader_http_requests_total{route="/sdk/v1/snapshot"} with status="200" and "304".',
)
ENVIRONMENT_REVISION: Final = Definition(
    name="fader_environment_revision",
    kind="gauge",
    meaning="The revision that this node serves, of each environment that it follows.",
    labels=("project", "environment"),
)
EPOCH_CHANGES: Final = Definition(
    name="fader_environment_epoch_changes_total",
    kind="counter",
    meaning="How often the history of an environment was replaced, as by a restored backup, and all its SDKs were "
    "sent a snapshot.",
    labels=("project", "environment"),
)
PROPAGATION: Final = Definition(
    name="fader_change_propagation_seconds",
    kind="histogram",
    meaning="Time from a change's own time, which the writing node notes just before the commit, to its broadcast on "
    "this node. Between nodes it is as exact as their clocks agree.",
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
USAGE_REPORTS: Final = Definition(
    name="fader_usage_reports_total",
    kind="counter",
    meaning="Usage reports of SDKs: counted, or repeated (sent again, and counted before).",
    labels=("outcome",),
)
NOTICES: Final = Definition(
    name="fader_notices_total",
    kind="counter",
    meaning="Attempts of this node to send notices to `FADER_WEBHOOKS`, by outcome: delivered, failed (it is tried "
    "again), given up (it has failed for a day).",
    labels=("outcome",),
)
BUS_UP: Final = Definition(
    name="fader_bus_up",
    kind="gauge",
    meaning="1 while this node hears of every change at once. 0 while it must poll the database instead: Redis is "
    "away, or not set up for a database that several nodes share.",
)
BUS_MESSAGES: Final = Definition(
    name="fader_bus_messages_total",
    kind="counter",
    meaning="Messages between nodes, by direction: published, received.",
    labels=("direction",),
)
BUS_RECONNECTS: Final = Definition(
    name="fader_bus_reconnects_total",
    kind="counter",
    meaning="How often the bus was connected anew after it was lost.",
)
DATABASE_UP: Final = Definition(
    name="fader_database_up",
    kind="gauge",
    meaning="1 if the last transaction found the database answering, else 0. Polls keep it fresh.",
)
TRANSACTION_DURATION: Final = Definition(
    name="fader_database_transaction_duration_seconds",
    kind="histogram",
    meaning="Time of a transaction, from waiting for a connection to the end of the commit.",
    labels=("kind",),
    buckets=_FAST,
)
TRANSACTION_FAILURES: Final = Definition(
    name="fader_database_failures_total",
    kind="counter",
    meaning="Transactions that failed because the database could not be used. Nothing of them was written.",
    labels=("kind",),
)
CONNECTIONS_IN_USE: Final = Definition(
    name="fader_database_connections_in_use",
    kind="gauge",
    meaning="Connections of the pool that a transaction holds.",
)
CONNECTIONS_LIMIT: Final = Definition(
    name="fader_database_connections_limit",
    kind="gauge",
    meaning="The most connections that the pool may hold.",
)
EVENT_LOOP_LAG: Final = Definition(
    name="fader_event_loop_lag_seconds",
    kind="histogram",
    meaning="How much later than asked a timer fired, once a second: how long everything else waits for its turn.",
    buckets=_FAST,
)
BUILD_INFO: Final = Definition(
    name="fader_build_info",
    kind="gauge",
    meaning="1; its labels say what runs.",
    labels=("version", "python"),
)

WORKERS: Final = Definition(
    name="fader_workers",
    kind="gauge",
    meaning="How many processes this node is meant to have. With more than one, every series has the label `worker`, "
    "with the number of the process that it is of.",
)

CATALOGUE: Final = (
    HTTP_REQUESTS,
    HTTP_REQUEST_DURATION,
    CREDENTIALS_REJECTED,
    ADMISSION_REFUSED,
    STREAMS_OPEN,
    STREAMS_OPENED,
    STREAMS_ENDED,
    STREAMS_PARKED,
    STREAM_EVENTS,
    STREAM_BYTES,
    SNAPSHOT_BYTES,
    ENVIRONMENT_REVISION,
    EPOCH_CHANGES,
    PROPAGATION,
    APPLIED,
    ACKNOWLEDGEMENTS,
    CLIENTS,
    USAGE_REPORTS,
    NOTICES,
    BUS_UP,
    BUS_MESSAGES,
    BUS_RECONNECTS,
    DATABASE_UP,
    TRANSACTION_DURATION,
    TRANSACTION_FAILURES,
    CONNECTIONS_IN_USE,
    CONNECTIONS_LIMIT,
    EVENT_LOOP_LAG,
    BUILD_INFO,
    WORKERS,
)
"""In the order of the reference."""
