"""A flag in one environment: the verbs that on-call uses, rules, the whole configuration."""

import re
from typing import Annotated, Any, TypeAlias

from litestar import Response, Router, delete, get, post, put
from litestar.di import NamedDependency, Provide
from litestar.params import HeaderParameter, JSONBody
from msgspec import Struct

from fader import model
from fader_server.api.admin.operations import DryRun, Force, ReasonParameter, answer, intent, operation, writing
from fader_server.api.admin.requests import AddRule, Configure, ReplaceRule, RollOut, SwitchOn, Why, model_of
from fader_server.api.admin.services import Admin, InPath, Principal
from fader_server.api.admin.views import Compatibility, FlagWritten, compatibility_view, written_view
from fader_server.errors import FieldError, Invalid, Unavailable
from fader_server.flags.commands import Target, Written
from fader_server.flags.compatibility import seen_by_unleash
from fader_server.flags.lookup import editable_flag, existing_environment, flag_states
from fader_server.storage.documents import sdk_flag
from fader_server.storage.records import Configuration

_REVISION = re.compile(r'"(\d{1,18})"', re.ASCII)
_NOTHING_SAID = Why()
_JUST_ON = SwitchOn()


FlagTarget: TypeAlias = NamedDependency[Target]


def _write(operation_id: str, summary: str, *, body: type[Struct] | None = None, status: int = 200) -> dict[str, Any]:
    """All of these are for editors, touch one environment, and can meet an archived flag."""
    return writing(
        operation_id,
        summary,
        role="editor",
        scope="environment",
        body=body,
        status=status,
        errors=(404, 412),
    )


_IfMatch: TypeAlias = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description="The `revision` that the flag has in this environment; if it has another one, nothing is written.",
        schema_extra={"pattern": r'^("[0-9]{1,18}"|\*)$'},
    ),
]


def target(project: InPath, flag: InPath, environment: InPath, if_match: _IfMatch = None) -> Target:
    """For dependency injection: the flag and the environment in the path, and the revision that they must be
    at."""
    if if_match in (None, "", "*"):
        return Target(project, flag, environment)
    revision = _REVISION.fullmatch(if_match)
    if revision is None:
        raise Invalid.of([FieldError("If-Match", "is not a revision in quotation marks", 'Such as "12".')])
    return Target(project, flag, environment, int(revision[1]))


async def _answer(admin: Admin, written: Written, principal: Principal, *, dry_run: bool) -> Response[FlagWritten]:
    definition = written.flag.definition
    flag = sdk_flag(definition, written.flag.configurations[written.environment].configuration)
    try:
        sight = await seen_by_unleash(admin.store, definition.project, written.environment, flag)
    except Unavailable:
        sight = None  # what is written is written, and must not be answered like what is not
    return answer(written_view(written, principal, sight), dry_run=dry_run)


@put(
    "/",
    **_write(
        "configure_flag",
        "Replace a flag's whole configuration",
        body=Configure,
    ),
)
async def configure_flag(
    admin: Admin,
    principal: Principal,
    target: FlagTarget,
    data: JSONBody[Configure],
    dry_run: DryRun = False,
    force: Force = False,
) -> Response[FlagWritten]:
    why = intent(principal, data.reason, dry_run=dry_run, force=force)
    written = await admin.configurations.configure(target, model_of(data, Configuration), why)
    return await _answer(admin, written, principal, dry_run=dry_run)


@post(
    "/on",
    **_write(
        "switch_on",
        "Switch a flag on, for those whom its rules let in",
        body=SwitchOn,
    ),
)
async def switch_on(
    admin: Admin,
    principal: Principal,
    target: FlagTarget,
    data: JSONBody[SwitchOn] = _JUST_ON,
    dry_run: DryRun = False,
    force: Force = False,
) -> Response[FlagWritten]:
    why = intent(principal, data.reason, dry_run=dry_run, force=force)
    written = await admin.configurations.switch_on(target, why, data.percentage)
    return await _answer(admin, written, principal, dry_run=dry_run)


@post(
    "/off",
    **_write(
        "switch_off",
        "Switch a flag off, for everybody",
        body=Why,
    ),
)
async def switch_off(
    admin: Admin,
    principal: Principal,
    target: FlagTarget,
    data: JSONBody[Why] = _NOTHING_SAID,
    dry_run: DryRun = False,
) -> Response[FlagWritten]:
    written = await admin.configurations.switch_off(target, intent(principal, data.reason, dry_run=dry_run))
    # What is off is off to everybody: whoever is in a hurry need not wait for more, nor read it.
    return answer(written_view(written, principal, None), dry_run=dry_run)


