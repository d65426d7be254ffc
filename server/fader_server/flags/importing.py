"""What other flag services' documents come to: flags and segments written in one transaction, and a report on each.

A thing is written exactly as it was, or refused with the reason; and what refers to a refused thing is refused as well.
Nothing is ever changed that the document does not name: neither other flags, nor what a flag is in other environments.
Whatever is so already is left alone, so that the same document may be imported again and again.
"""

from typing import Final

from fader_server.errors import FieldError, Invalid
from fader_server.flags.commands import Intent
from fader_server.flags.import_flags import ImportedFlags
from fader_server.flags.import_segments import ImportedSegments
from fader_server.flags.imported import ImportCommand, ImportReport
from fader_server.flags.lookup import existing_environment
from fader_server.flags.segments import lock
from fader_server.flags.writing import Writer

_NAMED: Final = 100
"""Refusals that an error names; a dry run tells them all."""


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
            imported_segments = await ImportedSegments(transaction, everywhere, command, limits).imported()
            refused = {one.key for one in imported_segments if one.outcome == "refused"}
            wanted_flags = ImportedFlags(transaction, everywhere, command, limits, refused)
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
