"""Commands on flags as such: create, describe, archive, delete. Each is one change in every environment."""

from collections.abc import Mapping

import msgspec

from fader import model
from fader_server.errors import Conflict, FieldError
from fader_server.flags.commands import FlagPatch, FlagState, Intent, NewFlag
from fader_server.flags.definitions import check_definition, variant_names
from fader_server.flags.findings import Findings
from fader_server.flags.lookup import (
    editable_flag,
    existing_flag,
    existing_project,
    flag_states,
    surroundings,
)
from fader_server.flags.ramped import interfere
from fader_server.flags.storing import store_definition, store_new
from fader_server.flags.validation import check_configuration
from fader_server.flags.writing import Transaction, Writer
from fader_server.storage import environments, flags
from fader_server.storage.documents import encode, flag_document
from fader_server.storage.records import Configuration, ConfigurationState, Definition, EnvironmentState


class FlagService:
    """What is true of a flag in all environments alike."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._limits = writer.limits

    async def create(self, project: str, new: NewFlag, intent: Intent) -> FlagState:
        """Add a flag, switched off everywhere.

        Raises:
            Invalid: naming everything that is wrong with it.
            Conflict: if there is a flag of this key, archived or not.
        """
        async with self._writer.transaction(intent) as transaction:
            connection = transaction.connection
            everywhere = await self._lock(transaction, project)
            definition = _new_definition(project, new, transaction)
            findings = Findings()
            check_definition(definition, self._limits, findings)
            findings.raise_if_any()
            existing = await flags.definition(connection, project, new.key)
            if existing is not None:
                archived = existing.archived_at is not None
                raise Conflict(
                    f"There is {'an archived' if archived else 'a'} flag {new.key!r} already.",
                    field="key",
                    hint="Unarchive it, or delete it first." if archived else "Choose another key.",
                )
            await store_new(transaction, everywhere, [(definition, {})])
            return await _state(transaction, definition)

    async def patch(self, project: str, key: str, patch: FlagPatch, intent: Intent) -> FlagState:
        """Change texts, kind and variants. What makes no difference writes nothing.

        Raises:
            Invalid: naming everything that is wrong with it.
            Conflict: if a variant that is to go is still in use, naming where; or if the flag is archived.
        """
        async with self._writer.transaction(intent) as transaction:
            everywhere = await self._lock(transaction, project)
            before = await editable_flag(transaction.connection, project, key)
            wanted = {field: getattr(patch, field) for field in patch.__struct_fields__}
            after = msgspec.structs.replace(
                before, **{field: value for field, value in wanted.items() if value is not None}
            )
            findings = Findings()
            check_definition(after, self._limits, findings)
            findings.raise_if_any()
            current = await _state(transaction, before)
            if encode(after) == encode(before):
                return current
            await self._refuse_missing_variants(transaction, before, after, current.configurations)
            after = msgspec.structs.replace(after, updated_at=transaction.now)
            await store_definition(transaction, "updated", everywhere, before, after, current.configurations)
            return await _state(transaction, after)

    async def archive(self, project: str, key: str, intent: Intent) -> FlagState:
        """Take a flag away from all SDKs, and keep it. Archiving it again changes nothing.

        Raises:
            Conflict: if it is a prerequisite of other flags, naming them.
        """
        async with self._writer.transaction(intent) as transaction:
            everywhere = await self._lock(transaction, project)
            before = await existing_flag(transaction.connection, project, key)
            current = await _state(transaction, before)
            if before.archived_at is not None:
                return current
            users = await flags.users_of(transaction.connection, project, "prerequisite", key)
            if users:
                named = ", ".join(f"{flag} ({environment})" for _, flag, environment in users[:20])
                raise Conflict(
                    f"Flag {key!r} is a prerequisite of {named}.",
                    hint="Remove it from their prerequisites first.",
                )
            for state in current.configurations.values():
                if state.ramp is not None:
                    await interfere(transaction, state.ramp, "archived", is_off=True)
            after = msgspec.structs.replace(before, archived_at=transaction.now, updated_at=transaction.now)
            await store_definition(transaction, "archived", everywhere, before, after, current.configurations)
            return await _state(transaction, after)

    async def unarchive(self, project: str, key: str, intent: Intent) -> FlagState:
        """Bring a flag back as it was. Doing it again changes nothing.

        Raises:
            Conflict: if what it refers to has gone meanwhile.
        """
        async with self._writer.transaction(intent) as transaction:
            everywhere = await self._lock(transaction, project)
            before = await existing_flag(transaction.connection, project, key)
            current = await _state(transaction, before)
            if before.archived_at is None:
                return current
            after = msgspec.structs.replace(before, archived_at=None, updated_at=transaction.now)
            errors: list[FieldError] = []
            for environment, state in current.configurations.items():
                findings = Findings()
                around = await surroundings(transaction.connection, project, environment, key, state.configuration)
                check_configuration(after, state.configuration, around, self._limits, findings)
                errors += _within(f"environments.{environment}.", findings)
            if errors:
                raise Conflict(
                    f"Flag {key!r} cannot come back as it was: {errors[0].field}: {errors[0].detail}.",
                    hint="Restore what it refers to first.",
                    errors=errors,
                )
            await store_definition(transaction, "unarchived", everywhere, before, after, current.configurations)
            return await _state(transaction, after)

    async def delete(self, project: str, key: str, intent: Intent) -> None:
        """Remove a flag for good; the log keeps what it was.

        Raises:
            Conflict: if it is not archived.
        """
        async with self._writer.transaction(intent) as transaction:
            everywhere = await self._lock(transaction, project)
            before = await existing_flag(transaction.connection, project, key)
            if before.archived_at is None:
                raise Conflict(f"Flag {key!r} is not archived.", hint="Archive it first, so that nobody depends on it.")
            current = await _state(transaction, before)
            for environment in everywhere:
                configuration = current.configurations[environment.key].configuration
                await transaction.log(
                    project,
                    environment.key,
                    "flag",
                    key,
                    "deleted",
                    before=flag_document(before, configuration),
                    after=None,
                )
            await flags.delete(transaction.connection, project, key)

    async def _lock(self, transaction: Transaction, project: str) -> list[EnvironmentState]:
        """Nobody else changes anything in the project until the end."""
        await existing_project(transaction.connection, project, lock=True)
        return await environments.states(transaction.connection, project, lock=True)

    async def _refuse_missing_variants(
        self,
        transaction: Transaction,
        before: Definition,
        after: Definition,
        configurations: Mapping[str, ConfigurationState],
    ) -> None:
        gone = set(variant_names(before)) - set(variant_names(after))
        if not gone:
            return
        uses = [
            (variant, f"environments.{environment}.{field}")
            for environment, state in configurations.items()
            for variant, field in _variants_in_use(state.configuration)
        ]
        users = await flags.users_of(transaction.connection, before.project, "prerequisite", before.key)
        dependents = await flags.configurations(
            transaction.connection, before.project, sorted({flag for _, flag, _ in users})
        )
        uses += [
            (variant, f"flag {flag}, environments.{environment}.prerequisites[{position}].variants")
            for flag, states in dependents.items()
            for environment, state in states.items()
            for position, prerequisite in enumerate(state.configuration.prerequisites)
            if prerequisite.flag == before.key
            for variant in prerequisite.variants
        ]
        errors = [
            FieldError("variants", f"variant {variant!r} is used by {place}")
            for variant, place in uses
            if variant in gone
        ]
        if errors:
            raise Conflict(
                f"{errors[0].detail[0].upper()}{errors[0].detail[1:]}.",
                field="variants",
                hint="Change what uses it first.",
                errors=errors,
            )


async def _state(transaction: Transaction, definition: Definition) -> FlagState:
    [state] = await flag_states(transaction.connection, definition.project, [definition])
    return state


def _new_definition(project: str, new: NewFlag, transaction: Transaction) -> Definition:
    default = model.OFF if new.type == "boolean" else ""
    return Definition(
        project=project,
        key=new.key,
        description=new.description,
        owner=new.owner,
        tags=new.tags,
        kind=new.kind,
        type=new.type,
        variants=new.variants,
        off_variant=default if new.off_variant is None else new.off_variant,
        created_at=transaction.now,
        updated_at=transaction.now,
    )


def _variants_in_use(configuration: Configuration) -> list[tuple[str, str]]:
    uses = []
    for position, rule in enumerate(configuration.rules):
        if rule.variant is not None:
            uses.append((rule.variant, f"rules[{position}].variant"))
        if rule.split is not None:
            uses += [(weighted.variant, f"rules[{position}].split") for weighted in rule.split.variants]
    return uses


def _within(prefix: str, findings: Findings) -> list[FieldError]:
    return [FieldError(f"{prefix}{error.field}", error.detail, error.hint) for error in findings.errors]
