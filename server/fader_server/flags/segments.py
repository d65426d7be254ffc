"""Commands on segments. Each is one change in every environment of the project."""

from collections.abc import Collection

import msgspec
from msgspec import Struct

from fader import model
from fader_server.errors import Conflict
from fader_server.flags.commands import Intent
from fader_server.flags.constraints import check_constraints
from fader_server.flags.findings import Findings
from fader_server.flags.limits import Limits
from fader_server.flags.lookup import existing_project, existing_segment
from fader_server.flags.writing import Transaction, Writer
from fader_server.storage import environments, flags, segments
from fader_server.storage.documents import SegmentDocument, encode, segment_document
from fader_server.storage.records import EnvironmentState, Segment


class SegmentContent(Struct, frozen=True, kw_only=True):
    """All of a segment but its names."""

    description: str = ""
    constraints: tuple[model.Constraint, ...] = ()
    targeting_keys: tuple[str, ...] = ()


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
            everywhere = await self._lock(transaction, project)
            findings = Findings()
            findings.check_key("key", key)
            _check_content(content, self._writer.limits, findings)
            findings.raise_if_any()
            if await segments.segment(transaction.connection, project, key) is not None:
                raise Conflict(f"There is a segment {key!r} already.", field="key", hint="Choose another key.")
            segment = Segment(
                project=project,
                key=key,
                id=0,
                description=content.description,
                constraints=content.constraints,
                targeting_keys=content.targeting_keys,
                created_at=transaction.now,
                updated_at=transaction.now,
            )
            number = await segments.insert(transaction.connection, segment)
            segment = msgspec.structs.replace(segment, id=number)
            await _log(transaction, everywhere, segment, "created", None, segment_document(segment))
            return SegmentState(segment, ())

    async def replace(self, project: str, key: str, content: SegmentContent, intent: Intent) -> SegmentState:
        """Replace all of a segment but its names. What makes no difference writes nothing.

        Raises:
            Invalid: naming everything that is wrong with it.
        """
        async with self._writer.transaction(intent) as transaction:
            everywhere = await self._lock(transaction, project)
            before = await existing_segment(transaction.connection, project, key)
            findings = Findings()
            _check_content(content, self._writer.limits, findings)
            findings.raise_if_any()
            after = msgspec.structs.replace(
                before,
                description=content.description,
                constraints=content.constraints,
                targeting_keys=content.targeting_keys,
            )
            if encode(after) != encode(before):
                after = msgspec.structs.replace(after, updated_at=transaction.now)
                await segments.update(transaction.connection, after)
                await _log(
                    transaction,
                    everywhere,
                    after,
                    "updated",
                    segment_document(before),
                    segment_document(after),
                )
            return SegmentState(after, await _used_by(transaction, project, key))

    async def delete(self, project: str, key: str, intent: Intent) -> None:
        """Remove a segment.

        Raises:
            Conflict: while rules name it, saying which flags'.
        """
        async with self._writer.transaction(intent) as transaction:
            everywhere = await self._lock(transaction, project)
            segment = await existing_segment(transaction.connection, project, key)
            used_by = await _used_by(transaction, project, key)
            if used_by:
                raise Conflict(
                    f"Segment {key!r} is used by {', '.join(used_by[:20])}.",
                    hint="Take it out of their rules first.",
                )
            await segments.delete(transaction.connection, project, key)
            await _log(transaction, everywhere, segment, "deleted", segment_document(segment), None)

    async def _lock(self, transaction: Transaction, project: str) -> list[EnvironmentState]:
        """Nobody else changes anything in the project until the end."""
        await existing_project(transaction.connection, project, lock=True)
        return await environments.states(transaction.connection, project, lock=True)


async def _used_by(transaction: Transaction, project: str, key: str) -> tuple[str, ...]:
    users = await flags.users_of(transaction.connection, project, "segment", key)
    return tuple(sorted({flag for _, flag, _ in users}))


async def _log(
    transaction: Transaction,
    everywhere: Collection[EnvironmentState],
    segment: Segment,
    action: str,
    before: SegmentDocument | None,
    after: SegmentDocument | None,
) -> None:
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
