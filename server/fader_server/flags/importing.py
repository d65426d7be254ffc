"""What other flag services' documents come to: flags and segments written in one transaction, and a report on each.

A thing is written exactly as it was, or refused with the reason; and what refers to a refused thing is refused as well.
Nothing is ever changed that the document does not name: neither other flags, nor what a flag is in other environments.
Whatever is so already is left alone, so that the same document may be imported again and again.
"""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from fader_server.errors import FieldError, Invalid
from fader_server.flags import edits
from fader_server.flags.commands import FlagState, Intent
from fader_server.flags.definitions import check_definition
from fader_server.flags.findings import Findings
from fader_server.flags.fitting import fitted
from fader_server.flags.limits import Limits
from fader_server.flags.lookup import existing_environment, flag_states
from fader_server.flags.segments import SegmentContent, lock
from fader_server.flags.segments import store_content as store_segment
from fader_server.flags.segments import store_new as store_new_segment
from fader_server.flags.storing import store_configuration, store_definition, store_new
from fader_server.flags.validation import Surroundings, check_configuration
from fader_server.flags.writing import Transaction, Writer
from fader_server.imports.wanted import MENDS, Acceptable, Wanted, WantedFlag, WantedSegment, refusals
from fader_server.storage import flags, segments
from fader_server.storage.documents import encode
from fader_server.storage.records import Configuration, Definition, EnvironmentState, Segment
from fader_server.unleash.notes import Note

Outcome: TypeAlias = Literal["created", "updated", "unchanged", "refused"]

_NAMED: Final = 100
"""Refusals that an error names; a dry run tells them all."""


class ImportCommand(Struct, frozen=True, kw_only=True):
    """What is to be imported, and where. Unless refused things are to be skipped, one of them keeps all others out."""

    project: str
    environment: str
    wanted: Wanted
    accepted: frozenset[Acceptable] = frozenset()
    skip_refused: bool = False


class Imported(Struct, frozen=True, kw_only=True):
    """What has become of one flag or segment. Paths lead from the thing in the foreign document."""

    key: str
    outcome: Outcome
    refusals: tuple[FieldError, ...] = ()
    remarks: tuple[Note, ...] = ()


class ImportReport(Struct, frozen=True, kw_only=True):
    """What has become of all of a document; ``revision`` is the environment's afterwards."""

    environment: str
    revision: int
    flags: tuple[Imported, ...]
    segments: tuple[Imported, ...]
    remarks: tuple[str, ...]

    @property
    def refused(self) -> tuple[Imported, ...]:
        """What was refused of it."""
        return tuple(one for one in (*self.segments, *self.flags) if one.outcome == "refused")


