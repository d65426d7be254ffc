"""The engine inside most of Unleash's SDKs, asked about what we send."""

from collections.abc import Mapping
from typing import Any

import msgspec
from yggdrasil_engine.engine import UnleashEngine

from fader.context import canonical_text
from fader_server.unleash.contexts import FIELDS
from fader_server.unleash.dialects import Dialect, features_in
from fader_server.unleash.outward import OutwardState

_FIELDS = {ours: theirs for theirs, ours in FIELDS.items()}


def engine_with(state: OutwardState, dialect: Dialect = Dialect.FULL) -> UnleashEngine:
    """An engine that has taken all of an environment, and has known what to do with all of it."""
    document: dict[str, Any] = {"version": 2, "features": list(features_in(state, dialect))}
    if dialect is Dialect.FULL:
        document["segments"] = list(state.segments.values())
    engine = UnleashEngine()
    warnings = engine.take_state(msgspec.json.encode(document).decode())
    assert not warnings
    assert {toggle.name for toggle in engine.list_known_toggles()} == set(state.snapshot.flags)
    return engine


def unleash_context(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of ours, the targeting key among them, as an application would pass them to Unleash's SDKs: as
    texts, and what is a list not at all."""
    texts = {name: text for name, value in attributes.items() if (text := canonical_text(value)) is not None}
    fields = {_FIELDS[name]: text for name, text in texts.items() if name in _FIELDS}
    return fields | {"properties": {name: text for name, text in texts.items() if name not in _FIELDS}}


def variant_of(engine: UnleashEngine, flag: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """What ``getVariant`` answers, in the form that Unleash's specification has."""
    variant = engine.get_variant(flag, dict(context)).variant
    answer = {"name": variant.name, "enabled": variant.enabled, "feature_enabled": variant.feature_enabled}
    return answer if variant.payload is None else answer | {"payload": variant.payload}


def is_on(engine: UnleashEngine, flag: str, context: Mapping[str, Any]) -> bool:
    """What ``isEnabled`` answers."""
    return bool(engine.is_enabled(flag, dict(context)).is_enabled)
