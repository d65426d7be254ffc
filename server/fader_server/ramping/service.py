"""Commands on ramps, and what a ramp does by itself: each is one transaction, in which the flag, the ramp and the
history change together."""

import secrets
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.errors import Conflict, NotFound
from fader_server.flags import edits
from fader_server.flags.commands import FlagState, Intent, Target
from fader_server.flags.findings import Findings
from fader_server.flags.lookup import existing_environment, existing_flag, locked_flag
from fader_server.flags.notices import tell_of_ramp
from fader_server.flags.ramped import RAMP, log, new_hash_key, store_move
from fader_server.flags.storing import store_configuration
from fader_server.flags.writing import Transaction, Writer
from fader_server.ramping.looks import Looks
from fader_server.ramping.plans import check_plan
from fader_server.ramps import moves
from fader_server.ramps.moves import Move
from fader_server.ramps.plan import Plan
from fader_server.ramps.progress import Counted, Progress
from fader_server.storage import leases, ramps
from fader_server.storage.documents import encode, ramp_document
from fader_server.storage.records import Configuration, EnvironmentState, Ramp

LEASE: Final = "ramps"
"""What the server holds that moves ramps."""


_NO_RULE: Final = "the rule that it brings up is not there any more"


class LeadershipLostError(Exception):
    """Another server leads by now. Nothing was written."""


class RampMoved(Struct, frozen=True):
    """What a command has made of a ramp; ``revision`` is the environment's after it."""

    ramp: Ramp
    revision: int


class RampService:
    """Ramps of all flags.

    Args:
        writer: Runs commands.
        has_prometheus: Whether there is a Prometheus that guards can ask.
    """

    def __init__(self, writer: Writer, *, has_prometheus: bool) -> None:
        self._writer = writer
        self.has_prometheus = has_prometheus

    def holding(self, writer: Writer) -> "RampService":
        """The same, with another writer."""
        return RampService(writer, has_prometheus=self.has_prometheus)

    # What people do.

    async def start(self, target: Target, plan: Plan, intent: Intent) -> RampMoved:
        """Begin with the first step. A flag that is off is switched on with it.

        Raises:
            Invalid: naming everything that is wrong with the plan.
            Conflict: if the flag is in a ramp already, or on for more users than the first step lets in.
            NotFound: if there is no such flag, environment or rule.
        """
        findings = Findings()
        limits, now = self._writer.limits, self._writer.clock()
        check_plan(plan, limits, now, has_prometheus=self.has_prometheus, findings=findings)
        findings.raise_if_any()
        async with self._writer.transaction(intent) as transaction:
            state, flag = await locked_flag(transaction.connection, target.project, target.environment, target.flag)
            if flag.configurations[target.environment].ramp is not None:
                raise Conflict(
                    f"Flag {target.flag!r} is in a ramp in {target.environment!r} already.",
                    hint="Look at it with `fader ramp status`, or abort it first.",
                )
            move = moves.begin(plan, transaction.now)
            percentage = plan.steps[0].percentage
            _refuse_to_take_away(target, flag.configurations[target.environment].configuration, plan.rule, percentage)
            revision, configuration = await _change_flag(
                transaction,
                state,
                flag,
                "on",
                lambda before: edits.rolled_out(edits.switched(before, on=True), percentage, rule_id=plan.rule),
            )
            ramp = Ramp(
                id=secrets.token_hex(8),
                project=target.project,
                environment=target.environment,
                epoch=state.epoch,
                flag=target.flag,
                plan=replace(plan, rule=plan.rule or edits.rule_for_everybody(configuration)),
                progress=replace(move.progress, revision=revision),
                is_over=False,
                hash_key=new_hash_key(),
                version=1,
                created_at=transaction.now,
                created_by=intent.actor,
                reason=intent.reason,
                updated_at=transaction.now,
            )
            await ramps.insert(transaction.connection, ramp)
            told = await log(transaction, ramp, "started", None, ramp_document(ramp))
            await tell_of_ramp(transaction, "ramp.started", ramp, told)
            return RampMoved(ramp, told)

    async def pause(self, target: Target, intent: Intent) -> RampMoved:
        """Stay at the present step. Guards go on watching."""
        why = f"paused by {intent.actor}"
        return await self._command(target, intent, "paused", lambda ramp: moves.pause(ramp.progress, why))

    async def resume(self, target: Target, intent: Intent) -> RampMoved:
        """Go on after a pause, or after a guard has held the ramp."""
        return await self._command(target, intent, "resumed", lambda ramp: moves.resume(ramp.plan, ramp.progress))

    async def advance(self, target: Target, intent: Intent) -> RampMoved:
        """Go to the next step at once, whatever the present one waits for."""
        return await self._command(
            target, intent, "advanced", lambda ramp: moves.advance(ramp.plan, ramp.progress, self._writer.clock())
        )

    async def approve(self, target: Target, intent: Intent) -> RampMoved:
        """Let the present step end when all else is there."""
        return await self._command(target, intent, "approved", lambda ramp: moves.approve(ramp.progress))

    async def abort(self, target: Target, intent: Intent, *, off: bool) -> RampMoved:
        """End the ramp, and leave the flag where it is, or switch it off."""
        why = f"aborted by {intent.actor}" + (f": {intent.reason}" if intent.reason else "")
        return await self._command(
            target, intent, "aborted", lambda ramp: moves.end(ramp.progress, "aborted", why, off=off)
        )

    async def _command(self, target: Target, intent: Intent, action: str, decide: Callable[[Ramp], Move]) -> RampMoved:
        async with self._writer.transaction(intent) as transaction:
            state, flag = await locked_flag(transaction.connection, target.project, target.environment, target.flag)
            ramp_id = flag.configurations[target.environment].ramp
            ramp = None if ramp_id is None else await ramps.ramp(transaction.connection, ramp_id, lock=True)
            if ramp is None:
                raise NotFound(f"Flag {target.flag!r} is in no ramp in {target.environment!r}.")
            return await _moved(transaction, state, flag, ramp, decide(ramp), action)

    # What a ramp does by itself.

    async def look(
        self,
        ramp: Ramp,
        counted: Mapping[str, Counted],
        asked: Mapping[str, float | None],
        leader: str,
        looks: Looks,
    ) -> tuple[Ramp, Move]:
        """Do what there is to be done in a ramp now.

        Args:
            ramp: As it was read.
            counted: What its guards have counted in the present step.
            asked: What Prometheus has answered since the last look.
            leader: The server that does so; it must hold the lease.
            looks: What of it is worth keeping for people to look at.

        Returns:
            The ramp afterwards, and the move that led there.

        Raises:
            LeadershipLostError: if it does not hold it any more.
            MovedMeanwhile: if somebody else has moved the ramp.
        """
        move = moves.look(ramp.plan, ramp.progress, counted, asked, self._writer.clock())
        worth_keeping = await looks.worth_keeping(ramp, move.progress)
        intent = Intent(actor=RAMP, reason=_reason(move))
        async with self._writer.transaction(intent) as transaction:
            await _refuse_unless_leading(transaction, leader)
            if _is_turn(ramp.progress, move.progress):
                state, flag = await locked_flag(transaction.connection, ramp.project, ramp.environment, ramp.flag)
                if not _has_what_it_needs(flag.configurations[state.key].configuration, ramp, move):
                    move = Move(progress=replace(ramp.progress, status="held", why=_NO_RULE), tell=(_NO_RULE,))
                after = (await _moved(transaction, state, flag, ramp, move, move.progress.status)).ramp
            else:
                after, _ = await store_move(transaction, ramp, move, move.progress.status)
            await ramps.add_looks(transaction.connection, worth_keeping)
        looks.kept(worth_keeping)
        return after, move

    async def end_lost(self, ramp: Ramp, leader: str) -> None:
        """End a ramp whose flag or environment is not there any more."""
        async with self._writer.transaction(Intent(actor=RAMP)) as transaction:
            await _refuse_unless_leading(transaction, leader)
            gone = replace(ramp.progress, status="aborted", why="the flag is not there any more")
            after = replace(ramp, progress=gone, is_over=True, version=ramp.version + 1, updated_at=transaction.now)
            if await ramps.update(transaction.connection, after):
                await tell_of_ramp(transaction, "ramp.aborted", after, None)


