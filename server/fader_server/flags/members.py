"""Commands on who is listed in a segment: all of them at once, or some more and some less."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.errors import Invalid, PreconditionFailed
from fader_server.flags.commands import Intent
from fader_server.flags.findings import Findings
from fader_server.flags.key_lists import keys_of_file
from fader_server.flags.lookup import existing_segment
from fader_server.flags.member_plans import Plan, carry_out, edited, put_aside, replaced, tag_of
from fader_server.flags.segments import SegmentState, lock, log, users_of
from fader_server.flags.writing import Writer
from fader_server.storage.documents import encode, segment_document
from fader_server.storage.records import Segment

_Decide: TypeAlias = Callable[[AsyncConnection, Segment], Awaitable[Plan]]


class ListOf(Struct, frozen=True):
    """Whose list; with ``if_tag``, only as long as it is that one (``member_plans.tag_of``)."""

    project: str
    segment: str
    if_tag: str | None = None


class MemberEdit(Struct, frozen=True, kw_only=True):
    """Keys that a segment is to list, and others that it is not."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class MemberService:
    """The targeting keys of segments, however many."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def replace(self, of: ListOf, content: bytes, intent: Intent) -> SegmentState:
        """Let a segment list the keys of a file, and no others. What makes no difference writes nothing.

        Args:
            of: Whose list.
            content: The file: UTF-8, a key in each line.
            intent: Who wants it, and why.

        Raises:
            Invalid: naming the lines that are no keys; or if there are none, or too many.
            PreconditionFailed: if the list is not that one.
        """
        keys, short = await keys_of_file(content, self._writer.limits)
        if not len(keys):
            findings = Findings()
            findings.add(
                "", "the file has no keys in it", "To list nobody, replace the segment without targeting_keys."
            )
            raise Invalid.of(findings.errors)
        limits = self._writer.limits
        return await self._write(
            of, intent, lambda connection, segment: replaced(connection, segment, keys, short, limits)
        )

    async def edit(self, of: ListOf, edit: MemberEdit, intent: Intent) -> SegmentState:
        """Add keys to a segment's list, and take others out. What makes no difference writes nothing.

        Raises:
            Invalid: naming everything that is wrong with them.
            PreconditionFailed: if the list is not that one.
        """
        limits, findings = self._writer.limits, Findings()
        for field, keys in (("add", edit.add), ("remove", edit.remove)):
            if findings.check_count(field, keys, limits.edited_keys):
                for position, key in enumerate(keys):
                    findings.check_text(f"{field}[{position}]", key, limits.text, empty=False)
        for key in sorted(set(edit.add).intersection(edit.remove))[:1]:
            findings.add("remove", f"names {key!r}, which is to be added as well")
        findings.raise_if_any()
        return await self._write(
            of, intent, lambda connection, segment: edited(connection, segment, edit.add, edit.remove, limits)
        )

    async def _write(self, of: ListOf, intent: Intent, decide: _Decide) -> SegmentState:
        async with self._writer.store.read() as connection:
            seen = await _wanted(connection, of)
            plan = await decide(connection, seen)
        async with self._writer.transaction(intent) as transaction:
            connection = transaction.connection
            # Before anything is locked: while a million keys are written, others go on switching flags.
            await put_aside(connection, seen, plan)
            everywhere = await lock(transaction, of.project)
            before = await _wanted(connection, of)
            if not _lists_the_same(before, seen):
                plan = await decide(connection, before)
                await put_aside(connection, before, plan)
            after = plan.apply(before)
            if encode(after) != encode(before):
                after = replace(after, updated_at=transaction.now)
                await carry_out(connection, after, plan)
                document = segment_document(after, added=plan.added, removed=plan.removed)
                await log(transaction, everywhere, after, "members changed", segment_document(before), document)
            return SegmentState(after, await users_of(transaction, of.project, of.segment))


async def _wanted(connection: AsyncConnection, of: ListOf) -> Segment:
    segment = await existing_segment(connection, of.project, of.segment)
    if of.if_tag is not None and tag_of(segment) != of.if_tag:
        raise PreconditionFailed(
            f"The members of segment {of.segment!r} have changed since you looked at them.",
            hint="Look again, and decide anew.",
        )
    return segment


def _lists_the_same(one: Segment, other: Segment) -> bool:
    return (one.id, one.targeting_keys, one.members) == (other.id, other.targeting_keys, other.members)
