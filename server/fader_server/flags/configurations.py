"""Commands on a flag in one environment: on, off, rollout, rules, the whole configuration, undo."""

from collections.abc import Callable

from fader import model
from fader_server.errors import Conflict, PreconditionFailed
from fader_server.flags import edits
from fader_server.flags.commands import FlagState, Intent, Target, Written
from fader_server.flags.findings import Findings
from fader_server.flags.lookup import (
    locked_flag,
    surroundings,
)
from fader_server.flags.ramped import interfere
from fader_server.flags.storing import store_configuration
from fader_server.flags.validation import check_configuration, check_hashing, check_percentage, check_rule
from fader_server.flags.writing import Transaction, Writer
from fader_server.storage import changes
from fader_server.storage.documents import decode_flag, encode
from fader_server.storage.records import Configuration, Definition, EnvironmentState

CONFIGURING_ACTIONS = frozenset({"on", "off", "rollout", "rules", "configured", "undo"})
"""The changes that undo takes back. Others are about the flag as a whole, in all environments."""


class ConfigurationService:
    """Each command is one transaction with at most one change; one that makes no difference writes
    nothing."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._limits = writer.limits

    async def configure(self, target: Target, configuration: Configuration, intent: Intent) -> Written:
        """Replace the whole configuration.

        Raises:
            Invalid: naming everything that is wrong with it.
        """
        return await self._edit(target, "configured", intent, lambda _: configuration)

    async def switch_on(self, target: Target, intent: Intent, percentage: float | None = None) -> Written:
        """Enable the flag; with a percentage, let that share in, in the same change."""
        if percentage is None:
            return await self._edit(target, "on", intent, lambda now: edits.switched(now, on=True))
        findings = Findings()
        check_percentage("percentage", percentage, findings)
        findings.raise_if_any()
        return await self._edit(
            target, "on", intent, lambda now: edits.rolled_out(edits.switched(now, on=True), percentage)
        )

    async def switch_off(self, target: Target, intent: Intent) -> Written:
        """Disable the flag. Nothing about its rules is looked at: this must work, whatever state they are
        in."""
        async with self._writer.transaction(intent) as transaction:
            return await self.switch_off_within(transaction, target)

    async def switch_off_within(self, transaction: Transaction, target: Target) -> Written:
        """The same, with whatever else is done in a transaction."""
        state, flag = await self._locked(transaction, target)
        return await self._replace(transaction, target, state, flag, "off", lambda now: edits.switched(now, on=False))

    async def roll_out(
        self,
        target: Target,
        percentage: float,
        intent: Intent,
        *,
        by: str | None = None,
        salt: str | None = None,
        rule_id: str | None = None,
    ) -> Written:
        """Set the share that is let in, by one rule or by the last one that is for everybody. Never enables
        the flag."""
        findings = Findings()
        check_percentage("percentage", percentage, findings)
        check_hashing("", model.BY_DEFAULT if by is None else by, salt or "", self._limits, findings)
        findings.raise_if_any()
        return await self._edit(
            target,
            "rollout",
            intent,
            lambda now: edits.rolled_out(now, percentage, by=by, salt=salt, rule_id=rule_id),
        )

    async def add_rule(self, target: Target, rule: model.Rule, position: int | None, intent: Intent) -> Written:
        """Add a rule, last unless a position (from 0) is given."""
        return await self._edit(
            target, "rules", intent, lambda now: edits.with_rule(now, rule, position), checked_rule=rule
        )

    async def replace_rule(self, target: Target, rule_id: str, rule: model.Rule, intent: Intent) -> Written:
        """Put another rule in a rule's place; all others stay."""
        return await self._edit(
            target,
            "rules",
            intent,
            lambda now: edits.with_rule_replaced(now, rule_id, rule),
            checked_rule=rule,
        )

    async def remove_rule(self, target: Target, rule_id: str, intent: Intent) -> Written:
        """Take a rule away; all others stay."""
        return await self._edit(target, "rules", intent, lambda now: edits.without_rule(now, rule_id))

    async def undo(self, target: Target, intent: Intent) -> Written:
        """Go back to the configuration before the newest change of it, as a new change: undoing twice is
        redoing.

        Raises:
            Conflict: if there is nothing to undo, or what was cannot be any more.
        """
        async with self._writer.transaction(intent) as transaction:
            state, flag = await self._locked(transaction, target)
            last = await changes.newest_of_flag(
                transaction.connection,
                target.project,
                target.environment,
                target.flag,
                CONFIGURING_ACTIONS | {"created"},
            )
            if last is None or last.before is None:
                place = f"the configuration of {target.flag!r} in {target.environment!r}"
                raise Conflict(f"There is nothing to undo: {place} has not been changed since the flag was created.")
            document = decode_flag(last.before)
            former = Configuration(enabled=document.enabled, rules=document.rules, prerequisites=document.prerequisites)
            findings = Findings()
            around = await surroundings(transaction.connection, target.project, target.environment, target.flag, former)
            check_configuration(flag.definition, former, around, self._limits, findings)
            if findings.errors:
                raise Conflict(
                    f"The configuration before revision {last.revision} is not possible any more: "
                    f"{findings.errors[0].field}: {findings.errors[0].detail}.",
                    errors=findings.errors,
                )
            return await self._replace(transaction, target, state, flag, "undo", lambda _: former)

    async def _edit(
        self,
        target: Target,
        action: str,
        intent: Intent,
        edit: Callable[[Configuration], Configuration],
        *,
        checked_rule: model.Rule | None = None,
    ) -> Written:
        async with self._writer.transaction(intent) as transaction:
            state, flag = await self._locked(transaction, target)
            if checked_rule is not None:
                await self._refuse_wrong_rule(transaction, target, flag.definition, checked_rule)
            return await self._replace(transaction, target, state, flag, action, edit, check=True)

    async def _locked(self, transaction: Transaction, target: Target) -> tuple[EnvironmentState, FlagState]:
        return await locked_flag(transaction.connection, target.project, target.environment, target.flag)

    async def _replace(
        self,
        transaction: Transaction,
        target: Target,
        state: EnvironmentState,
        flag: FlagState,
        action: str,
        edit: Callable[[Configuration], Configuration],
        *,
        check: bool = False,
    ) -> Written:
        definition = flag.definition
        current = flag.configurations[target.environment]
        if target.if_revision not in (None, current.revision):
            raise PreconditionFailed(
                f"{target.flag!r} was last changed in {target.environment!r} at revision {current.revision}, by "
                f"{current.updated_by!r}, and not at revision {target.if_revision}.",
                hint="Look at it again, then decide.",
            )
        before = current.configuration
        after = edits.tidied(edit(before))
        revision = state.revision
        # As text: 1 and 1.0 are equal values, and different documents.
        changed = encode(after) != encode(before)
        if changed:
            if check:
                await self._refuse_wrong(transaction, target, definition, _new_in(before, after))
            if current.ramp is not None:
                await interfere(transaction, current.ramp, "switched off", is_off=action == "off")
            written = await store_configuration(transaction, definition, target.environment, action, before, after)
            revision = written.revision
            flag = FlagState(definition, flag.configurations | {target.environment: written})
        return Written(flag, target.environment, revision, changed)

    async def _refuse_wrong(
        self, transaction: Transaction, target: Target, definition: Definition, configuration: Configuration
    ) -> None:
        around = await surroundings(
            transaction.connection, target.project, target.environment, target.flag, configuration
        )
        findings = Findings()
        check_configuration(definition, configuration, around, self._limits, findings)
        findings.raise_if_any()

    async def _refuse_wrong_rule(
        self, transaction: Transaction, target: Target, definition: Definition, rule: model.Rule
    ) -> None:
        """Before it becomes part of the whole, so that paths are those of the document that was sent."""
        around = await surroundings(
            transaction.connection,
            target.project,
            target.environment,
            target.flag,
            Configuration(rules=(rule,)),
        )
        findings = Findings()
        check_rule("", definition, rule, around, self._limits, findings)
        findings.raise_if_any()


def _new_in(before: Configuration, after: Configuration) -> Configuration:
    """What there is to check: what stays as it is was checked when it was written, and must not stop anybody
    now."""
    return Configuration(
        enabled=after.enabled,
        rules=() if after.rules == before.rules else after.rules,
        prerequisites=() if after.prerequisites == before.prerequisites else after.prerequisites,
    )
