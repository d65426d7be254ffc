"""Whom flags are evaluated for: Unleash's context, from a query or a body, and what a browser need not say itself."""

import re
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from litestar import Request
from litestar.datastructures import State
from msgspec import Struct

from fader.context import Context, EvaluationContext, canonical_text
from fader.model import REMOTE_ADDRESS, SESSION_ID, TARGETING_KEY
from fader_server.errors import Malformed
from fader_server.unleash.contexts import context_attributes

_PROPERTY: Final = re.compile(r"properties\[([^\[\]]+)\]")


class _Body(Struct, frozen=True):
    context: dict[str, Any] | None = None


async def context_of(request: Request[Any, Any, State]) -> EvaluationContext:
    """The context that a request is about.

    Who says no session gets one for this request: flags shared out by it would otherwise be drawn one by one.

    Raises:
        Malformed: if there is a body that is no JSON of the right form.
    """
    said = _of_body(await request.body()) if request.method == "POST" else _of_query(request.scope["query_string"])
    properties = said.get("properties")
    attributes = context_attributes(said if isinstance(properties, dict) else {**said, "properties": {}})
    if not attributes.get(SESSION_ID):
        attributes[SESSION_ID] = secrets.token_hex(8)
    if not attributes.get(REMOTE_ADDRESS) and request.client is not None:
        attributes[REMOTE_ADDRESS] = request.client.host
    return Context(canonical_text(attributes.pop(TARGETING_KEY, None)), **attributes)


def _of_query(query: bytes) -> Mapping[str, Any]:
    context: dict[str, Any] = {}
    properties: dict[str, str] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace"):
        if is_property := _PROPERTY.fullmatch(name):
            properties[is_property[1]] = value
        else:
            context[name] = value
    return {**context, "properties": properties}


def _of_body(body: bytes) -> Mapping[str, Any]:
    try:
        return (msgspec.json.decode(body, type=_Body).context or {}) if body.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"The body cannot be read: {error}.", hint='Send {"context": {…}}.') from None
    except RecursionError:
        raise Malformed("The body is nested too deeply.") from None
