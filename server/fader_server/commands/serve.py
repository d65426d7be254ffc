"""``fader-server serve``."""

import fader_server.lean  # noqa: F401 - comes before what it makes lean
from fader_server.logs import set_up_logs
from fader_server.settings import Settings


def serve(settings: Settings) -> int:
    """Serve flags until a signal ends it."""
    set_up_logs(settings)
    if settings.workers == 1:
        from fader_server import serving

        serving.serve(settings)
        return 0
    # The process that supervises others loads nothing of what these need.
    from fader_server.workers.supervisor import supervise

    return supervise(settings)
