"""``GET /metrics``, for Prometheus. Anybody may ask, as with health: it holds counts, and the names of projects and
environments, but no secrets. Where ``FADER_METRICS_TOKEN`` is set, only whoever has that token may."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec

from fader_server.access.credentials import presented
from fader_server.api.error_forms import PROBLEM_JSON, Problem
from fader_server.errors import Unauthorized

Exposition: TypeAlias = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Gives all metrics as text, and its media type, for an ``Accept`` header."""


@get(
    "/metrics",
    summary="What does it do, in numbers?",
    tags=["health"],
    operation_id="metrics",
    media_type="text/plain",
    responses={
        401: ResponseSpec(
            Problem,
            generate_examples=False,
            description="Not the token that FADER_METRICS_TOKEN names.",
            media_type=PROBLEM_JSON,
        )
    },
)
async def scrape(request: Request[object, object, State]) -> Response[bytes]:
    """All metrics of this node: as OpenMetrics for those who accept it, else in Prometheus' text format. Anybody may
    ask, unless `FADER_METRICS_TOKEN` is set; then whoever has that token."""
    state = request.app.state
    exposition: Exposition = state.exposition
    _refuse_strangers(request.headers.get("authorization"), state.metrics_token)
    text, media_type = await exposition(request.headers.get("accept", ""))
    return Response(text, media_type=media_type, headers={"content-type": media_type})


def _refuse_strangers(authorization: str | None, token: str | None) -> None:
    if token is None:
        return
    credential = presented(authorization)
    if credential is not None and secrets.compare_digest(credential.encode(), token.encode()):
        return
    raise Unauthorized(
        "The metrics of this server are for those who have its token for them.",
        reason="missing" if credential is None else "unknown",
        hint="Send `Authorization: Bearer <the value of FADER_METRICS_TOKEN>`.",
    )


routes: Final = [scrape]
