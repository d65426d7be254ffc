"""Why a flag gives what it gives: the evaluator's own account, for any context."""

from litestar import Router, post
from litestar.params import JSONBody

from fader import model
from fader.context import Context, canonical_text
from fader.explain import Explanation, explain
from fader.snapshot import FlagSet
from fader_server.api.admin.operations import operation
from fader_server.api.admin.requests import Explain
from fader_server.api.admin.services import Admin, InPath
from fader_server.errors import NotFound
from fader_server.flags.lookup import editable_flag, existing_environment
from fader_server.flags.member_listing import lists_for_one


@post(
    "/explain",
    **operation(
        "explain_flag",
        "Evaluate a flag for a context, and tell why",
        role="viewer",
        scope="environment",
        body=Explain,
        errors=(404, 409),
    ),
)
async def explain_flag(
    admin: Admin, project: InPath, flag: InPath, environment: InPath, data: JSONBody[Explain]
) -> Explanation:
    async with admin.store.read() as connection:
        await existing_environment(connection, project, environment)
        await editable_flag(connection, project, flag)
    snapshot = await admin.store.snapshot(project, environment)
    if snapshot is None or flag not in snapshot.flags:
        raise NotFound(f"Flag {flag!r} was removed just now.")
    attributes = dict(data.context)
    targeting_key = canonical_text(attributes.pop(model.TARGETING_KEY, None))
    async with admin.store.read() as connection:
        members = await lists_for_one(connection, snapshot, targeting_key or "")
    return explain(FlagSet(snapshot, members=members), flag, Context(targeting_key, **attributes))


explaining_routes = Router(
    path="/projects/{project:str}/flags/{flag:str}/environments/{environment:str}",
    tags=["flags in an environment"],
    route_handlers=[explain_flag],
)
