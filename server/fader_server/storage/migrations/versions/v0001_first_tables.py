"""All tables of the first version, and the project that everybody starts with."""

import secrets
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

works_with = "0001"

KEY = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)
COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create everything."""
    _projects()
    _flags()
    _changes()
    _access()
    _usage()
    _default_project()


def _projects() -> None:
    op.create_table(
        "projects",
        sa.Column("key", KEY, primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_table(
        "environments",
        sa.Column("project", KEY, sa.ForeignKey("projects.key"), primary_key=True),
        sa.Column("key", KEY, primary_key=True),
        sa.Column("epoch", sa.String(32), nullable=False),
        sa.Column("revision", COUNTER, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )


def _flags() -> None:
    op.create_table(
        "flags",
        sa.Column("project", KEY, sa.ForeignKey("projects.key"), primary_key=True),
        sa.Column("key", KEY, primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("variants", sa.Text, nullable=False),
        sa.Column("off_variant", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("archived_at", TIME),
    )
    op.create_table(
        "flag_environments",
        sa.Column("project", KEY, primary_key=True),
        sa.Column("flag", KEY, primary_key=True),
        sa.Column("environment", KEY, primary_key=True),
        sa.Column("configuration", sa.Text, nullable=False),
        sa.Column("revision", COUNTER, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("updated_by", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["project", "environment"], ["environments.project", "environments.key"]),
        sa.ForeignKeyConstraint(["project", "flag"], ["flags.project", "flags.key"]),
    )
    op.create_table(
        "flag_references",
        sa.Column("project", KEY, primary_key=True),
        sa.Column("flag", KEY, primary_key=True),
        sa.Column("environment", KEY, primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("target", KEY, primary_key=True),
        sa.ForeignKeyConstraint(
            ["project", "flag", "environment"],
            ["flag_environments.project", "flag_environments.flag", "flag_environments.environment"],
        ),
    )
    op.create_index("flag_references_by_target", "flag_references", ["project", "kind", "target"])
    op.create_table(
        "segments",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("project", KEY, sa.ForeignKey("projects.key"), nullable=False),
        sa.Column("key", KEY, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("constraints", sa.Text, nullable=False),
        sa.Column("targeting_keys", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.UniqueConstraint("project", "key"),
        sqlite_autoincrement=True,
    )


def _changes() -> None:
    op.create_table(
        "changes",
        sa.Column("id", COUNTER, primary_key=True),
        sa.Column("project", KEY, nullable=False),
        sa.Column("environment", KEY, nullable=False),
        sa.Column("epoch", sa.String(32), nullable=False),
        sa.Column("revision", COUNTER, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("key", KEY, nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.UniqueConstraint("project", "environment", "epoch", "revision"),
        sqlite_autoincrement=True,
    )
    op.create_index("changes_by_subject", "changes", ["project", "kind", "key", "id"])


def _access() -> None:
    op.create_table(
        "sdk_keys",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("project", KEY, nullable=False),
        sa.Column("environment", KEY, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME),
        sa.Column("last_used_at", TIME),
        sa.Column("revoked_at", TIME),
        sa.ForeignKeyConstraint(["project", "environment"], ["environments.project", "environments.key"]),
    )
    op.create_index("sdk_keys_by_environment", "sdk_keys", ["project", "environment"])
    op.create_table(
        "admin_tokens",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("projects", sa.Text, nullable=False),
        sa.Column("environments", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME),
        sa.Column("last_used_at", TIME),
    )


def _usage() -> None:
    op.create_table(
        "usage",
        sa.Column("project", KEY, primary_key=True),
        sa.Column("environment", KEY, primary_key=True),
        sa.Column("flag", KEY, primary_key=True),
        sa.Column("variant", sa.String(128), primary_key=True),
        sa.Column("hour", TIME, primary_key=True),
        sa.Column("count", COUNTER, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
    )
    op.create_index("usage_by_flag", "usage", ["project", "flag", "hour"])
    op.create_index("usage_by_hour", "usage", ["hour"])
    op.create_table(
        "usage_reports",
        sa.Column("project", KEY, primary_key=True),
        sa.Column("environment", KEY, primary_key=True),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("received_at", TIME, nullable=False),
    )
    op.create_index("usage_reports_by_time", "usage_reports", ["received_at"])


def _default_project() -> None:
    """By migration rather than at each start: who deletes it does not find it again."""
    now = datetime.now(UTC)
    projects = sa.table(
        "projects", sa.column("key", KEY), sa.column("description", sa.Text), sa.column("created_at", TIME)
    )
    op.bulk_insert(projects, [{"key": "default", "description": "", "created_at": now}])
    environments = sa.table(
        "environments",
        sa.column("project", KEY),
        sa.column("key", KEY),
        sa.column("epoch", sa.String),
        sa.column("revision", COUNTER),
        sa.column("created_at", TIME),
    )
    op.bulk_insert(
        environments,
        [
            {
                "project": "default",
                "key": key,
                "epoch": secrets.token_hex(8),
                "revision": 0,
                "created_at": now,
            }
            for key in ("development", "staging", "production")
        ],
    )
