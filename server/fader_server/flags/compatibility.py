"""What clients that are not Fader's see of a flag, and what they cannot be told of it."""

from sqlalchemy.ext.asyncio import AsyncConnection

from fader import model
from fader_server.storage import Store, flags, segments
from fader_server.storage.documents import sdk_flag, sdk_segment, segment_document
from fader_server.storage.records import Configuration, Segment
from fader_server.unleash.outward import Sight, sight_of


async def seen_by_unleash(store: Store, project: str, environment: str, flag: model.Flag) -> Sight:
    """A flag as Unleash's SDKs see it.

    Args:
        store: Is asked for what the flag refers to; for nothing, if it refers to nothing.
        project: The flag's.
        environment: Where.
        flag: As it is there, or would be.

    Raises:
        Unavailable: if the store cannot say at the moment.
    """
    known, found = {flag.key: flag}, list[Segment | None]()
    if flag.prerequisites or any(rule.segments for rule in flag.rules):
        async with store.read() as connection:
            known |= await _relatives(connection, project, environment, flag)
            named = {segment for one in known.values() for rule in one.rules for segment in rule.segments}
            found = [await segments.segment(connection, project, key) for key in sorted(named)]
    return sight_of(
        flag.key,
        model.Snapshot(
            project=project,
            environment=environment,
            epoch="",
            revision=0,
            flags=known,
            segments={one.key: sdk_segment(segment_document(one)) for one in found if one is not None},
        ),
    )


async def _relatives(
    connection: AsyncConnection, project: str, environment: str, flag: model.Flag
) -> dict[str, model.Flag]:
    """The flags that a flag needs, at any distance, and one that needs it, if there is one."""
    if not flag.prerequisites:
        return {}
    found: dict[str, model.Flag] = {}
    wanted = {prerequisite.flag for prerequisite in flag.prerequisites}
    while wanted:
        level = await _flags(connection, project, environment, wanted)
        found |= level
        needed = {prerequisite.flag for one in level.values() for prerequisite in one.prerequisites}
        wanted = needed - found.keys() - {flag.key}
    for _, user, _ in await flags.users_of(connection, project, "prerequisite", flag.key, environment=environment):
        if user not in found:
            return found | await _flags(connection, project, environment, {user})
    return found


async def _flags(connection: AsyncConnection, project: str, environment: str, keys: set[str]) -> dict[str, model.Flag]:
    definitions = await flags.definitions(connection, project, keys)
    configured = await flags.configurations(connection, project, sorted(definitions)) if definitions else {}
    made = {}
    for key, definition in definitions.items():
        state = configured[key].get(environment)
        made[key] = sdk_flag(definition, Configuration() if state is None else state.configuration)
    return made
