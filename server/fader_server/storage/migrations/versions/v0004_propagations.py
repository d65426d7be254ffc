"""How each change has reached the clients of each node. Additive: servers without it go on as before."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

works_with = "0001"

KEY = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "propagations",
        sa.Column("project", KEY, primary_key=True),
        sa.Column("environment", KEY, primary_key=True),
        sa.Column("epoch", sa.String(32), primary_key=True),
        sa.Column("revision", COUNTER, primary_key=True),
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("clients", sa.Integer, nullable=False),
        sa.Column("applied", sa.Integer, nullable=False),
        sa.Column("refused", sa.Integer, nullable=False),
        sa.Column("buckets", sa.Text, nullable=False),
        sa.Column("max_ms", sa.Float, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )
