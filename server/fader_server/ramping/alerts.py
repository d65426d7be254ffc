"""What an alert says that somebody sends to a hook: whether it goes off, and why.

Whoever gave a hook's URL away wants the flag off when something comes there. So everything means "off", whatever it is,
except what those who send alerts are known to send when all is well again:

- Alertmanager, and Grafana: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
- PagerDuty: https://developer.pagerduty.com/docs/webhooks-overview
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

_WELL: Final = frozenset({"resolved", "ok", "no_data", "paused", "pending"})
"""Words for an alert that does not go off, of Alertmanager and of both of Grafana's generations."""

_TRIGGERS: Final = frozenset({"incident.triggered", "incident.reopened"})
_LONGEST: Final = 500
_TEXTS: Final = ("reason", "title", "message", "summary", "text", "description")
"""Where what sends JSON of its own is likely to say why."""


class Alert(Struct, frozen=True):
    """What an alert says.

    Args:
        is_firing: Whether it goes off.
        reason: Why, in one line.
    """

    is_firing: bool
    reason: str


def alert_in(body: bytes) -> Alert:
    """Read an alert. There is no body that cannot be read."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _firing(body.decode("utf-8", "replace"))
    if not isinstance(document, dict):
        return _firing(_text(document))
    event = _dict(document.get("event"))
    if isinstance(event.get("event_type"), str):
        return _of_pagerduty(event)
    if isinstance(document.get("alerts"), list):
        return _of_alertmanager(document)
    reason = next((text for name in _TEXTS if (text := _text(document.get(name)))), "")
    return _firing(reason) if not _is_well(document) else Alert(False, _line(reason))


def _of_pagerduty(event: dict[str, Any]) -> Alert:
    data = _dict(event.get("data"))
    place = _text(data.get("html_url"))
    reason = _text(data.get("title")) + (f" ({place})" if place else "")
    if event["event_type"] in _TRIGGERS:
        return _firing(reason or "an incident of PagerDuty's")
    return Alert(False, _line(f"{event['event_type']}: {reason}"))


def _of_alertmanager(document: dict[str, Any]) -> Alert:
    alerts = [one for one in document["alerts"] if isinstance(one, dict)]
    firing = [one for one in alerts if not _is_well(one)] or alerts
    shared = [(_dict(document.get("commonLabels")), _dict(document.get("commonAnnotations")))]
    described = shared + [(_dict(one.get("labels")), _dict(one.get("annotations"))) for one in firing]
    name = next((text for labels, _ in described if (text := _text(labels.get("alertname")))), "")
    summary = next(
        (
            text
            for _, annotations in described
            for field in ("summary", "description", "message")
            if (text := _text(annotations.get(field)))
        ),
        "",
    )
    reason = ": ".join(part for part in (name, summary) if part) or _text(document.get("title"))
    more = f" ({len(firing)} alerts)" if len(firing) > 1 else ""
    return Alert(False, _line(reason)) if _is_well(document) else _firing(reason + more)


def _is_well(document: dict[str, Any]) -> bool:
    state = document.get("status", document.get("state"))
    return isinstance(state, str) and state.lower() in _WELL


def _firing(reason: str) -> Alert:
    return Alert(True, _line(reason) or "an alert")


def _line(text: str) -> str:
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
