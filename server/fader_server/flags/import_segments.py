"""The segments of an import: shared by all environments, here as there."""

from collections.abc import Mapping

from fader_server.errors import FieldError, Invalid
from fader_server.flags.imported import ImportCommand, Imported, Outcome, refused
from fader_server.flags.limits import Limits
from fader_server.flags.segments import SegmentContent, store_content, store_new
from fader_server.flags.writing import Transaction
from fader_server.imports.wanted import WantedSegment
from fader_server.storage import flags, segments
from fader_server.storage.records import EnvironmentState, Segment


class ImportedSegments:
    """Writes those that can be, one by one."""

    def __init__(
        self, transaction: Transaction, everywhere: list[EnvironmentState], command: ImportCommand, limits: Limits
    ) -> None:
        self._transaction = transaction
        self._everywhere = everywhere
        self._command = command
        self._limits = limits
        self._held: Mapping[str, Segment] = {}

    async def imported(self) -> list[Imported]:
        """Write those that can be."""
        found = await segments.page(self._transaction.connection, self._command.project)
        self._held = {segment.key: segment for segment in found}
        users: dict[str, set[str]] = {}
        for target, flag, _ in await flags.users_of(self._transaction.connection, self._command.project, "segment"):
            users.setdefault(target, set()).add(flag)
        named = {one.flag.key for one in self._command.wanted.flags}
        return [
            await self._imported(segment, sorted(users.get(segment.key, set()) - named))
            for segment in self._command.wanted.segments
        ]

    async def _imported(self, wanted: WantedSegment, others: list[str]) -> Imported:
        errors = refused(wanted.notes, self._command.accepted)
        outcome: Outcome = "refused"
        if not errors:
            try:
                outcome = await self._written(wanted, others)
            except Invalid as error:
                errors = error.errors
        return Imported(key=wanted.key, outcome=outcome, refusals=errors, remarks=wanted.notes if not errors else ())

    async def _written(self, wanted: WantedSegment, others: list[str]) -> Outcome:
        held = self._held.get(wanted.key)
        if wanted.segment is None:
            if held is not None:
                return "unchanged"
            raise Invalid.of(
                [
                    FieldError(
                        "constraints",
                        "are not in the document, which only names the segment",
                        "Add them to the document, or create the segment first.",
                    )
                ]
            )
        content = SegmentContent(
            description="" if held is None else held.description,
            constraints=wanted.segment.constraints,
            targeting_keys=wanted.segment.targeting_keys,
            members=None,
        )
        if held is None:
            await store_new(
                self._transaction, self._everywhere, self._command.project, wanted.key, content, self._limits
            )
            return "created"
        if others and not await self._is_so(held, content):
            raise Invalid.of(
                [
                    FieldError(
                        "",
                        f"there is another segment of this name, and flags use it that are not in the document: "
                        f"{', '.join(others[:20])}",
                        "Rename one of the two.",
                    )
                ]
            )
        after = await store_content(self._transaction, self._everywhere, held, content, self._limits)
        return "unchanged" if after is held else "updated"

    async def _is_so(self, held: Segment, content: SegmentContent) -> bool:
        keys = held.targeting_keys
        return held.members is None and (held.constraints, keys) == (content.constraints, content.targeting_keys)
