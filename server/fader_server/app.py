"""Builds the parts and hands them to each other: the one place that knows all of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from litestar import Litestar, Router
from litestar.types import ASGIApp

from fader_server.access import Access, ensure_initial_credentials, has_admin_token
from fader_server.api import health, sdk
from fader_server.api.admin import AdminServices, routes
from fader_server.api.openapi import openapi_config
from fader_server.api.problems import exception_handlers
from fader_server.api.request_log import RequestLog
from fader_server.bus.in_process import InProcessBus
from fader_server.distribution import Distributor
from fader_server.errors import FaderError
from fader_server.flags.limits import Limits
from fader_server.logs import logger
from fader_server.settings import Settings, SettingsError
from fader_server.storage import Store

_log = logger(__name__)

_TIDY_EVERY: Final = timedelta(hours=1)


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


def create_app(settings: Settings) -> Litestar:
    """The server as an ASGI application. The database is opened when it starts.

    Raises:
        SettingsError: at its start, if the database cannot be used or initial credentials make no sense.
    """

    @asynccontextmanager
    async def running(app: Litestar) -> AsyncIterator[None]:
        try:
            store = await Store.open(settings.database_url)
        except (ValueError, FaderError) as error:
            raise SettingsError((f"DATABASE_URL: {error.__cause__ or error}",)) from error
        bus = InProcessBus()
        access = Access(store, now)
        distributor = Distributor(
            store, bus, heartbeat_seconds=settings.heartbeat_seconds, poll_seconds=settings.poll_seconds
        )
        app.state.heartbeat_seconds = settings.heartbeat_seconds
        app.state.distributor = distributor
        app.state.admin = AdminServices.build(
            store=store,
            bus=bus,
            access=access,
            clock=now,
            limits=Limits(),
            heartbeat_seconds=settings.heartbeat_seconds,
        )
        try:
            await _ensure_credentials(store, settings)
            tidying = asyncio.create_task(_tidy(store))
            try:
                async with distributor.running():
                    yield
            finally:
                tidying.cancel()
                await bus.close()
                await access.close()
        finally:
            await store.close()

    return Litestar(
        route_handlers=[Router("/api/v1", route_handlers=routes), *sdk.routes, *health.routes],
        lifespan=[running],
        exception_handlers=exception_handlers,
        openapi_config=openapi_config(),
        request_max_body_size=settings.max_body_bytes,
        logging_config=None,
    )


def create_asgi(app: Litestar) -> ASGIApp:
    """The application as a server runs it: with a line in the log for each request."""
    return RequestLog(app)


async def _ensure_credentials(store: Store, settings: Settings) -> None:
    try:
        await ensure_initial_credentials(
            store, admin_token=settings.initial_admin_token, sdk_keys=settings.initial_sdk_keys, now=now()
        )
    except ValueError as error:
        raise SettingsError((f"FADER_INITIAL_ADMIN_TOKEN or FADER_INITIAL_SDK_KEYS: {error}",)) from None
    if not await has_admin_token(store):
        _log.warning("nobody can use the admin API yet: set FADER_INITIAL_ADMIN_TOKEN to make a first token")


async def _tidy(store: Store) -> None:
    while True:
        try:
            await store.prune(now())
        except FaderError:
            _log.warning("old counts could not be removed; trying again later")
        await asyncio.sleep(_TIDY_EVERY.total_seconds())
