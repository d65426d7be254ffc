"""What the admin API's handlers call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath

from fader_server.access import Access, AdminPrincipal
from fader_server.access.issuing import CredentialService
from fader_server.api.admin.idempotency import holding
from fader_server.bus import Bus, Message
from fader_server.clients import Gathering
from fader_server.distribution import Distributor
from fader_server.flags.configurations import ConfigurationService
from fader_server.flags.importing import ImportService
from fader_server.flags.limits import Limits
from fader_server.flags.members import MemberService
from fader_server.flags.projects import ProjectService
from fader_server.flags.segments import SegmentService
from fader_server.flags.service import FlagService
from fader_server.flags.writing import Writer
from fader_server.ramping.hooks import HookService
from fader_server.ramping.service import RampService
from fader_server.storage import Store
from fader_server.storage.idempotency import Holding, not_held
from fader_server.telemetry.tracing import NoTracing, Tracing


@dataclass(frozen=True)
class AdminServices:
    """All of it, ready to use."""

    store: Store
    bus: Bus[Message]
    access: Access
    distributor: Distributor
    gathering: Gathering
    clock: Callable[[], datetime]
    heartbeat_seconds: float
    writer: Writer
    flags: FlagService
    configurations: ConfigurationService
    segments: SegmentService
    members: MemberService
    projects: ProjectService
    imports: ImportService
    credentials: CredentialService
    ramps: RampService
    hooks: HookService

    @classmethod
    def build(
        cls,
        *,
        store: Store,
        bus: Bus[Message],
        access: Access,
        distributor: Distributor,
        gathering: Gathering,
        clock: Callable[[], datetime],
        limits: Limits,
        heartbeat_seconds: float,
        has_prometheus: bool = False,
        destinations: Sequence[str] = (),
        tracing: Tracing | None = None,
    ) -> "AdminServices":
        """Put the services together.

        Args:
            clock: the time, aware.
            heartbeat_seconds: how often a quiet stream of changes shows that it lives.
            has_prometheus: whether there is a Prometheus that guards can ask.
            destinations: who is sent notices, by name.
            tracing: whose traces lead from writes to broadcasts.
        """
        writer = Writer(store, bus, limits, clock, tracing or NoTracing(), destinations=destinations)
        configurations = ConfigurationService(writer)
        return cls(
            store=store,
            bus=bus,
            access=access,
            distributor=distributor,
            gathering=gathering,
            clock=clock,
            heartbeat_seconds=heartbeat_seconds,
            writer=writer,
            flags=FlagService(writer),
            configurations=configurations,
            segments=SegmentService(writer),
            members=MemberService(writer),
            projects=ProjectService(writer),
            imports=ImportService(writer),
            credentials=CredentialService(store, bus, access, clock),
            ramps=RampService(writer, has_prometheus=has_prometheus),
            hooks=HookService(writer, configurations),
        )

    def holding(self, hold: Holding) -> "AdminServices":
        """The same, for one request; ``hold`` says what becomes of the transaction that its command writes in."""
        writer = self.writer.holding(hold)
        configurations = ConfigurationService(writer)
        return replace(
            self,
            writer=writer,
            flags=FlagService(writer),
            configurations=configurations,
            segments=SegmentService(writer),
            members=MemberService(writer),
            projects=ProjectService(writer),
            imports=ImportService(writer),
            credentials=self.credentials.holding(hold),
            ramps=self.ramps.holding(writer),
            hooks=HookService(writer, configurations),
        )


async def admin_services(state: State, request: Request[str, AdminPrincipal, Any]) -> AdminServices:
    """For dependency injection: what the application has put into its state, or the same for this one request."""
    services: AdminServices = state.admin
    hold = await holding(request, services.clock())
    return services if hold is not_held else services.holding(hold)


Admin: TypeAlias = NamedDependency[AdminServices]
Principal: TypeAlias = NamedDependency[AdminPrincipal]
"""Who is asking; the guard has let them in."""
InPath: TypeAlias = FromPath[str]
