"""``fader-server serve``."""

from fader_server import serving
from fader_server.logs import set_up_logs
from fader_server.settings import Settings


def serve(settings: Settings) -> int:
    """Serve flags until a signal ends it."""
    set_up_logs(settings)
    serving.serve(settings)
    return 0
