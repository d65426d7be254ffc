"""What the admin API's handlers call."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath

from fader_server.access import Access, AdminPrincipal
from fader_server.access.issuing import CredentialService
from fader_server.bus import Bus
from fader_server.flags.configurations import ConfigurationService
from fader_server.flags.limits import Limits
from fader_server.flags.projects import ProjectService
from fader_server.flags.segments import SegmentService
from fader_server.flags.service import FlagService
from fader_server.flags.writing import Writer
from fader_server.storage import Store


@dataclass(frozen=True)
class AdminServices:
    """All of it, ready to use."""

    store: Store
    bus: Bus
    access: Access
    clock: Callable[[], datetime]
    heartbeat_seconds: float
    flags: FlagService
    configurations: ConfigurationService
    segments: SegmentService
    projects: ProjectService
    credentials: CredentialService

    @classmethod
    def build(
        cls,
        *,
        store: Store,
        bus: Bus,
        access: Access,
        clock: Callable[[], datetime],
        limits: Limits,
        heartbeat_seconds: float,
    ) -> "AdminServices":
        """Put the services together.

        Args:
            clock: the time, aware.
            heartbeat_seconds: how often a quiet stream of changes shows that it lives.
        """
        writer = Writer(store, bus, limits, clock)
        return cls(
            store=store,
            bus=bus,
            access=access,
            clock=clock,
            heartbeat_seconds=heartbeat_seconds,
            flags=FlagService(writer),
            configurations=ConfigurationService(writer),
            segments=SegmentService(writer),
            projects=ProjectService(writer),
            credentials=CredentialService(store, bus, access, clock),
        )


def admin_services(state: State) -> AdminServices:
    """For dependency injection: what the application has put into its state."""
    services: AdminServices = state.admin
    return services


Admin: TypeAlias = NamedDependency[AdminServices]
Principal: TypeAlias = NamedDependency[AdminPrincipal]
"""Who is asking; the guard has let them in."""
InPath: TypeAlias = FromPath[str]
