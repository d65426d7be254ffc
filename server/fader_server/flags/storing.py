"""What all commands on flags end with: rows are written, and a change in the log of each environment concerned."""

from collections.abc import Collection, Mapping, Sequence

from fader_server.flags.writing import Step, Transaction
from fader_server.storage import flags
from fader_server.storage.documents import flag_document
from fader_server.storage.records import Configuration, ConfigurationState, Definition, EnvironmentState


async def store_new(
    transaction: Transaction,
    everywhere: Collection[EnvironmentState],
    new: Sequence[tuple[Definition, Mapping[str, Configuration]]],
) -> None:
    """Add flags, each as one change in each environment.

    Args:
        transaction: In which nobody else changes anything in the project.
        everywhere: All environments of the project.
        new: One or more, each with how it is configured, by environment; where nothing is said it is off.
    """
    states: dict[str, list[ConfigurationState]] = {definition.key: [] for definition, _ in new}
    for environment in everywhere:
        configured = [(definition, found.get(environment.key, Configuration())) for definition, found in new]
        first = await transaction.log_all(
            environment.project,
            environment.key,
            [
                Step("flag", definition.key, "created", None, flag_document(definition, configuration))
                for definition, configuration in configured
            ],
        )
        for position, (definition, configuration) in enumerate(configured):
            state = ConfigurationState(
                environment=environment.key,
                configuration=configuration,
                revision=first + position,
                updated_at=transaction.now,
                updated_by=transaction.intent.actor,
            )
            states[definition.key].append(state)
    await flags.insert_all(transaction.connection, [definition for definition, _ in new], states)


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
    before: Configuration,
    after: Configuration,
) -> ConfigurationState:
    """Write how a flag is configured in one environment, as one change there.

    Args:
        transaction: In which nobody else changes anything in the environment.
        definition: The flag.
        environment: Where.
        action: What history calls it.
        before: As it is.
        after: As it is to be.
    """
    revision = await transaction.log(
        definition.project,
        environment,
        "flag",
        definition.key,
        action,
        before=flag_document(definition, before),
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
