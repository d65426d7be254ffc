"""Builds the parts and hands them to each other: the one place that knows all of them."""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from litestar import Litestar
from litestar.datastructures import State
from litestar.types import ASGIApp
from msgspec import UNSET

from fader_server.absent import absent
from fader_server.access import Access
from fader_server.api import frontend, health, hooks, metrics, sdk, segment_members, unleash
from fader_server.api.ack_shortcut import AckShortcut
from fader_server.api.admin import AdminServices, routes
from fader_server.api.admission import Admission, AdmissionLimits
from fader_server.api.cors import Cors
from fader_server.api.ofrep import Ofrep
from fader_server.api.openapi import openapi_config
from fader_server.api.problems import exception_handlers
from fader_server.api.request_limits import RequestLimits, RequestRates
from fader_server.api.request_log import RequestLog
from fader_server.api.request_spans import RequestSpans
from fader_server.api.shortcut import Shortcut
from fader_server.api.snapshot_shortcut import SnapshotShortcut
from fader_server.api.unleash.features_shortcut import FeaturesShortcut
from fader_server.bus import Bus, Message
from fader_server.bus.in_process import InProcessBus
from fader_server.bus.worker_bus import WorkerBus
from fader_server.chores import persistently
from fader_server.clients import Gathering
from fader_server.clients.notes import ClientNote
from fader_server.clients.recording import Recorder
from fader_server.distribution import Distributor
from fader_server.distribution.distributor import Pace
from fader_server.distribution.member_lists import MemberLists
from fader_server.errors import FaderError
from fader_server.evaluation import Evaluators
from fader_server.flags.limits import Limits
from fader_server.logs import logger
from fader_server.opening import Opening
from fader_server.outgoing import Outgoing
from fader_server.ramping.deliveries import NOTICES, Deliveries
from fader_server.ramping.destinations import destinations_of
from fader_server.ramping.leader import Leader
from fader_server.ramping.outcomes import Reports
from fader_server.ramping.prometheus import Prometheus
from fader_server.ramping.service import LEASE
from fader_server.ramping.worker import Questions, Unasked, Worker
from fader_server.ramps.moves import Move
from fader_server.settings import Settings, SettingsError
from fader_server.standby import Standby
from fader_server.storage import Store
from fader_server.storage.records import Ramp
from fader_server.telemetry import Sources, Telemetry, watch_event_loop
from fader_server.workers.gathering import NodeMetrics
from fader_server.workers.link import Link

_log = logger(__name__)

_TIDY_EVERY: Final = timedelta(hours=1)
_LAST_TRACES_SECONDS: Final = 2.0

_UNUSED: Final = ("attr", "attrs", "pydantic")
"""Litestar loads these wherever they are installed. No model of ours is one of theirs."""


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


