"""From settings to a database that can be used: at once if it is there, else as soon as it is."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

from fader_server.access import ensure_initial_credentials, has_admin_token
from fader_server.errors import FaderError, Unavailable
from fader_server.logs import logger
from fader_server.settings import Settings, SettingsError
from fader_server.storage import Store
from fader_server.storage.faults import described

_log = logger(__name__)

_AGAIN_SECONDS: Final = 1.0


class Opening:
    """Prepares the database, and sees to it that the credentials exist that the settings name.

    A file that cannot be opened is a mistake that somebody must mend. A database server that does not answer may be
    starting itself: then this server starts, too, answers what it can, and goes on trying.

    Args:
        store: The database.
        settings: What was asked for.
        clock: The time, aware.
    """

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    async def once(self) -> bool:
        """Try.

        Returns:
            False if it is worth trying again later.

        Raises:
            SettingsError: if somebody must mend something first.
        """
        try:
            await self._store.prepare(migrate=self._migrates())
            await self._ensure_credentials()
        except ValueError as error:
            raise SettingsError((f"DATABASE_URL {error}",)) from error
        except Unavailable as error:
            if self._store.is_shared:
                return False
            raise SettingsError((f"DATABASE_URL: {described(error)}",)) from error
        except FaderError as error:
            raise SettingsError((f"DATABASE_URL: {described(error)}",)) from error
        return True

    async def until_done(self, give_up: Callable[[SettingsError], None]) -> None:
        """Go on trying.

        Args:
            give_up: called if it turns out that somebody must mend something.
        """
        _log.warning("the database cannot be reached yet; trying again until it can")
        try:
            is_done = False
            while not is_done:
                await asyncio.sleep(_AGAIN_SECONDS)
                is_done = await self.once()
        except SettingsError as error:
            give_up(error)
        else:
            _log.info("the database has been reached")

    def _migrates(self) -> bool:
        wanted = self._settings.migrate
        return wanted == "always" or (wanted == "auto" and not self._store.is_shared)

    async def _ensure_credentials(self) -> None:
        settings = self._settings
        try:
            await ensure_initial_credentials(
                self._store,
                admin_token=settings.initial_admin_token,
                sdk_keys=settings.initial_sdk_keys,
                client_keys=settings.initial_client_keys,
                now=self._clock(),
            )
        except ValueError as error:
            names = "FADER_INITIAL_ADMIN_TOKEN, FADER_INITIAL_SDK_KEYS or FADER_INITIAL_CLIENT_KEYS"
            raise SettingsError((f"{names}: {error}",)) from None
        if not await has_admin_token(self._store):
            _log.warning("nobody can use the admin API yet: set FADER_INITIAL_ADMIN_TOKEN to make a first token")
