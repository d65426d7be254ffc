"""Ramps: their plans, how far they have come, what guards have counted; who leads them; and what is told of them.

Additive. Servers without it go on as before: a ramp only moves where a server of this version leads, and what such a
server writes are changes of flags like any other.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

works_with = "0001"

KEY = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables, and the column that says which ramp a flag is in."""
    op.add_column("flag_environments", sa.Column("ramp", sa.String(32)))
    op.create_table(
        "ramps",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("project", KEY, nullable=False),
        sa.Column("environment", KEY, nullable=False),
        sa.Column("epoch", sa.String(32), nullable=False),
        sa.Column("flag", KEY, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("progress", sa.Text, nullable=False),
        sa.Column("is_over", sa.Boolean, nullable=False),
        sa.Column("hash_key", sa.String(32), nullable=False),
        sa.Column("version", COUNTER, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
    )
    op.create_index("ramps_by_flag", "ramps", ["project", "environment", "flag", "created_at"])
    op.create_index("ramps_under_way", "ramps", ["is_over"])
    op.create_table(
        "ramp_outcomes",
        _ramp(),
        sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("guard", sa.String(128), primary_key=True),
        sa.Column("outcomes", sa.LargeBinary, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
    )
    op.create_table(
        "ramp_reports",
        _ramp(),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("received_at", TIME, nullable=False),
    )
    op.create_index("ramp_reports_by_time", "ramp_reports", ["received_at"])
    op.create_table(
        "ramp_looks",
        _ramp(),
        sa.Column("guard", sa.String(128), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("exposed", COUNTER, nullable=False),
        sa.Column("failed", COUNTER, nullable=False),
        sa.Column("others", COUNTER, nullable=False),
        sa.Column("others_failed", COUNTER, nullable=False),
        sa.Column("log_e", sa.Float, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
    )
    op.create_table(
        "hooks",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("project", KEY, nullable=False),
        sa.Column("environment", KEY, nullable=False),
        sa.Column("flag", KEY, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("last_used_at", TIME),
    )
    op.create_index("hooks_by_flag", "hooks", ["project", "flag"])
    op.create_table(
        "notices",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("notice", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("delivered_at", TIME),
    )
    op.create_index("notices_by_time", "notices", ["delivered_at", "due_at"])


def _ramp() -> sa.Column[str]:
    return sa.Column("ramp", sa.String(32), sa.ForeignKey("ramps.id", ondelete="CASCADE"), primary_key=True)
