"""The steps that all commands share: one transaction in which changes are logged, and hints once it has
committed."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.bus import Bus, Message, RevisionHint
from fader_server.flags.commands import Intent
from fader_server.flags.findings import Findings
from fader_server.flags.limits import Limits
from fader_server.storage import Store, changes
from fader_server.storage.idempotency import Holding, not_held
from fader_server.storage.records import ChangeKind, Entry
from fader_server.telemetry.tracing import Tracing


class Step(Struct, frozen=True):
    """One change of a command: what was done to which thing, and the documents before and after."""

    kind: ChangeKind
    key: str
    action: str
    before: Any
    after: Any


class Transaction:
    """One command's transaction: the connection, the moment, what is to be announced after the commit, and who is sent
    notices."""

    def __init__(
        self,
        connection: AsyncConnection,
        intent: Intent,
        now: datetime,
        announcements: list[Message],
        trace: str | None,
        destinations: Sequence[str] = (),
    ) -> None:
        self._trace = trace
        self.connection = connection
        self.intent = intent
        self.now = now
        self.announcements = announcements
        self.destinations = destinations

    async def log(
        self,
        project: str,
        environment: str,
        kind: ChangeKind,
        key: str,
        action: str,
        *,
        before: Any,
        after: Any,
    ) -> int:
        """Write a change under the environment's next revision.

        Returns:
            The revision.
        """
        return await self.log_all(project, environment, [Step(kind, key, action, before, after)])

    async def log_all(self, project: str, environment: str, steps: Sequence[Step]) -> int:
        """Write changes (one or more), each under a revision of its own, in their order.

        Returns:
            The first one's revision; those of the others follow it.
        """
        entries = [
            Entry(
                kind=step.kind,
                key=step.key,
                action=step.action,
                actor=self.intent.actor,
                at=self.now,
                reason=self.intent.reason,
                before=step.before,
                after=step.after,
            )
            for step in steps
        ]
        first = await changes.append_all(self.connection, project, environment, entries)
        self.announcements.append(RevisionHint(project, environment, first + len(entries) - 1, self._trace))
        return first


class Writer:
    """Runs commands.

    Args:
        store: where to.
        bus: whom to tell.
        limits: how much of everything.
        clock: the time, aware.
        tracing: whose traces lead from writes to broadcasts.
        hold: what becomes of transactions at the end of their blocks.
        destinations: who is sent notices, by name.
    """

    def __init__(
        self,
        store: Store,
        bus: Bus[Message],
        limits: Limits,
        clock: Callable[[], datetime],
        tracing: Tracing,
        hold: Holding = not_held,
        destinations: Sequence[str] = (),
    ) -> None:
        self._tracing = tracing
        self.store = store
        self.bus = bus
        self.limits = limits
        self.clock = clock
        self._hold = hold
        self._destinations = destinations

    def holding(self, hold: Holding) -> "Writer":
        """The same, with another ``hold``."""
        return Writer(self.store, self.bus, self.limits, self.clock, self._tracing, hold, self._destinations)

    @asynccontextmanager
    async def transaction(self, intent: Intent) -> AsyncIterator[Transaction]:
        """All that the block writes becomes true at once when it ends (or when what holds it lets go), and is
        announced then; or nothing if it raises.

        Raises:
            Invalid: if the intent's reason is not fit to be kept.
        """
        findings = Findings()
        findings.check_text("reason", intent.reason, self.limits.text, lines=True)
        findings.raise_if_any()
        announcements: list[Message] = []
        trace = self._tracing.here()
        async with self._hold(self._announced(announcements, dry_run=intent.dry_run)) as connection:
            yield Transaction(connection, intent, self.clock(), announcements, trace, self._destinations)

    @asynccontextmanager
    async def _announced(self, announcements: list[Message], *, dry_run: bool) -> AsyncIterator[AsyncConnection]:
        async with self.store.write(dry_run=dry_run) as connection:
            yield connection
        if not dry_run:
            for message in announcements:
                await self.bus.publish(message)
