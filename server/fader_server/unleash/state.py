"""From what Unleash sends, whole or as steps, to the state of an environment."""

from collections.abc import Iterable

from fader_server.unleash.model import Document, Event, State

_EMPTY = State()


def state_of(document: Document, before: State = _EMPTY) -> State:
    """The state that a document describes.

    Args:
        document: An answer of Unleash's client API. A whole one replaces everything; events build on
            ``before``.
        before: What held until now; nothing, when this is the first document.
    """
    if document.events is not None:
        return apply_events(before, document.events)
    return State(
        features={feature.name: feature for feature in document.features or ()},
        segments={segment.id: segment for segment in document.segments or ()},
    )


def apply_events(before: State, events: Iterable[Event]) -> State:
    """The state after some events of the delta form, applied in the order in which they came.

    An event of an unknown type, or without the field that its type promises, changes nothing: that is what
    Unleash's Node SDK does with it, and it keeps a newer server from taking an older reader's flags away.
    """
    features, segments = dict(before.features), dict(before.segments)
    for event in events:
        match event.type:
            case "hydration":
                features = {feature.name: feature for feature in event.features or ()}
                segments = {segment.id: segment for segment in event.segments or ()}
            case "feature-updated" if event.feature is not None:
                features[event.feature.name] = event.feature
            case "feature-removed" if event.feature_name is not None:
                features.pop(event.feature_name, None)
            case "segment-updated" if event.segment is not None:
                segments[event.segment.id] = event.segment
            case "segment-removed" if event.segment_id is not None:
                segments.pop(event.segment_id, None)
    return State(features=features, segments=segments)
