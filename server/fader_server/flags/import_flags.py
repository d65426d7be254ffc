"""The flags of an import, in the order of their prerequisites."""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from msgspec import Struct
from msgspec.structs import replace

from fader_server.errors import FieldError, Invalid
from fader_server.flags import edits
from fader_server.flags.commands import FlagState
from fader_server.flags.definitions import check_definition
from fader_server.flags.findings import Findings
from fader_server.flags.fitting import fitted
from fader_server.flags.imported import ImportCommand, Imported, Outcome, refused
from fader_server.flags.limits import Limits
from fader_server.flags.lookup import flag_states
from fader_server.flags.storing import store_configuration, store_definition, store_new
from fader_server.flags.turns import Turns
from fader_server.flags.validation import Surroundings, check_configuration
from fader_server.flags.writing import Transaction
from fader_server.imports.wanted import WantedFlag
from fader_server.storage import flags, segments
from fader_server.storage.documents import encode
from fader_server.storage.records import Configuration, Definition, EnvironmentState


class ImportedFlags:
    """Flags so that what one needs is known before it: first all is decided, then all is written, many rows at once."""

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
        decided, turns = list[Imported](), Turns()
        for key in order:
            decided.append(self._decided(self._wanted[key]))
            await turns.give_way()
        return [*refused, *decided]

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
        errors = (*refused(wanted.notes, self._command.accepted), *self._refused_around(wanted))
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
        needed = [one.flag for one in plan.configuration.prerequisites]
        self._graph.pop(key, None)
        if needed:  # of the others there are many, and each flag looks at all of these
            self._graph[key] = needed
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
        now_held = None if held is None else held.configurations[environment]
        reconfigures = now_held is not None and encode(configuration) != encode(now_held.configuration)
        if reconfigures and now_held is not None and now_held.ramp is not None:
            raise Invalid.of(
                [
                    FieldError(
                        "",
                        "the flag is in a ramp here, which would go on from what is imported",
                        "Abort the ramp, or wait until it is over.",
                    )
                ]
            )
        return _Plan(
            held=held,
            definition=definition,
            configuration=configuration,
            redefines=held is not None and encode(definition) != encode(held.definition),
            reconfigures=reconfigures,
        )

    def _check(self, definition: Definition, configuration: Configuration) -> None:
        findings = Findings()
        check_definition(definition, self._limits, findings)
        around = Surroundings(
            segments=self._segments,
            flags=self._definitions,
            other_flags=(),
            prerequisites=self._graph,
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