async def newest_ramp(connection: AsyncConnection, target: Target) -> Ramp | None:
    """The newest ramp of a flag in an environment, over or not; ``None`` if it has never been in one.

    Raises:
        NotFound: if there is no such flag or environment.
    """
    state = await existing_environment(connection, target.project, target.environment)
    await existing_flag(connection, target.project, target.flag)
    found = await ramps.of_flag(connection, target.project, target.environment, target.flag, state.epoch, limit=1)
    return found[0] if found else None


async def _moved(
    transaction: Transaction, state: EnvironmentState, flag: FlagState, ramp: Ramp, move: Move, action: str
) -> RampMoved:
    """Write all of a move."""
    revision = state.revision
    if move.off or move.percentage is not None:
        action_on_flag = "off" if move.off else "rollout"
        revision, _ = await _change_flag(transaction, state, flag, action_on_flag, _edit_of(ramp, move))
        move = replace(move, progress=replace(move.progress, revision=revision))
    after, told = await store_move(transaction, ramp, move, action)
    return RampMoved(after, revision if told is None else told)


def _has_what_it_needs(configuration: Configuration, ramp: Ramp, move: Move) -> bool:
    """Whether the rule is still there whose rollout a move raises. Switching off needs none."""
    return move.percentage is None or any(rule.id == ramp.plan.rule for rule in configuration.rules)


def _refuse_to_take_away(target: Target, configuration: Configuration, rule_id: str | None, percentage: float) -> None:
    rule_id = rule_id or edits.rule_for_everybody(configuration)
    rule = next((rule for rule in configuration.rules if rule.id == rule_id), None)
    if not configuration.enabled or rule is None or rule.rollout.percentage <= percentage:
        return
    raise Conflict(
        f"{rule.rollout.percentage:g} % have {target.flag!r} in {target.environment!r} already, and the first step"
        f" would take it away from all but {percentage:g} %.",
        hint="Begin with as many, or roll it out to fewer first.",
    )


def _edit_of(ramp: Ramp, move: Move) -> Callable[[Configuration], Configuration]:
    percentage = move.percentage
    if percentage is None:
        return lambda before: edits.switched(before, on=False)
    return lambda before: edits.rolled_out(before, percentage, rule_id=ramp.plan.rule)


async def _change_flag(
    transaction: Transaction,
    state: EnvironmentState,
    flag: FlagState,
    action: str,
    edit: Callable[[Configuration], Configuration],
) -> tuple[int, Configuration]:
    current = flag.configurations[state.key]
    after = edits.tidied(edit(current.configuration))
    if encode(after) == encode(current.configuration):
        return current.revision, after
    written = await store_configuration(transaction, flag.definition, state.key, action, current.configuration, after)
    return written.revision, after


async def _refuse_unless_leading(transaction: Transaction, leader: str) -> None:
    if not await leases.holds(transaction.connection, LEASE, leader):
        raise LeadershipLostError


def _is_turn(before: Progress, after: Progress) -> bool:
    """Whether it is of interest to anybody but guards: only then is the environment locked."""
    return (before.status, before.step) != (after.status, after.step)


def _reason(move: Move) -> str:
    return move.progress.why or ", ".join(move.tell)
