"""The database: schema, migrations and queries. Knows rows and documents, not HTTP, and no rules about flags.

One module per noun holds the queries, as functions on a connection; :class:`Store` hands the connections out.
"""

from fader_server.storage.store import Store

__all__ = ["Store"]
