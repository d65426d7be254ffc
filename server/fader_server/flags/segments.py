"""Commands on segments. Each is one change in every environment of the project."""

from collections.abc import Collection

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from fader import model
from fader_server.errors import Conflict, PreconditionFailed
from fader_server.flags.commands import Intent
from fader_server.flags.constraints import check_constraints
from fader_server.flags.findings import Findings
from fader_server.flags.key_lists import keys_of
from fader_server.flags.limits import Limits
from fader_server.flags.lookup import existing_project, existing_segment
from fader_server.flags.member_plans import Plan, carry_out, count_of, put_aside, replaced
from fader_server.flags.writing import Transaction, Writer
from fader_server.storage import environments, flags, segments
from fader_server.storage.documents import SegmentDocument, encode, segment_document
from fader_server.storage.records import EnvironmentState, Segment


class MembersKept(Struct, frozen=True, kw_only=True):
    """The long list that a segment is to keep, as it was when somebody looked at it."""

    digest: str | None


class SegmentContent(Struct, frozen=True, kw_only=True):
    """All of a segment but its names. Whoever leaves ``members`` out does not know of long lists, and must not take one
    away unawares; ``None`` does it on purpose."""

    description: str = ""
    constraints: tuple[model.Constraint, ...] = ()
    targeting_keys: tuple[str, ...] = ()
    members: MembersKept | UnsetType | None = UNSET


class SegmentState(Struct, frozen=True):
    """A segment, and the flags whose rules name it in any environment."""

    segment: Segment
    used_by: tuple[str, ...]


