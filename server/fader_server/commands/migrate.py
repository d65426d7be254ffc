"""``fader-server migrate``: the database's schema, brought up to date as a step of its own."""

import asyncio

from fader_server.commands import database
from fader_server.logs import logger, set_up_logs
from fader_server.settings import Settings
from fader_server.storage import migrate as migrations
from fader_server.storage.schema_version import NEWEST

_log = logger(__name__)


def migrate(settings: Settings, *, checks: bool, prints: bool) -> int:
    """Apply the migrations that are missing.

    Args:
        settings: Which database.
        checks: Only say which those are.
        prints: Only print them, as SQL that is complete: with its transaction, and with the lock.

    Returns:
        1 if ``checks`` and something is missing.
    """
    with database.named_in_errors():
        if checks:
            return _check(asyncio.run(migrations.plan(settings.database_url)))
        if prints:
            print(asyncio.run(migrations.script(settings.database_url)), end="")
            return 0
        set_up_logs(settings)
        plan = asyncio.run(migrations.migrate(settings.database_url))
    if not plan.missing:
        _log.info("nothing to migrate", schema=plan.found.number, newest_known=NEWEST)
    return 0


def _check(plan: migrations.Plan) -> int:
    if not plan.missing:
        newer = f", which is newer than this version's {NEWEST} and works with it" if plan.found.is_ahead else ""
        print(f"nothing to migrate: the database has schema {plan.found.number}{newer}")
        return 0
    before = f"has schema {plan.found.number}" if plan.found.number else "is empty"
    print(f"the database {before}; `fader-server migrate` would bring it to {NEWEST}:")
    for step in plan.missing:
        print(f"  {step.number}  {step.title}")
    return 1
