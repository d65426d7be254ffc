"""Long lists of targeting keys: stored once, in parts, with small changes beside them.

Additive. Servers without it take a segment with such a list for one that lists nobody, so nobody is let in who should
not be; and when they delete a segment, its list goes with it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

works_with = "0001"

COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables, and the column that names a segment's list."""
    op.add_column("segments", sa.Column("members", sa.Text))
    op.create_table(
        "member_lists",
        sa.Column("list", sa.String(32), primary_key=True),
        sa.Column("segment", sa.Integer, sa.ForeignKey("segments.id", ondelete="CASCADE"), nullable=False),
        sa.Column("base", sa.String(32), nullable=False),
        sa.Column("base_version", COUNTER, nullable=False),
        sa.Column("base_count", COUNTER, nullable=False),
        sa.Column("base_digest", sa.String(16), nullable=False),
    )
    op.create_index("member_lists_by_segment", "member_lists", ["segment"])
    op.create_table(
        "member_parts",
        _list(),
        sa.Column("base", sa.String(32), primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
        sa.Column("keys", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "member_deltas",
        _list(),
        sa.Column("version", COUNTER, primary_key=True, autoincrement=False),
        sa.Column("count", COUNTER, nullable=False),
        sa.Column("digest", sa.String(16), nullable=False),
        sa.Column("added", sa.LargeBinary, nullable=False),
        sa.Column("removed", sa.LargeBinary, nullable=False),
        sa.Column("keys", sa.LargeBinary, nullable=False),
    )


def _list() -> sa.Column[str]:
    return sa.Column("list", sa.String(32), sa.ForeignKey("member_lists.list", ondelete="CASCADE"), primary_key=True)
