"""The tables. Migrations, not this module, create them; a test holds the two together.

Types are those that SQLite and PostgreSQL share: documents are JSON text, so that both give back exactly what
was written (a JSON type would re-order and re-number), and times are UTC.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from fader import model
from fader_server.ramps.plan import Plan
from fader_server.ramps.progress import Progress
from fader_server.storage.documents import encode
from fader_server.storage.records import Answer, Configuration


class UtcTime(TypeDecorator[datetime]):
    """An aware time. SQLite keeps no offset, so everything is turned into UTC on the way in and marked so on
    the way out."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Document(TypeDecorator[Any]):
    """JSON text, decoded into the type given."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.of = of
        self._decoder = msgspec.json.Decoder(of)

    def process_bind_param(self, value: Any, _dialect: Dialect) -> str | None:
        return None if value is None else encode(value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> Any:
        return None if value is None else self._decoder.decode(value)


MOST_PARAMETERS = 500
"""A statement takes a bounded number of them; longer lists are asked for in parts."""

# In the order of code points, in both databases and whatever the language of the cluster: lists are paged by key.
_KEY = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")
_COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")

metadata = sa.MetaData()

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("key", _KEY, primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
)

environments = sa.Table(
    "environments",
    metadata,
    sa.Column("project", _KEY, sa.ForeignKey("projects.key"), primary_key=True),
    sa.Column("key", _KEY, primary_key=True),
    sa.Column("epoch", sa.String(32), nullable=False),
    sa.Column("revision", _COUNTER, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
)

flags = sa.Table(
    "flags",
    metadata,
    sa.Column("project", _KEY, sa.ForeignKey("projects.key"), primary_key=True),
    sa.Column("key", _KEY, primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("tags", Document(tuple[str, ...]), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("variants", Document(tuple[model.Variant, ...]), nullable=False),
    sa.Column("off_variant", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Column("archived_at", UtcTime),
)

flag_environments = sa.Table(
    "flag_environments",
    metadata,
    sa.Column("project", _KEY, primary_key=True),
    sa.Column("flag", _KEY, primary_key=True),
    sa.Column("environment", _KEY, primary_key=True),
    sa.Column("configuration", Document(Configuration), nullable=False),
    sa.Column("revision", _COUNTER, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Column("updated_by", sa.Text, nullable=False),
    # The ramp that it is in. Every write reads this row anyway, and must know.
    sa.Column("ramp", sa.String(32)),
    sa.ForeignKeyConstraint(["project", "environment"], ["environments.project", "environments.key"]),
    sa.ForeignKeyConstraint(["project", "flag"], ["flags.project", "flags.key"]),
)

# Which segments and prerequisites a configuration names: what must stay as long as it does.
flag_references = sa.Table(
    "flag_references",
    metadata,
    sa.Column("project", _KEY, primary_key=True),
    sa.Column("flag", _KEY, primary_key=True),
    sa.Column("environment", _KEY, primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("target", _KEY, primary_key=True),
    sa.ForeignKeyConstraint(
        ["project", "flag", "environment"],
        ["flag_environments.project", "flag_environments.flag", "flag_environments.environment"],
    ),
    sa.Index("flag_references_by_target", "project", "kind", "target"),
)

segments = sa.Table(
    "segments",
    metadata,
    # A number that has once been given out must not come back: other protocols know segments by nothing else.
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("project", _KEY, sa.ForeignKey("projects.key"), nullable=False),
    sa.Column("key", _KEY, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("constraints", Document(tuple[model.Constraint, ...]), nullable=False),
    sa.Column("targeting_keys", Document(tuple[str, ...]), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Column("members", Document(model.MemberList)),
    sa.UniqueConstraint("project", "key"),
    sqlite_autoincrement=True,
)

# Lists that are too long for their segment's row. What they go with, they go: also when a server deletes a segment that
# does not know of them. Which version a list is at, the segment says.
member_lists = sa.Table(
    "member_lists",
    metadata,
    sa.Column("list", sa.String(32), primary_key=True),
    sa.Column("segment", sa.Integer, sa.ForeignKey("segments.id", ondelete="CASCADE"), nullable=False),
    sa.Column("base", sa.String(32), nullable=False),
    sa.Column("base_version", _COUNTER, nullable=False),
    sa.Column("base_count", _COUNTER, nullable=False),
    sa.Column("base_digest", sa.String(16), nullable=False),
    sa.Index("member_lists_by_segment", "segment"),
)

# All of a list as it was at one version, by the topmost byte of the hashes: what is asked of one key is in one row.
member_parts = sa.Table(
    "member_parts",
    metadata,
    sa.Column("list", sa.String(32), sa.ForeignKey("member_lists.list", ondelete="CASCADE"), primary_key=True),
    sa.Column("base", sa.String(32), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
    sa.Column("keys", sa.LargeBinary, nullable=False),
)

# What each version has become different by, while that is little; count and digest are those afterwards.
member_deltas = sa.Table(
    "member_deltas",
    metadata,
    sa.Column("list", sa.String(32), sa.ForeignKey("member_lists.list", ondelete="CASCADE"), primary_key=True),
    sa.Column("version", _COUNTER, primary_key=True, autoincrement=False),
    sa.Column("count", _COUNTER, nullable=False),
    sa.Column("digest", sa.String(16), nullable=False),
    sa.Column("added", sa.LargeBinary, nullable=False),
    sa.Column("removed", sa.LargeBinary, nullable=False),
    sa.Column("keys", sa.LargeBinary, nullable=False),
)

changes = sa.Table(
    "changes",
    metadata,
    sa.Column("id", _COUNTER, primary_key=True),
    # No foreign keys: the log outlives what it tells of. The epoch keeps apart environments of the same name.
    sa.Column("project", _KEY, nullable=False),
    sa.Column("environment", _KEY, nullable=False),
    sa.Column("epoch", sa.String(32), nullable=False),
    sa.Column("revision", _COUNTER, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("key", _KEY, nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("before", Document(msgspec.Raw)),
    sa.Column("after", Document(msgspec.Raw)),
    sa.UniqueConstraint("project", "environment", "epoch", "revision"),
    sa.Index("changes_by_subject", "project", "kind", "key", "id"),
    sqlite_autoincrement=True,
)

sdk_keys = sa.Table(
    "sdk_keys",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("project", _KEY, nullable=False),
    sa.Column("environment", _KEY, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("prefix", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("last_used_at", UtcTime),
    sa.Column("revoked_at", UtcTime),
    sa.ForeignKeyConstraint(["project", "environment"], ["environments.project", "environments.key"]),
    sa.Index("sdk_keys_by_environment", "project", "environment"),
)

admin_tokens = sa.Table(
    "admin_tokens",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("projects", Document(tuple[str, ...]), nullable=False),
    sa.Column("environments", Document(tuple[str, ...]), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("last_used_at", UtcTime),
)

usage = sa.Table(
    "usage",
    metadata,
    sa.Column("project", _KEY, primary_key=True),
    sa.Column("environment", _KEY, primary_key=True),
    sa.Column("flag", _KEY, primary_key=True),
    sa.Column("variant", sa.String(128), primary_key=True),
    sa.Column("hour", UtcTime, primary_key=True),
    sa.Column("count", _COUNTER, nullable=False),
    sa.Column("last_at", UtcTime, nullable=False),
    sa.Index("usage_by_flag", "project", "flag", "hour"),
    sa.Index("usage_by_hour", "hour"),
)

usage_reports = sa.Table(
    "usage_reports",
    metadata,
    sa.Column("project", _KEY, primary_key=True),
    sa.Column("environment", _KEY, primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.Index("usage_reports_by_time", "received_at"),
)

# How each change has reached the clients of each node. No foreign keys, as with the log that it belongs to.
propagations = sa.Table(
    "propagations",
    metadata,
    sa.Column("project", _KEY, primary_key=True),
    sa.Column("environment", _KEY, primary_key=True),
    sa.Column("epoch", sa.String(32), primary_key=True),
    sa.Column("revision", _COUNTER, primary_key=True),
    sa.Column("node", sa.Text, primary_key=True),
    sa.Column("clients", sa.Integer, nullable=False),
    sa.Column("applied", sa.Integer, nullable=False),
    sa.Column("refused", sa.Integer, nullable=False),
    sa.Column("buckets", Document(dict[int, int]), nullable=False),
    sa.Column("max_ms", sa.Float, nullable=False),
    sa.Column("recorded_at", UtcTime, nullable=False),
)

# No foreign keys to flags and environments: what a ramp has found outlives them.
ramps = sa.Table(
    "ramps",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("project", _KEY, nullable=False),
    sa.Column("environment", _KEY, nullable=False),
    sa.Column("epoch", sa.String(32), nullable=False),
    sa.Column("flag", _KEY, nullable=False),
    sa.Column("plan", Document(Plan), nullable=False),
    sa.Column("progress", Document(Progress), nullable=False),
    sa.Column("is_over", sa.Boolean, nullable=False),
    sa.Column("hash_key", sa.String(32), nullable=False),
    sa.Column("version", _COUNTER, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Index("ramps_by_flag", "project", "environment", "flag", "created_at"),
    sa.Index("ramps_under_way", "is_over"),
)

# What applications have recorded in a step for a guard: sketches and sums, merged.
ramp_outcomes = sa.Table(
    "ramp_outcomes",
    metadata,
    sa.Column("ramp", sa.String(32), sa.ForeignKey("ramps.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("guard", sa.String(128), primary_key=True),
    sa.Column("outcomes", sa.LargeBinary, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
)

ramp_reports = sa.Table(
    "ramp_reports",
    metadata,
    sa.Column("ramp", sa.String(32), sa.ForeignKey("ramps.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.Index("ramp_reports_by_time", "received_at"),
)

# How the evidence has grown: what people are shown.
ramp_looks = sa.Table(
    "ramp_looks",
    metadata,
    sa.Column("ramp", sa.String(32), sa.ForeignKey("ramps.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("guard", sa.String(128), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("exposed", _COUNTER, nullable=False),
    sa.Column("failed", _COUNTER, nullable=False),
    sa.Column("others", _COUNTER, nullable=False),
    sa.Column("others_failed", _COUNTER, nullable=False),
    sa.Column("log_e", sa.Float, nullable=False),
)

# Which server does what only one may do. ``until`` is in seconds since the epoch, by the database's clock.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("until", sa.Double, nullable=False),
)

# URLs at which an alert switches a flag off.
hooks = sa.Table(
    "hooks",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("project", _KEY, nullable=False),
    sa.Column("environment", _KEY, nullable=False),
    sa.Column("flag", _KEY, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("last_used_at", UtcTime),
    sa.Index("hooks_by_flag", "project", "flag"),
)

# What is to be told to people, until it has been.
notices = sa.Table(
    "notices",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("notice", Document(msgspec.Raw), nullable=False),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", UtcTime, nullable=False),
    sa.Column("delivered_at", UtcTime),
    sa.Index("notices_by_time", "delivered_at", "due_at"),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    # No foreign key: a token may be deleted by the very request whose answer is kept here.
    sa.Column("token", sa.String(32), primary_key=True),
    sa.Column("key", _KEY, primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    # Null only within the transaction that inserts the row; nobody else ever sees it so.
    sa.Column("answer", Document(Answer)),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Index("idempotency_keys_by_time", "created_at"),
)
