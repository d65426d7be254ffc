"""The how-to pages, run: the code is taken from the page itself, so that the two cannot drift apart."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from fader import flags

HOW_TO = Path(__file__).resolve().parent.parent.parent / "docs" / "how-to"
SECRET = "whsec_YSBzZWNyZXQgb2YgdGhlIHRlc3QsIG9mIDMyIGJ5dGVz"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_page(name: str) -> dict[str, Any]:
    """Run all Python of a page, block after block, as one module."""
    space: dict[str, Any] = {"__name__": f"how_to_{name}"}
    for number, block in enumerate(BLOCK.findall((HOW_TO / f"{name}.md").read_text("utf-8"))):
        exec(compile(block, f"{name}.md block {number}", "exec"), space)
    return space


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FADER_OFFLINE", "1")


def test_flask() -> None:
    space = run_page("flask")
    client = space["app"].test_client()
    assert client.get("/checkout", headers={"X-User-Id": "ada"}).text == "old checkout"
    with flags.override("new-checkout", True):
        assert client.get("/checkout", headers={"X-User-Id": "ada"}).text == "new checkout"
        with space["app"].test_request_context(headers={"X-User-Id": "ada"}):
            assert space["flag_functions"]()["is_enabled"]("new-checkout") is True


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fastapi() -> None:
    testclient = pytest.importorskip("fastapi.testclient", reason="FastAPI's test client is not installed")
    client = testclient.TestClient(run_page("fastapi")["app"])
    assert client.get("/checkout", headers={"X-User-Id": "ada"}).json() == {"checkout": "old"}
    with flags.override("new-checkout", True):
        assert client.get("/checkout", headers={"X-User-Id": "ada"}).json() == {"checkout": "new"}
    assert "revision" in client.get("/ready").json()


def test_django() -> None:
    from django.conf import settings

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"])
    from django.test import RequestFactory

    space = run_page("django")
    handler = space["FlagsMiddleware"](space["checkout"])
    request = RequestFactory().get("/checkout")
    request.COOKIES["sessionid"] = "s-1"
    assert handler(request).content == b"old checkout"
    assert request.flag_user.attributes["session_id"] == "s-1"
    with flags.override("new-checkout", True):
        assert handler(request).content == b"new checkout"
        assert space["flag_context"](request) == {"new_checkout": True}


def test_celery() -> None:
    space = run_page("celery")
    task = space["send_receipt"]
    assert task.apply(args=["ada"]).get() == "old receipt"
    with flags.override("new-receipt", True):
        assert task.apply(args=["ada"]).get() == "new receipt"


def test_openfeature() -> None:
    from openfeature import api

    try:
        space = run_page("openfeature")
        assert space["checkout"]("ada", "DE") == "old checkout"
        space["test_new_checkout"]()
        assert space["office_flags"].get_boolean_value("new-checkout", False) is False
    finally:
        api.shutdown()


def test_notifications() -> None:
    received = run_page("notifications")["received"]
    body = b'{"type": "ramp.step", "data": {"text": "new-checkout is at 10 % now"}}'
    now = datetime.now(UTC)
    sent = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp()))}
    sent["webhook-signature"] = Webhook(SECRET).sign("msg_1", now, body.decode())
    assert received(SECRET, sent, body) == "ramp.step: new-checkout is at 10 % now"
    assert received(SECRET, sent, body + b" ") is None


def test_ramps() -> None:
    assert run_page("ramps")["user"] == "user-42"


def test_dark_launches() -> None:
    assert run_page("dark-launches")["search"]("STRASSE", "user-42") == ["strasse"]


def test_recording_outcomes() -> None:
    space = run_page("../explanation/outcomes")
    assert space["send_receipt"]("order-1", "ada") is None


def test_testing_your_application(tmp_path: Path) -> None:
    """The page's own tests, run by pytest in a process of its own, with the plugin as users have it."""
    blocks = BLOCK.findall((HOW_TO / "test-your-application.md").read_text("utf-8"))
    for number, block in enumerate(blocks):
        (tmp_path / f"test_page_{number}.py").write_text(block)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 passed" in ran.stdout
