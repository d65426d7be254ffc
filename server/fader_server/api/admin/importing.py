"""Import of what other flag services have."""

import asyncio

from litestar import Response, Router, post
from litestar.params import JSONBody
from msgspec import Struct

from fader_server.api.admin.operations import DryRun, answer, intent, writing
from fader_server.api.admin.requests import ImportDocument
from fader_server.api.admin.services import Admin, InPath, Principal
from fader_server.errors import FieldError, Invalid
from fader_server.flags.imported import ImportCommand, Imported, ImportReport, Outcome
from fader_server.imports import FORMATS
from fader_server.imports.wanted import UnreadableError
from fader_server.unleash.notes import Severity

LARGEST_DOCUMENT = 16 * 1024 * 1024
"""In bytes: room for ten thousand flags."""


class RefusalView(Struct, frozen=True):
    """Why something is not imported: where in the foreign thing, and what to do about it."""

    path: str
    reason: str
    hint: str | None


class RemarkView(Struct, frozen=True):
    """What there is to know of something that is imported: where, and what it means for whom the flag answers."""

    path: str
    text: str
    severity: Severity


class ImportedView(Struct, frozen=True):
    """What has become of a flag or a segment."""

    key: str
    outcome: Outcome
    refusals: list[RefusalView]
    remarks: list[RemarkView]


class ImportView(Struct, frozen=True):
    """What has become of a document, in a dry run what would. ``revision`` is the environment's afterwards."""

    environment: str
    revision: int
    flags: list[ImportedView]
    segments: list[ImportedView]
    remarks: list[str]


@post(
    "/",
    request_max_body_size=LARGEST_DOCUMENT,
    **writing(
        "import_flags",
        "Import flags and segments of another flag service, all in one transaction",
        role="editor",
        scope="whole project",
        body=ImportDocument,
        errors=(404,),
    ),
)
async def import_flags(
    admin: Admin, principal: Principal, project: InPath, data: JSONBody[ImportDocument], dry_run: DryRun = False
) -> Response[ImportView]:
    try:
        # In a thread, for large documents take a while, and others have their turns meanwhile.
        wanted = await asyncio.to_thread(FORMATS[data.format], data.document, data.environment)
    except UnreadableError as error:
        path = f"document{'' if error.path[:1] in ('', '[') else '.'}{error.path}"
        raise Invalid.of([FieldError(path, error.detail, error.hint)]) from None
    command = ImportCommand(
        project=project,
        environment=data.environment,
        wanted=wanted,
        accepted=frozenset(data.accept),
        skip_refused=data.skip_refused,
    )
    report = await admin.imports.run(command, intent(principal, data.reason, dry_run=dry_run))
    return answer(_view(report), dry_run=dry_run)


def _view(report: ImportReport) -> ImportView:
    return ImportView(
        environment=report.environment,
        revision=report.revision,
        flags=[_imported_view(one) for one in report.flags],
        segments=[_imported_view(one) for one in report.segments],
        remarks=list(report.remarks),
    )


def _imported_view(imported: Imported) -> ImportedView:
    return ImportedView(
        key=imported.key,
        outcome=imported.outcome,
        refusals=[RefusalView(one.field, one.detail, one.hint) for one in imported.refusals],
        remarks=[RemarkView(note.path, note.text, note.severity) for note in imported.remarks],
    )


import_routes = Router(path="/projects/{project:str}/import", tags=["import and export"], route_handlers=[import_flags])
