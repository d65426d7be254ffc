"""The admin API, ``/api/v1``: for people, pipelines and the command line.

``routes`` is what the application mounts as it is; it must put an :class:`AdminServices` into ``app.state.admin``.
"""

from fader_server.api.admin.routes import routes
from fader_server.api.admin.services import AdminServices

__all__ = ["AdminServices", "routes"]
