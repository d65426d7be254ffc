"""``POST /hooks/v1/{secret}``: an alert goes off, and a flag with it.

Whoever knows the URL may call it: Alertmanager, Grafana, PagerDuty, a script. It can do nothing but switch one flag off
in one environment. It is never called by GET, so that nothing which looks at links does it by accident.
"""

from typing import Any, Final

from litestar import Request, post
from litestar.datastructures import State
from litestar.params import FromPath
from msgspec import Struct

from fader_server.errors import Malformed
from fader_server.ramping.alerts import alert_in
from fader_server.ramping.hooks import HookService, Result


class HookAnswer(Struct, frozen=True, omit_defaults=True):
    """What has become of an alert."""

    flag: str
    environment: str
    result: Result
    revision: int | None = None


@post("/hooks/v1/{secret:str}", status_code=200, include_in_schema=False)
async def fire(secret: FromPath[str], request: Request[Any, Any, State]) -> HookAnswer:
    """Switch the flag off, unless the alert says that all is well again."""
    body = await request.body()
    if not body.strip():  # nobody's alert; but what asks a URL whether it is there may well send this
        raise Malformed("An alert says something, and this says nothing.", hint="Send why the flag is to go off.")
    hooks: HookService = request.app.state.admin.hooks
    fired = await hooks.fire(secret, alert_in(body))
    return HookAnswer(fired.hook.flag, fired.hook.environment, fired.result, fired.revision)


routes: Final = [fire]
