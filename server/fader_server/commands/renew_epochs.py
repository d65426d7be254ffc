"""``fader-server renew-epochs``: to be run after a database was restored by other means than ours."""

import asyncio

from fader_server.commands import database
from fader_server.settings import Settings
from fader_server.storage.epochs import renew


def renew_epochs(settings: Settings) -> int:
    """Begin a new epoch in every environment. Servers that run notice, and have all SDKs follow."""
    with database.named_in_errors():
        renewed = asyncio.run(renew(settings.database_url))
    print(
        f"{renewed} environments have begun a new epoch: servers notice it within FADER_POLL_SECONDS, and SDKs follow"
    )
    return 0
