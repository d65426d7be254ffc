"""Export of what an environment has, as documents of other flag services."""

import asyncio
from typing import Annotated, Any, Literal

from litestar import Router, get
from litestar.params import QueryParameter
from msgspec import Struct
from msgspec.structs import replace

from fader_server.api.admin.importing import RefusalView, RemarkView
from fader_server.api.admin.operations import operation
from fader_server.api.admin.services import Admin, InPath
from fader_server.errors import NotFound
from fader_server.exports import FORMATS, Format
from fader_server.flags.lookup import existing_environment
from fader_server.imports.wanted import MENDS, Acceptable
from fader_server.storage import flags


class ExportedView(Struct, frozen=True):
    """What has become of a flag."""

    key: str
    outcome: Literal["exported", "refused"]
    refusals: list[RefusalView]
    remarks: list[RemarkView]


class ExportView(Struct, frozen=True):
    """An environment at a revision as a document, without those flags that are refused. ``segments`` is a second one,
    with all of them, where the format of the first only names them."""

    environment: str
    revision: int
    document: dict[str, Any]
    segments: dict[str, Any] | None
    flags: list[ExportedView]


@get(
    "/",
    **operation(
        "export_flags",
        "Export the flags and segments of an environment for another flag service",
        role="viewer",
        scope="environment",
        errors=(400, 404),
    ),
)
async def export_flags(
    admin: Admin,
    project: InPath,
    environment: InPath,
    format: Annotated[Format, QueryParameter(description="Whose document it is to be.")],  # noqa: A002 (as it is called)
    accept: Annotated[
        list[Acceptable] | None, QueryParameter(description="What may be in it although it is not exact.")
    ] = None,
) -> ExportView:
    async with admin.store.read() as connection:
        await existing_environment(connection, project, environment)
    snapshot = await admin.store.snapshot(project, environment)
    if snapshot is None:
        raise NotFound(f"Environment {environment!r} was removed just now.")
    async with admin.store.read() as connection:
        definitions = await flags.definitions(connection, project, snapshot.flags)
    # A flag that was removed in between is in neither.
    snapshot = replace(snapshot, flags={key: flag for key, flag in snapshot.flags.items() if key in definitions})
    # In a thread, for large environments take a while, and others have their turns meanwhile.
    found = await asyncio.to_thread(FORMATS[format], snapshot, definitions, frozenset(accept or ()))
    return ExportView(
        environment=environment,
        revision=snapshot.revision,
        document=found.document,
        segments=found.segments,
        flags=[
            ExportedView(
                key=key,
                outcome="refused" if key in found.refused else "exported",
                refusals=[
                    RefusalView(note.path, note.text, MENDS.get(note.severity)) for note in found.refused.get(key, ())
                ],
                remarks=[RemarkView(note.path, note.text, note.severity) for note in found.notes.get(key, ())]
                if key not in found.refused
                else [],
            )
            for key in sorted(snapshot.flags)
        ],
    )


export_routes = Router(
    path="/projects/{project:str}/environments/{environment:str}/export",
    tags=["import and export"],
    route_handlers=[export_flags],
)
