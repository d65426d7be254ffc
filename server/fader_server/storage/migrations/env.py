"""Alembic's entry: runs the steps on the connection, and in the transaction, that ``storage.migrate`` has begun; or
prints them. Afterwards the database says what the newest of them says of the code that works on it."""

from alembic import context

from fader_server.storage.schema_version import FIRST_TABLE, TABLE

given = context.config.attributes
if context.is_offline_mode():
    context.configure(dialect_name=given["dialect"], version_table=TABLE)
else:
    context.configure(connection=given["connection"], version_table=TABLE)

if given["moves"]:
    context.execute(
        f"CREATE TABLE {TABLE} (version_num VARCHAR(32) NOT NULL, CONSTRAINT {TABLE}_pkc PRIMARY KEY (version_num))"
    )
    context.execute(f"INSERT INTO {TABLE} (version_num) SELECT version_num FROM {FIRST_TABLE}")  # noqa: S608 (constants)
context.run_migrations()
context.execute(f"UPDATE {TABLE} SET works_with = '{given['works_with']}'")  # noqa: S608 (a number of ours)
