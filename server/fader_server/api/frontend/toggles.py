"""``GET`` and ``POST /api/frontend``: the flags that are on for a context.

Nothing is counted here: Unleash's SDKs ask for all flags, and tell later which of them the application has asked for.
"""

import gzip
import hashlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from litestar import Request, Response, route
from litestar.datastructures import State
from litestar.params import FromPath
from msgspec import Struct

from fader.context import EvaluationContext
from fader_server.api.frontend.contexts import context_of
from fader_server.api.frontend.services import PREFIXES, admit_all_flags, evaluator_for
from fader_server.api.sdk.encoded import holds, takes_gzip
from fader_server.errors import NotFound
from fader_server.evaluation import Evaluator
from fader_server.unleash.answers import VariantAnswer, answer_of

_HEADERS: Final = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept-Encoding"}
_WORTH_COMPRESSING: Final = 1_024


class Toggle(Struct, frozen=True, rename="camel"):
    """A flag, as it is for a context."""

    name: str
    enabled: bool
    variant: VariantAnswer
    impression_data: bool = False


class Toggles(Struct, frozen=True):
    """Several of them, by name."""

    toggles: list[Toggle]


@route(
    [*PREFIXES],
    http_method=["GET", "POST"],
    operation_id="evaluateForUnleashFrontends",
    include_in_schema=False,
)
async def enabled_toggles(request: Request[Any, Any, State]) -> Response[bytes]:
    """The flags that are on. One that is not among them is off, or there is none."""
    evaluator = await evaluator_for(request)
    context = await context_of(request)
    admit_all_flags(request, evaluator)
    return _answer(request, Toggles(_evaluated(evaluator, evaluator.flags.snapshot.flags, context, also_off=False)))


@route(
    [f"{prefix}/all" for prefix in PREFIXES],
    http_method=["GET", "POST"],
    operation_id="evaluateAllForUnleashFrontends",
    include_in_schema=False,
)
async def all_toggles(request: Request[Any, Any, State]) -> Response[bytes]:
    """All flags, also those that are off."""
    evaluator = await evaluator_for(request)
    context = await context_of(request)
    admit_all_flags(request, evaluator)
    return _answer(request, Toggles(_evaluated(evaluator, evaluator.flags.snapshot.flags, context)))


@route(
    [f"{prefix}/features/{{name:str}}" for prefix in PREFIXES],
    http_method=["GET", "POST"],
    operation_id="evaluateOneForUnleashFrontends",
    include_in_schema=False,
)
async def one_toggle(name: FromPath[str], request: Request[Any, Any, State]) -> Response[bytes]:
    """One flag, whether it is on or off."""
    evaluator = await evaluator_for(request)
    context = await context_of(request)
    toggles = _evaluated(evaluator, [name], context)
    if not toggles:
        raise NotFound("There is no flag of this name.")
    return _answer(request, toggles[0])


def _evaluated(
    evaluator: Evaluator, names: Iterable[str], context: EvaluationContext, *, also_off: bool = True
) -> list[Toggle]:
    """These flags, by name. Those that there are not, or that have no answer at the moment, are left out."""
    flags = evaluator.flags
    found = []
    for name in sorted(names):
        flag = flags.snapshot.flags.get(name)
        if flag is not None and name not in evaluator.unanswerable:
            outcome = flags.decide(name, context)
            if not (outcome.enabled or also_off):
                continue
            variant = answer_of(flag, enabled=outcome.enabled, variant=outcome.variant, value=outcome.value)
            found.append(Toggle(name, outcome.enabled, variant))
    return found


def _answer(request: Request[Any, Any, State], document: Toggles | Toggle) -> Response[bytes]:
    body = msgspec.json.encode(document)
    # Of what is answered, and not of the revision and the context: what time a flag waits for may have come, and who
    # asks again with the tag of before is to hear of it.
    etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    headers = {**_HEADERS, "ETag": etag}
    if holds(request.headers.get("if-none-match", "").encode("latin-1"), etag.encode()):
        return Response(b"", status_code=304, headers=headers)
    if len(body) >= _WORTH_COMPRESSING and takes_gzip(request.headers.get("accept-encoding", "").encode("latin-1")):
        # As little as possible: it is done for each request, and most of the gain is in the words that return.
        body = gzip.compress(body, compresslevel=1, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(body, status_code=200, headers=headers, media_type="application/json")