def create_app(settings: Settings, link: Link | None = None) -> Litestar:
    """The server as an ASGI application. The database is opened when it starts.

    Args:
        settings: Everything that it is told.
        link: What ties it to other processes, if it is one of several that are one node.

    Raises:
        SettingsError: at its start, if the database cannot be used or initial credentials make no sense.
    """
    telemetry = Telemetry.of(os.environ)

    @asynccontextmanager
    async def running(app: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await _start(app, settings, telemetry, link, stack)
            yield

    with absent(*_UNUSED):
        return Litestar(
            route_handlers=[
                *routes,
                *sdk.routes,
                *segment_members.routes,
                *frontend.routes,
                *unleash.routes,
                *hooks.routes,
                *health.routes,
                *metrics.routes,
            ],
            lifespan=[running],
            exception_handlers=exception_handlers,
            openapi_config=openapi_config(),
            request_max_body_size=settings.max_body_bytes,
            logging_config=None,
            state=State(
                {
                    "telemetry": telemetry,
                    "exposition": _exposition(telemetry, link),
                    "metrics_token": settings.metrics_token,
                    "worker": UNSET if link is None else link.worker,
                    "give_up": _log_failure,
                }
            ),
        )


def create_asgi(app: Litestar, settings: Settings) -> tuple[ASGIApp, Sequence[Shortcut]]:
    """The application as a server runs it: nobody asks too often, and each request has a line in the log, a place in
    the metrics, and a span where traces are wanted.

    Returns:
        It, and what connections may ask for answers in its place.
    """
    telemetry: Telemetry = app.state.telemetry
    rates = RequestRates(
        sdk=settings.sdk_requests_per_second,
        client=settings.client_requests_per_second,
        admin=settings.admin_requests_per_second,
    )
    limited = RequestLimits(Ofrep(app, app, settings.max_body_bytes, now), rates, telemetry.metrics.admission_refused)
    logged = RequestLog(Cors(limited, settings.cors_origins), telemetry.metrics)
    if telemetry.requests is not None:
        return RequestSpans(logged, telemetry.requests), ()
    return logged, (SnapshotShortcut(app, limited), FeaturesShortcut(app, limited), AckShortcut(app, limited))


def _exposition(telemetry: Telemetry, link: Link | None) -> metrics.Exposition:
    if link is None:
        return telemetry.metrics.exposition
    telemetry.metrics.node_begun(link.workers)
    return NodeMetrics(link, telemetry.metrics).exposition


def _sources(distributor: Distributor, gathering: Gathering, store: Store, bus: Bus[Message]) -> Sources:
    return Sources(
        environments=distributor.followed,
        clients=gathering.connected_clients,
        connections=lambda: store.pool,
        hears_all=lambda: bus.hears_all,
    )


async def _start(
    app: Litestar, settings: Settings, telemetry: Telemetry, link: Link | None, stack: AsyncExitStack
) -> None:
    """Build everything, each part before those that use it, so that the stack ends it the other way round."""
    if link is not None:
        await stack.enter_async_context(link.running())
    stack.push_async_callback(asyncio.to_thread, telemetry.close, _LAST_TRACES_SECONDS)
    try:
        store = Store(settings.database_url, connections=settings.database_connections, telemetry=telemetry)
    except ValueError as error:
        raise SettingsError((f"DATABASE_URL {error}",)) from error
    stack.push_async_callback(store.close)
    opening = Opening(store, settings, now)
    await opening.once()
    bus, notes, standby = await _shared(settings, store, telemetry, link, stack)
    gathering = _gathering(settings, store, notes, telemetry)
    access = Access(store, now, standby)
    stack.push_async_callback(access.close)
    pace = Pace(
        heartbeat=settings.heartbeat_seconds,
        poll=settings.poll_seconds,
        poll_without_bus=settings.poll_seconds_without_bus,
    )
    distributor = Distributor(store, bus, standby, gathering, now, pace, telemetry)
    app.state.distributor = distributor
    admission = _admission(settings, telemetry)
    app.state.sdk = sdk.SdkServices(
        access, distributor, gathering, admission, telemetry.metrics, settings.heartbeat_seconds
    )
    app.state.unleash = unleash.services(app.state.sdk, store, now, is_steering=settings.unleash_push)
    lists = MemberLists(store)
    app.state.members = segment_members.MemberServices(access, distributor, admission, lists)
    app.state.evaluators = evaluators = Evaluators(distributor, lists, store, now, telemetry.metrics)
    stack.push_async_callback(evaluators.close)
    app.state.frontend = frontend.FrontendServices(access, admission, evaluators)
    destinations = destinations_of(settings.webhooks)
    app.state.admin = AdminServices.build(
        store=store,
        bus=bus,
        access=access,
        distributor=distributor,
        gathering=gathering,
        clock=now,
        limits=Limits(),
        heartbeat_seconds=settings.heartbeat_seconds,
        has_prometheus=settings.prometheus_url is not None,
        destinations=[destination.name for destination in destinations],
        tracing=telemetry.tracing,
    )
    chores = [_tidy(store), watch_event_loop(telemetry.metrics), Recorder(gathering, store, now).run()]
    chores += [persistently(evaluators.run), persistently(app.state.unleash.followers.run)]
    app.state.reports = reports = Reports(store, now)
    # Two, so that receivers of notices that do not answer keep no question waiting.
    asking, telling = Outgoing(), Outgoing()
    stack.callback(asking.close)
    stack.callback(telling.close)
    questions = _questions(settings, asking)
    leader = Leader(store, gathering.node, LEASE)
    ramping = Worker(store, app.state.admin.ramps, leader, reports, questions, _log_move)
    chores += [persistently(reports.run), persistently(ramping.run)]
    chores.append(ramping.listen(await stack.enter_async_context(bus.subscribe())))
    if destinations:
        sender = Leader(store, gathering.node, NOTICES)
        told = telemetry.metrics.notice_sent
        deliveries = Deliveries(store, telling, sender, destinations, settings.webhook_secrets, now, told)
        chores += [
            persistently(deliveries.run),
            deliveries.listen(await stack.enter_async_context(bus.subscribe())),
        ]
    if not store.is_prepared:
        chores.append(opening.until_done(app.state.give_up))
    telemetry.metrics.ask(_sources(distributor, gathering, store, bus))
    chores.append(access.follow(await stack.enter_async_context(bus.subscribe())))
    await stack.enter_async_context(gathering.running())
    await stack.enter_async_context(distributor.running())
    stack.push_async_callback(bus.close)
    await stack.enter_async_context(_side_by_side(chores))


def _questions(settings: Settings, outgoing: Outgoing) -> Questions:
    if settings.prometheus_url is None:
        return Unasked()
    return Prometheus(outgoing, settings.prometheus_url, settings.prometheus_token)


def _admission(settings: Settings, telemetry: Telemetry) -> Admission:
    limits = AdmissionLimits(
        snapshot_bytes_per_second=settings.snapshot_bytes_per_second,
        resumes_per_second=settings.resumes_per_second,
        streams_per_key=settings.max_streams_per_key,
        member_bytes_per_second=settings.member_bytes_per_second,
    )
    return Admission(limits, time.monotonic, telemetry.metrics.admission_refused)


async def _shared(
    settings: Settings, store: Store, telemetry: Telemetry, link: Link | None, stack: AsyncExitStack
) -> tuple[Bus[Message], Bus[ClientNote] | None, Standby | None]:
    """What servers on one database have in common besides it."""
    if settings.redis_url is None and link is not None:
        return *_among_workers(link, store, telemetry), None
    if settings.redis_url is None:
        alone: InProcessBus[Message] = InProcessBus(hears_all=not store.is_shared)
        return alone, None, None
    # redis-py takes a quarter of a second to import, and all of OpenTelemetry with it where that is installed.
    from fader_server.bus.redis_bus import RedisBus
    from fader_server.redis_client import redis_client
    from fader_server.standby.redis_standby import RedisStandby

    try:
        client = redis_client(settings.redis_url)
    except ValueError as error:
        raise SettingsError((f"REDIS_URL {error}",)) from None
    stack.push_async_callback(client.aclose)
    bus: RedisBus[Message] = RedisBus(client, f"{settings.redis_prefix}:bus", of=Message, metrics=telemetry.metrics)
    await stack.enter_async_context(bus.running())
    notes: RedisBus[ClientNote] = RedisBus(client, f"{settings.redis_prefix}:clients", of=ClientNote)
    await stack.enter_async_context(notes.running())
    return bus, notes, RedisStandby(client, settings.redis_prefix)


def _among_workers(link: Link, store: Store, telemetry: Telemetry) -> tuple[Bus[Message], Bus[ClientNote]]:
    """What processes of one node tell each other, and no other node hears."""
    hears_all = not store.is_shared
    bus: WorkerBus[Message] = WorkerBus(link, "bus", of=Message, hears_all=hears_all, metrics=telemetry.metrics)
    notes: WorkerBus[ClientNote] = WorkerBus(link, "clients", of=ClientNote, hears_all=True)
    return bus, notes


def _gathering(settings: Settings, store: Store, notes: Bus[ClientNote] | None, telemetry: Telemetry) -> Gathering:
    node = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    # Workers of one node hear each other without Redis, but not those of other nodes.
    is_all = settings.redis_url is not None or not store.is_shared
    return Gathering(node, notes, is_all, time.time, time.monotonic, telemetry.metrics)


@asynccontextmanager
async def _side_by_side(chores: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(chore) for chore in chores]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _log_failure(error: SettingsError) -> None:
    _log.error("this server cannot become ready", problems=list(error.problems))


async def _log_move(ramp: Ramp, move: Move) -> None:
    place = f"{ramp.project}:{ramp.environment}"
    for text in move.tell:
        _log.info("a ramp has moved", flag=ramp.flag, place=place, status=ramp.progress.status, what=text)


async def _tidy(store: Store) -> None:
    while True:
        try:
            await store.prune(now())
        except FaderError:
            _log.warning("old counts could not be removed; trying again later")
        await asyncio.sleep(_TIDY_EVERY.total_seconds())
