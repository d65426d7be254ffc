"""Unleash's context, in our words: what its fields are called here."""

from collections.abc import Mapping
from typing import Any, Final

from fader.model import (
    APP,
    BY_DEFAULT,
    BY_RANDOM,
    CURRENT_TIME,
    ENVIRONMENT,
    REMOTE_ADDRESS,
    SESSION_ID,
    TARGETING_KEY,
)

FIELDS: Final = {
    "userId": TARGETING_KEY,
    "sessionId": SESSION_ID,
    "remoteAddress": REMOTE_ADDRESS,
    "currentTime": CURRENT_TIME,
    "environment": ENVIRONMENT,
    "appName": APP,
}
"""The fields of Unleash's own that have another name here. All others are properties and keep theirs."""

RESERVED: Final = frozenset(FIELDS.values()) - FIELDS.keys()
"""Names that an Unleash property may have by chance, and that mean something of their own here."""


def attribute_name(context_name: str) -> str:
    """What a constraint's or an override's ``contextName`` is called here."""
    return FIELDS.get(context_name, context_name)


def rollout_by(stickiness: str) -> str:
    """What a ``stickiness`` of Unleash's is as our ``by``; an empty one stands for the default."""
    # The constants themselves, which documents leave out where they are the default.
    if stickiness in ("", BY_DEFAULT):
        return BY_DEFAULT
    if stickiness == BY_RANDOM:
        return BY_RANDOM
    return attribute_name(stickiness)


def context_attributes(context: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of an Unleash context, the targeting key among them.

    A field at the top wins over a property of the same name, and a field at the top that Unleash does not
    know counts as a property: both as its engines have it.

    Args:
        context: The decoded JSON, such as ``{"userId": "7", "properties": {"plan": "pro"}}``. A null is a
            missing attribute, and is left out.
    """
    properties = context.get("properties") or {}
    fields = {name: value for name, value in context.items() if name != "properties" and value is not None}
    merged = {name: value for name, value in properties.items() if value is not None} | fields
    return {attribute_name(name): value for name, value in merged.items()}
