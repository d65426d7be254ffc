"""What alerts say, as those who send them write it.

The payloads are those of their documentation: Alertmanager's (webhook_config), Grafana's (webhook notifier),
PagerDuty's (webhooks, version 3), shortened where nothing depends on it.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fader_server.flags.findings import Findings
from fader_server.flags.limits import Limits
from fader_server.ramping.alerts import alert_in


def _alertmanager(status: str, *alerts: str, **fields: Any) -> dict[str, Any]:
    return {
        "version": "4",
        "groupKey": '{}:{alertname="HighErrorRate"}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "fader",
        "groupLabels": {"alertname": "HighErrorRate"},
        "commonLabels": {"alertname": "HighErrorRate", "severity": "page"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example:9093",
        "alerts": [
            {
                "status": one,
                "labels": {"alertname": "HighErrorRate", "instance": f"shop-{number}"},
                "annotations": {"summary": f"5 % of checkouts fail on shop-{number}"},
                "startsAt": "2026-11-02T09:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus.example:9090/graph",
                "fingerprint": f"{number:016x}",
            }
            for number, one in enumerate(alerts, 1)
        ],
    } | fields


def _pagerduty(event_type: str) -> dict[str, Any]:
    return {
        "event": {
            "id": "5ac64822-4adc-4fda-ade0-410becf0de4f",
            "event_type": event_type,
            "resource_type": "incident",
            "occurred_at": "2026-10-02T18:45:22.169Z",
            "agent": {
                "html_url": "https://acme.pagerduty.com/users/PLH1HKV",
                "id": "PLH1HKV",
                "type": "user_reference",
            },
            "client": {"name": "PagerDuty"},
            "data": {
                "id": "PGR0VU2",
                "type": "incident",
                "self": "https://api.pagerduty.com/incidents/PGR0VU2",
                "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2",
                "number": 2,
                "status": "triggered",
                "title": "A little bump in the road",
            },
        }
    }


GRAFANA = {
    "receiver": "My Super Webhook",
    "status": "firing",
    "orgId": 1,
    "alerts": [{"status": "firing", "labels": {"alertname": "High memory usage", "team": "blue"}, "annotations": {}}],
    "groupLabels": {},
    "commonLabels": {"alertname": "High memory usage", "team": "blue"},
    "commonAnnotations": {"description": "The system has high memory usage"},
    "title": "[FIRING:1]  (High memory usage blue)",
    "state": "alerting",
    "message": "**Firing**",
}
FIRST = "HighErrorRate: 5 % of checkouts fail on shop-1"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (_alertmanager("firing", "firing"), FIRST),
        (_alertmanager("firing", "firing", "firing"), f"{FIRST} (2 alerts)"),
        (_alertmanager("firing", "resolved", "firing"), "HighErrorRate: 5 % of checkouts fail on shop-2"),
        (_alertmanager("firing", commonLabels=None), "an alert"),
        (_alertmanager("firing", "firing", commonAnnotations={"summary": "Many fail"}), "HighErrorRate: Many fail"),
        (GRAFANA, "High memory usage: The system has high memory usage"),
        (_pagerduty("incident.triggered"), "A little bump in the road (https://acme.pagerduty.com/incidents/PGR0VU2)"),
        (_pagerduty("incident.reopened"), "A little bump in the road (https://acme.pagerduty.com/incidents/PGR0VU2)"),
        ({"text": "checkout is\nbroken"}, "checkout is broken"),
        ({"status": "alerting", "title": "[Alerting] Errors"}, "[Alerting] Errors"),
        ({"status": 500}, "an alert"),
        ({}, "an alert"),
        ([{"status": "resolved"}], "an alert"),
        ("the shop burns", "the shop burns"),
        (None, "an alert"),
    ],
)
def test_whatever_comes_switches_the_flag_off(payload: Any, reason: str) -> None:
    alert = alert_in(json.dumps(payload).encode())
    assert alert.is_firing
    assert alert.reason == reason


@pytest.mark.parametrize(
    "payload",
    [
        _alertmanager("resolved", "resolved"),
        GRAFANA | {"status": "resolved", "state": "ok"},
        {"state": "ok", "title": "[OK] Errors"},
        _pagerduty("incident.resolved"),
        _pagerduty("incident.acknowledged"),
        _pagerduty("pagey.ping"),
    ],
)
def test_but_for_what_says_that_all_is_well(payload: Any) -> None:
    assert not alert_in(json.dumps(payload).encode()).is_firing


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.sampled_from([*_pagerduty("")["event"], *_alertmanager("")]), inner)
    ),
    max_leaves=20,
)


@given(st.binary() | JSON.map(lambda document: json.dumps(document).encode()))
def test_every_reason_can_be_kept(body: bytes) -> None:
    """What history refused would leave the flag on."""
    findings = Findings()
    assert findings.check_text("reason", alert_in(body).reason, Limits().text, empty=False) or not (
        alert_in(body).is_firing
    )


@pytest.mark.parametrize("body", [b"text=burning", b"\xff\xfe", b"{", b"[" * 100_000, b"\x00\x1b[31m", b'{"event": 1}'])
def test_nothing_is_too_strange(body: bytes) -> None:
    alert = alert_in(body)
    assert alert.is_firing
    assert alert.reason.isprintable()
    assert 0 < len(alert.reason) <= 500