class ImportService:
    """Takes over what other services have."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def run(self, command: ImportCommand, intent: Intent) -> ImportReport:
        """Import a document.

        Returns:
            What has become of each thing; of a dry run, what would.

        Raises:
            Invalid: naming what is refused, if anything is and that is not to be skipped; a dry run reports it.
        """
        async with self._writer.transaction(intent) as transaction:
            everywhere = await lock(transaction, command.project)
            await existing_environment(transaction.connection, command.project, command.environment)
            limits = self._writer.limits
            imported_segments = await _Segments(transaction, everywhere, command, limits).imported()
            refused = {one.key for one in imported_segments if one.outcome == "refused"}
            wanted_flags = _Flags(transaction, everywhere, command, limits, refused)
            imported_flags = await wanted_flags.decided()
            if command.skip_refused or not (refused or any(one.outcome == "refused" for one in imported_flags)):
                await wanted_flags.write()
            after = await existing_environment(transaction.connection, command.project, command.environment)
            report = ImportReport(
                environment=command.environment,
                revision=after.revision,
                flags=tuple(sorted(imported_flags, key=lambda one: one.key)),
                segments=tuple(sorted(imported_segments, key=lambda one: one.key)),
                remarks=command.wanted.remarks,
            )
            if report.refused and not command.skip_refused and not intent.dry_run:
                raise _refusal(report)
            return report


def _refusal(report: ImportReport) -> Invalid:
    errors = [
        FieldError(f"{noun}.{one.key}{'.' if refusal.field else ''}{refusal.field}", refusal.detail, refusal.hint)
        for noun, things in (("segments", report.segments), ("flags", report.flags))
        for one in things
        for refusal in one.refusals
    ]
    error = Invalid.of(errors[:_NAMED])
    error.detail = f"Nothing is imported, for {len(report.refused)} are refused. {error.detail}"
    error.hint = 'Import the others with "skip_refused", or see all about it in a dry run.'
    return error


class _Segments:
    """Segments are shared by all environments, here as there."""

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
        errors = _refused(wanted.notes, self._command.accepted)
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
            await store_new_segment(
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
        after = await store_segment(self._transaction, self._everywhere, held, content, self._limits)
        return "unchanged" if after is held else "updated"

    async def _is_so(self, held: Segment, content: SegmentContent) -> bool:
        keys = held.targeting_keys
        return held.members is None and (held.constraints, keys) == (content.constraints, content.targeting_keys)


class _Flags:
    """Flags in the order of their prerequisites, so that what one needs is known before it: first all is decided, then
    all is written, many rows at once."""

    def __init__(
        self,
        transaction: Transaction,
        everywhere: list[EnvironmentState],
        command: ImportCommand,
        limits: Limits,
        refused_segments: set[str],
    ) -> None:
        self._transaction = transaction
        self._everywhere = everywhere
        self._command = command
        self._limits = limits
        self._refused_segments = refused_segments
        self._wanted = {one.flag.key: one for one in command.wanted.flags}
        self._refused: set[str] = set()
        self._archived: frozenset[str] = frozenset()
        self._segments: frozenset[str] = frozenset()
        self._definitions: dict[str, Definition] = {}
        self._held: dict[str, FlagState] = {}
        self._graph: dict[str, list[str]] = {}
        self._plans: list[_Plan] = []

    async def decided(self) -> list[Imported]:
        """What is to become of each."""
        await self._read()
        order, circular = _in_order(self._wanted)
        self._refused |= circular
        error = FieldError("prerequisites", f"make a circle: {', '.join(sorted(circular))}")
        refused = [Imported(key=key, outcome="refused", refusals=(error,)) for key in sorted(circular)]
        return [*refused, *(self._decided(self._wanted[key]) for key in order)]

    async def write(self) -> None:
        """Do what was decided."""
        transaction, environment = self._transaction, self._command.environment
        new = [(plan.definition, {environment: plan.configuration}) for plan in self._plans if plan.held is None]
        if new:
            await store_new(transaction, self._everywhere, new)
        for plan in self._plans:
            if plan.held is None:
                continue
            found = plan.held.configurations
            if plan.redefines:
                definition = replace(plan.definition, updated_at=transaction.now)
                await store_definition(
                    transaction, "updated", self._everywhere, plan.held.definition, definition, found
                )
            if plan.reconfigures:
                before = found[environment].configuration
                await store_configuration(
                    transaction, plan.definition, environment, "configured", before, plan.configuration
                )

    async def _read(self) -> None:
        connection, project = self._transaction.connection, self._command.project
        needed = {one.flag for wanted in self._wanted.values() for one in wanted.flag.prerequisites}
        self._definitions = await flags.definitions(connection, project, sorted(self._wanted.keys() | needed))
        found = [definition for key, definition in self._definitions.items() if key in self._wanted]
        self._held = {state.definition.key: state for state in await flag_states(connection, project, found)}
        self._archived = frozenset(await flags.keys(connection, project, archived=True))
        self._segments = frozenset(await segments.keys(connection, project))
        users = await flags.users_of(connection, project, "prerequisite", environment=self._command.environment)
        for target, user, _ in users:
            self._graph.setdefault(user, []).append(target)

    def _decided(self, wanted: WantedFlag) -> Imported:
        key = wanted.flag.key
        errors = (*_refused(wanted.notes, self._command.accepted), *self._refused_around(wanted))
        plan = None
        if not errors:
            try:
                plan = self._plan(wanted)
            except Invalid as error:
                errors = error.errors
        if plan is None:
            self._refused.add(key)
            return Imported(key=key, outcome="refused", refusals=errors)
        self._plans.append(plan)
        self._definitions[key] = plan.definition
        self._graph[key] = [one.flag for one in plan.configuration.prerequisites]
        return Imported(key=key, outcome=plan.outcome, remarks=wanted.notes)

    def _refused_around(self, wanted: WantedFlag) -> Iterable[FieldError]:
        """What is not its own fault."""
        if wanted.flag.key in self._archived:
            yield FieldError("", "there is an archived flag of this key", "Unarchive it, or delete it, first.")
        named = {segment for rule in wanted.flag.rules for segment in rule.segments}
        for segment in sorted(named & self._refused_segments):
            yield FieldError("segments", f"segment {segment!r} is refused")
        for prerequisite in wanted.flag.prerequisites:
            if prerequisite.flag in self._refused:
                yield FieldError("prerequisites", f"flag {prerequisite.flag!r} is refused")

    def _plan(self, wanted: WantedFlag) -> "_Plan":
        held, environment = self._held.get(wanted.flag.key), self._command.environment
        others = {} if held is None else {**held.configurations}
        others.pop(environment, None)
        fit = fitted(
            wanted.flag,
            None if held is None else held.definition,
            is_used_elsewhere=any(state.configuration != Configuration() for state in others.values()),
        )
        if fit.errors:
            raise Invalid.of(fit.errors)
        now = self._transaction.now
        base = (
            Definition(project=self._command.project, key=wanted.flag.key, created_at=now, updated_at=now)
            if held is None
            else held.definition
        )
        definition = replace(
            base,
            description=base.description if wanted.description is None else wanted.description,
            kind=base.kind if wanted.kind is None else wanted.kind,
            tags=tuple(dict.fromkeys((*base.tags, *wanted.tags))),
            type=fit.type,
            variants=fit.variants,
            off_variant=fit.off_variant,
        )
        configuration = edits.tidied(fit.configuration)
        self._check(definition, configuration)
        return _Plan(
            held=held,
            definition=definition,
            configuration=configuration,
            redefines=held is not None and encode(definition) != encode(held.definition),
            reconfigures=held is not None
            and encode(configuration) != encode(held.configurations[environment].configuration),
        )

    def _check(self, definition: Definition, configuration: Configuration) -> None:
        findings = Findings()
        check_definition(definition, self._limits, findings)
        around = Surroundings(
            segments=self._segments,
            flags=self._definitions,
            other_flags=(),
            prerequisites={flag: needed for flag, needed in self._graph.items() if flag != definition.key},
        )
        check_configuration(definition, configuration, around, self._limits, findings)
        findings.raise_if_any()


class _Plan(Struct, frozen=True, kw_only=True):
    """What is to be written of a flag."""

    held: FlagState | None
    definition: Definition
    configuration: Configuration
    redefines: bool
    reconfigures: bool

    @property
    def outcome(self) -> Outcome:
        """In a word."""
        if self.held is None:
            return "created"
        return "updated" if self.redefines or self.reconfigures else "unchanged"


def _in_order(wanted: Mapping[str, WantedFlag]) -> tuple[list[str], set[str]]:
    """Flags so that each comes after its prerequisites; and those that need themselves in the end."""
    needs = {key: {one.flag for one in flag.flag.prerequisites} & wanted.keys() for key, flag in wanted.items()}
    circular: set[str] = set()
    while True:
        try:
            return list(TopologicalSorter(needs).static_order()), circular
        except CycleError as error:
            circular |= set(error.args[1])
            needs = {key: needed - circular for key, needed in needs.items() if key not in circular}


def _refused(notes: tuple[Note, ...], accepted: frozenset[Acceptable]) -> tuple[FieldError, ...]:
    return tuple(FieldError(note.path, note.text, MENDS.get(note.severity)) for note in refusals(notes, accepted))
