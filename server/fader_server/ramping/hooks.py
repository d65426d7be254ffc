"""Hooks: URLs at which an alert switches a flag off, whoever sends it."""

from typing import Literal, TypeAlias

from msgspec import Struct

from fader_server.access.credentials import digest, new_hook_token, new_id
from fader_server.errors import NotFound
from fader_server.flags.commands import Intent, Target
from fader_server.flags.configurations import ConfigurationService
from fader_server.flags.findings import Findings
from fader_server.flags.lookup import editable_flag, existing_environment
from fader_server.flags.notices import tell_of_alert
from fader_server.flags.writing import Writer
from fader_server.ramping.alerts import Alert
from fader_server.storage import hooks
from fader_server.storage.records import Hook

Result: TypeAlias = Literal["switched off", "off already", "nothing to do"]

_NAME_LENGTH = 200


class MadeHook(Struct, frozen=True):
    """A hook that has just been made: the only moment at which its secret is known."""

    hook: Hook
    secret: str

    def __repr__(self) -> str:
        return f"MadeHook({self.hook!r})"


class Fired(Struct, frozen=True):
    """What an alert has led to; ``revision`` is the environment's after it, where the flag was looked at."""

    hook: Hook
    result: Result
    revision: int | None = None


class HookService:
    """Hooks of all flags.

    Args:
        writer: Runs commands.
        configurations: Switches flags off.
    """

    def __init__(self, writer: Writer, configurations: ConfigurationService) -> None:
        self._writer = writer
        self._configurations = configurations

    async def create(self, target: Target, name: str, intent: Intent) -> MadeHook:
        """Make a hook for a flag in an environment.

        Raises:
            Invalid: if the name is of no use.
            NotFound: if there is no such flag or environment.
            Conflict: if the flag is archived.
        """
        findings = Findings()
        findings.check_text("name", name, _NAME_LENGTH, empty=False)
        if name and not name.strip():
            findings.add("name", "is blank")
        findings.raise_if_any()
        async with self._writer.transaction(intent) as transaction:
            await existing_environment(transaction.connection, target.project, target.environment)
            await editable_flag(transaction.connection, target.project, target.flag)
            secret = new_hook_token()
            hook = Hook(
                id=new_id(),
                name=name,
                project=target.project,
                environment=target.environment,
                flag=target.flag,
                created_at=transaction.now,
                created_by=intent.actor,
            )
            await hooks.insert(transaction.connection, hook, digest(secret))
        return MadeHook(hook, secret)

    async def delete(self, target: Target, hook_id: str, intent: Intent) -> None:
        """Make a hook do nothing any more, at once and for good.

        Raises:
            NotFound: if the flag has no such hook there.
        """
        async with self._writer.transaction(intent) as transaction:
            place = target.project, target.environment, target.flag
            if not await hooks.delete(transaction.connection, *place, hook_id):
                raise NotFound(f"Flag {target.flag!r} has no hook {hook_id!r} in {target.environment!r}.")

    async def fire(self, secret: str, alert: Alert) -> Fired:
        """Do what an alert demands. Doing it again changes nothing.

        Args:
            secret: Of the hook that it has come to.
            alert: What it says.

        Raises:
            NotFound: if there is no such hook.
            Conflict: if its flag is archived.
        """
        async with self._writer.store.read() as connection:
            hook = await hooks.by_digest(connection, digest(secret))
        if hook is None:
            raise NotFound("There is no hook with this URL. It may have been deleted, or it was not copied as a whole.")
        target = Target(hook.project, hook.flag, hook.environment)
        async with self._writer.transaction(Intent(actor=f"hook {hook.name}", reason=alert.reason)) as transaction:
            result: Result = "nothing to do"
            revision = None
            if alert.is_firing:
                written = await self._configurations.switch_off_within(transaction, target)
                result = "switched off" if written.changed else "off already"
                if written.changed:
                    await tell_of_alert(transaction, target.project, target.environment, target.flag, written.revision)
                revision = written.revision
            # Last: who deletes a flag takes its environment before its hooks, too.
            await hooks.mark_used(transaction.connection, hook.id, transaction.now)
        return Fired(hook, result, revision)
