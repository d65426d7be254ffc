"""What all commands on flags end with: rows are written, and a change in the log of each environment concerned."""

from collections.abc import Collection, Mapping

from fader_server.flags.writing import Transaction
from fader_server.storage import flags
from fader_server.storage.documents import flag_document
from fader_server.storage.records import Configuration, ConfigurationState, Definition, EnvironmentState


async def store_new(
    transaction: Transaction,
    everywhere: Collection[EnvironmentState],
    definition: Definition,
    configured: Mapping[str, Configuration],
) -> None:
    """Add a flag, as one change in each environment.

    Args:
        transaction: In which nobody else changes anything in the project.
        everywhere: All environments of the project.
        definition: The flag.
        configured: How it is configured, by environment; where nothing is said it is off.
    """
    await flags.insert(transaction.connection, definition)
    for environment in everywhere:
        configuration = configured.get(environment.key, Configuration())
        await store_configuration(transaction, definition, environment.key, "created", None, configuration)


async def store_definition(
    transaction: Transaction,
    action: str,
    everywhere: Collection[EnvironmentState],
    before: Definition,
    after: Definition,
    configurations: Mapping[str, ConfigurationState],
) -> None:
    """Replace what is true of a flag in all environments alike, as one change in each.

    Args:
        transaction: In which nobody else changes anything in the project.
        action: What history calls it.
        everywhere: All environments of the project.
        before: The flag as it is.
        after: As it is to be.
        configurations: As they are, and stay.
    """
    await flags.update(transaction.connection, after)
    for environment in everywhere:
        configuration = configurations[environment.key].configuration
        await transaction.log(
            after.project,
            environment.key,
            "flag",
            after.key,
            action,
            before=flag_document(before, configuration),
            after=flag_document(after, configuration),
        )


async def store_configuration(
    transaction: Transaction,
    definition: Definition,
    environment: str,
    action: str,
    before: Configuration | None,
    after: Configuration,
) -> ConfigurationState:
    """Write how a flag is configured in one environment, as one change there.

    Args:
        transaction: In which nobody else changes anything in the environment.
        definition: The flag.
        environment: Where.
        action: What history calls it.
        before: As it is; ``None`` where the flag is new.
        after: As it is to be.
    """
    revision = await transaction.log(
        definition.project,
        environment,
        "flag",
        definition.key,
        action,
        before=None if before is None else flag_document(definition, before),
        after=flag_document(definition, after),
    )
    state = ConfigurationState(
        environment=environment,
        configuration=after,
        revision=revision,
        updated_at=transaction.now,
        updated_by=transaction.intent.actor,
    )
    await flags.put_configuration(transaction.connection, definition.project, definition.key, state, before=before)
    return state
