"""``POST /api/frontend/client/metrics`` and ``/register``: what Unleash's SDKs in browsers and phones report.

Everybody who opens a page can say anything here. So only flags and variants that there are count, each report counts
for no more than a browser can have asked, and it is added up in memory and written down once a minute with what this
server evaluates itself.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, post
from litestar.datastructures import State
from msgspec import Meta, Struct

from fader import model
from fader_server.api.frontend.services import PREFIXES, evaluator_for
from fader_server.errors import Malformed

_MOST: Final = 1_000_000
"""Of one variant of one flag, in one report; browsers send one in half a minute."""

_Count = Annotated[int, Meta(ge=0)]


class _Counted(Struct, frozen=True):
    """How often a flag was on and off, and which variants were given where those were asked for."""

    yes: _Count = 0
    no: _Count = 0
    variants: dict[str, _Count] = {}


class _Bucket(Struct, frozen=True):
    toggles: dict[str, _Counted] = {}


class _Report(Struct, frozen=True):
    bucket: _Bucket | None = None


@post(
    [f"{prefix}/client/register" for prefix in PREFIXES],
    status_code=200,
    operation_id="registerUnleashFrontend",
    include_in_schema=False,
)
async def register(request: Request[Any, Any, State]) -> Response[None]:
    """A page has been opened. Pages come and go, and none is kept in mind."""
    await evaluator_for(request)
    return Response(None, status_code=200)


@post(
    [f"{prefix}/client/metrics" for prefix in PREFIXES],
    status_code=200,
    operation_id="countForUnleashFrontend",
    include_in_schema=False,
)
async def count(request: Request[Any, Any, State]) -> Response[None]:
    """Add up how often an application has asked for flags. Nothing tells a report that is sent twice from two."""
    flags = (await evaluator_for(request)).flags
    try:
        report = msgspec.json.decode(await request.body(), type=_Report)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"The body cannot be read: {error}.") from None
    except RecursionError:
        raise Malformed("The body is nested too deeply.") from None
    for name, counted in (report.bucket or _Bucket()).toggles.items():
        flag = flags.snapshot.flags.get(name)
        for variant, served in _served(flag, counted) if flag is not None else ():
            flags.counters.of(name, variant)[0] += min(served, _MOST)
    return Response(None, status_code=200)


def _served(flag: model.Flag, counted: _Counted) -> Iterator[tuple[str, int]]:
    """How often each variant was served.

    Who asks for a variant is counted twice by Unleash's SDKs: as yes or no, and by the variant's name. What is left of
    *yes* are those who only asked whether the flag is on: which variant that was, nobody knows.
    """
    given = {
        variant.name: counted.variants[variant.name]
        for variant in flag.variants
        if variant.name in counted.variants and variant.name != flag.off_variant
    }
    given[model.ON] = given.get(model.ON, 0) + max(counted.yes - sum(given.values()), 0)
    given[flag.off_variant] = counted.no
    return ((variant, served) for variant, served in given.items() if served)