@post(
    "/rollout",
    **_write(
        "roll_out",
        "Set the share that is let in; never switches on",
        body=RollOut,
    ),
)
async def roll_out(
    admin: Admin,
    principal: Principal,
    target: FlagTarget,
    data: JSONBody[RollOut],
    dry_run: DryRun = False,
    force: Force = False,
) -> Response[FlagWritten]:
    why = intent(principal, data.reason, dry_run=dry_run, force=force)
    written = await admin.configurations.roll_out(
        target, data.percentage, why, by=data.by, salt=data.salt, rule_id=data.rule
    )
    return await _answer(admin, written, principal, dry_run=dry_run)


@post(
    "/undo",
    **_write(
        "undo",
        "Go back to the configuration before its newest change",
        body=Why,
    ),
)
async def undo(
    admin: Admin,
    principal: Principal,
    target: FlagTarget,
    data: JSONBody[Why] = _NOTHING_SAID,
    dry_run: DryRun = False,
    force: Force = False,
) -> Response[FlagWritten]:
    written = await admin.configurations.undo(target, intent(principal, data.reason, dry_run=dry_run, force=force))
    return await _answer(admin, written, principal, dry_run=dry_run)


@post(
    "/rules",
    **_write(
        "add_rule",
        "Add a rule",
        body=AddRule,
        status=201,
    ),
)
async def add_rule(
    admin: Admin,
    principal: Principal,
    target: FlagTarget,
    data: JSONBody[AddRule],
    dry_run: DryRun = False,
    force: Force = False,
) -> Response[FlagWritten]:
    why = intent(principal, data.reason, dry_run=dry_run, force=force)
    written = await admin.configurations.add_rule(target, model_of(data, model.Rule), data.position, why)
    return await _answer(admin, written, principal, dry_run=dry_run)


@put(
    "/rules/{rule:str}",
    **_write(
        "replace_rule",
        "Put another rule in a rule's place",
        body=ReplaceRule,
    ),
)
async def replace_rule(
    admin: Admin,
    principal: Principal,
    target: FlagTarget,
    rule: InPath,
    data: JSONBody[ReplaceRule],
    dry_run: DryRun = False,
    force: Force = False,
) -> Response[FlagWritten]:
    why = intent(principal, data.reason, dry_run=dry_run, force=force)
    written = await admin.configurations.replace_rule(target, rule, model_of(data, model.Rule), why)
    return await _answer(admin, written, principal, dry_run=dry_run)


@delete(
    "/rules/{rule:str}",
    **_write(
        "remove_rule",
        "Take a rule away",
    ),
)
async def remove_rule(
    admin: Admin,
    principal: Principal,
    target: FlagTarget,
    rule: InPath,
    reason: ReasonParameter = "",
    dry_run: DryRun = False,
    force: Force = False,
) -> Response[FlagWritten]:
    written = await admin.configurations.remove_rule(
        target, rule, intent(principal, reason, dry_run=dry_run, force=force)
    )
    return await _answer(admin, written, principal, dry_run=dry_run)


@get(
    "/compatibility",
    **operation(
        "get_compatibility",
        "Tell what Unleash's SDKs see of a flag",
        role="viewer",
        scope="environment",
        errors=(404, 409),
    ),
)
async def get_compatibility(admin: Admin, project: InPath, flag: InPath, environment: InPath) -> Compatibility:
    async with admin.store.read() as connection:
        await existing_environment(connection, project, environment)
        definition = await editable_flag(connection, project, flag)
        [state] = await flag_states(connection, project, [definition])
    made = sdk_flag(definition, state.configurations[environment].configuration)
    sight = await seen_by_unleash(admin.store, project, environment, made)
    return compatibility_view(flag, environment, sight)


configuration_routes = Router(
    path="/projects/{project:str}/flags/{flag:str}/environments/{environment:str}",
    tags=["flags in an environment"],
    dependencies={"target": Provide(target, sync_to_thread=False)},
    route_handlers=[
        configure_flag,
        switch_on,
        switch_off,
        roll_out,
        undo,
        add_rule,
        replace_rule,
        remove_rule,
        get_compatibility,
    ],
)
