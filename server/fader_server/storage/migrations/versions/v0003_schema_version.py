"""The database says which code works on it.

The first version of Fader looks at ``alembic_version`` alone, and works on no other schema than the one named there.
It does work on this one, so that table goes on naming the schema that it knows. Whoever takes away what that version
still uses writes another number there: then it refuses to start.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

works_with = "0001"


def upgrade() -> None:
    """Add the column; what is to be in it is the newest migration's word."""
    op.add_column("schema_version", sa.Column("works_with", sa.String(32)))
    # As SQL, for it must also be right where nobody can look whether the table is there: when it is printed.
    op.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    op.execute("DELETE FROM alembic_version")
    op.execute("INSERT INTO alembic_version (version_num) VALUES ('0001')")