class SegmentService:
    """Named sets of contexts, shared by all environments of a project."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def create(self, project: str, key: str, content: SegmentContent, intent: Intent) -> SegmentState:
        """Add a segment.

        Raises:
            Invalid: naming everything that is wrong with it.
            Conflict: if there is one of this key.
        """
        async with self._writer.transaction(intent) as transaction:
            everywhere = await lock(transaction, project)
            if await segments.segment(transaction.connection, project, key) is not None:
                raise Conflict(f"There is a segment {key!r} already.", field="key", hint="Choose another key.")
            segment = await store_new(transaction, everywhere, project, key, content, self._writer.limits)
            return SegmentState(segment, ())

    async def replace(self, project: str, key: str, content: SegmentContent, intent: Intent) -> SegmentState:
        """Replace all of a segment but its names. What makes no difference writes nothing.

        Raises:
            Invalid: naming everything that is wrong with it.
        """
        async with self._writer.transaction(intent) as transaction:
            everywhere = await lock(transaction, project)
            before = await existing_segment(transaction.connection, project, key)
            after = await store_content(transaction, everywhere, before, content, self._writer.limits)
            return SegmentState(after, await users_of(transaction, project, key))

    async def delete(self, project: str, key: str, intent: Intent) -> None:
        """Remove a segment.

        Raises:
            Conflict: while rules name it, saying which flags'.
        """
        async with self._writer.transaction(intent) as transaction:
            everywhere = await lock(transaction, project)
            segment = await existing_segment(transaction.connection, project, key)
            used_by = await users_of(transaction, project, key)
            if used_by:
                raise Conflict(
                    f"Segment {key!r} is used by {', '.join(used_by[:20])}.",
                    hint="Take it out of their rules first.",
                )
            await segments.delete(transaction.connection, project, key)
            await log(transaction, everywhere, segment, "deleted", segment_document(segment), None)


async def store_new(
    transaction: Transaction,
    everywhere: Collection[EnvironmentState],
    project: str,
    key: str,
    content: SegmentContent,
    limits: Limits,
) -> Segment:
    """Add a segment, of whose key there is none, as one change in each environment.

    Args:
        transaction: In which nobody else changes anything in the project.
        everywhere: All environments of the project.
        project: Whose.
        key: Its name.
        content: All else.
        limits: How much of everything.

    Raises:
        Invalid: naming everything that is wrong with it.
    """
    findings = Findings()
    findings.check_key("key", key)
    _check_content(content, limits, findings)
    findings.raise_if_any()
    segment = Segment(
        project=project,
        key=key,
        id=0,
        description=content.description,
        constraints=content.constraints,
        created_at=transaction.now,
        updated_at=transaction.now,
    )
    segment = replace(segment, id=await segments.insert(transaction.connection, segment))
    plan = await _plan(transaction.connection, segment, content, limits)
    await put_aside(transaction.connection, segment, plan)
    segment = plan.apply(segment)
    await carry_out(transaction.connection, segment, plan)
    await log(transaction, everywhere, segment, "created", None, segment_document(segment, added=plan.added))
    return segment


async def store_content(
    transaction: Transaction,
    everywhere: Collection[EnvironmentState],
    before: Segment,
    content: SegmentContent,
    limits: Limits,
) -> Segment:
    """Replace all of a segment but its names, as one change in each environment. What makes no difference writes
    nothing, and gives back ``before``.

    Args:
        transaction: In which nobody else changes anything in the project.
        everywhere: All environments of the project.
        before: The segment as it is.
        content: As it is to be.
        limits: How much of everything.

    Raises:
        Invalid: naming everything that is wrong with it.
    """
    findings = Findings()
    _check_content(content, limits, findings)
    findings.raise_if_any()
    plan = await _plan(transaction.connection, before, content, limits)
    after = replace(plan.apply(before), description=content.description, constraints=content.constraints)
    if encode(after) == encode(before):
        return before
    after = replace(after, updated_at=transaction.now)
    await put_aside(transaction.connection, before, plan)
    await carry_out(transaction.connection, after, plan)
    document = segment_document(after, added=plan.added, removed=plan.removed)
    await log(transaction, everywhere, after, "updated", segment_document(before), document)
    return after


async def _plan(connection: AsyncConnection, segment: Segment, content: SegmentContent, limits: Limits) -> Plan:
    """How its keys become those of the content."""
    held, kept = segment.members, content.members
    if held is not None and isinstance(kept, MembersKept) and not content.targeting_keys:
        if kept.digest != held.digest:
            raise PreconditionFailed(f"The members of segment {segment.key!r} have changed meanwhile.")
        return Plan(described=held)
    if held is not None and isinstance(kept, UnsetType):
        raise Conflict(
            f"Segment {segment.key!r} has a list of {held.count:,} members, which would be gone.",
            field="members",
            hint="Send `members` as the segment shows it to keep them, or null to do without.",
        )
    keys = content.targeting_keys
    if len(keys) <= limits.targeting_keys_inline:
        return Plan(short=keys, removed=count_of(segment))
    return await replaced(connection, segment, await keys_of(keys), keys, limits)


async def lock(transaction: Transaction, project: str) -> list[EnvironmentState]:
    """See to it that nobody else changes anything in a project until the end; returns its environments."""
    await existing_project(transaction.connection, project, lock=True)
    return await environments.states(transaction.connection, project, lock=True)


async def users_of(transaction: Transaction, project: str, key: str) -> tuple[str, ...]:
    """The flags whose rules name a segment."""
    users = await flags.users_of(transaction.connection, project, "segment", key)
    return tuple(sorted({flag for _, flag, _ in users}))


async def log(
    transaction: Transaction,
    everywhere: Collection[EnvironmentState],
    segment: Segment,
    action: str,
    before: SegmentDocument | None,
    after: SegmentDocument | None,
) -> None:
    """Write a change of a segment into the log of every environment."""
    for environment in everywhere:
        await transaction.log(
            segment.project, environment.key, "segment", segment.key, action, before=before, after=after
        )


def _check_content(content: SegmentContent, limits: Limits, findings: Findings) -> None:
    findings.check_text("description", content.description, limits.text, lines=True)
    check_constraints("constraints", content.constraints, limits, findings)
    if findings.check_count("targeting_keys", content.targeting_keys, limits.targeting_keys):
        for position, key in enumerate(content.targeting_keys):
            if not 0 < len(key) <= limits.text:
                findings.check_text(f"targeting_keys[{position}]", key, limits.text, empty=False)
        findings.check_distinct("targeting_keys", content.targeting_keys)
