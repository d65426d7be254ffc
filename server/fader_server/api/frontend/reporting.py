"""``POST /api/frontend/client/metrics`` and ``/register``: what Unleash's SDKs in browsers and phones report.

Everybody who opens a page can say anything here. So only flags and variants that there are count, each report counts
for no more than a browser can have asked, and it is added up in memory and written down once a minute with what this
server evaluates itself.
"""

from typing import Any, Final

from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.params import JSONBody

from fader import model
from fader_server.api.frontend.services import PREFIXES, evaluator_for
from fader_server.api.unleash.bodies import LenientBody
from fader_server.api.unleash.counting import usage_of
from fader_server.api.unleash.metrics import MetricsBody

_MOST: Final = 1_000_000
"""Of one variant of one flag, in one report; browsers send one in half a minute."""


@post(
    [f"{prefix}/client/register" for prefix in PREFIXES],
    status_code=200,
    operation_id="registerUnleashFrontend",
    include_in_schema=False,
)
async def register(request: Request[Any, Any, State]) -> Response[bytes]:
    """A page has been opened. Pages come and go, and none is kept in mind."""
    await evaluator_for(request)
    return Response(b"", status_code=200)


@post(
    [f"{prefix}/client/metrics" for prefix in PREFIXES],
    dto=LenientBody[MetricsBody],
    status_code=200,
    operation_id="countForUnleashFrontend",
    include_in_schema=False,
)
async def count(data: JSONBody[MetricsBody], request: Request[Any, Any, State]) -> Response[bytes]:
    """Add up how often an application has asked for flags. Nothing tells a report that is sent twice from two."""
    flags = (await evaluator_for(request)).flags
    there = flags.snapshot.flags
    for name, served in usage_of(data.counted(), there).flags.items():
        for variant in served.keys() & _variants(there[name]):
            flags.counters.of(name, variant)[0] += min(served[variant], _MOST)
    return Response(b"", status_code=200)


def _variants(flag: model.Flag) -> set[str]:
    """Those that may be counted: who only asks whether a flag is on counts as ``on``, whatever its variants are."""
    return {variant.name for variant in flag.variants} | {model.ON, flag.off_variant}
