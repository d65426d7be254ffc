"""Senders who leave in the middle of a request: nobody's fault, and nothing for the log to call a failure."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import PATIENCE, ServerProcess, running_server, wait_for


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with running_server(tmp_path) as server:
        yield server


def test_a_body_that_never_comes(server: ServerProcess) -> None:
    head = (
        "POST /api/v1/projects/default/flags HTTP/1.1\r\nHost: fader\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {server.admin_token}\r\nContent-Length: 100\r\nX-Request-ID: left\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sender:
        sender.sendall(head.encode() + b'{"key": ')

    def lines() -> list[dict[str, object]]:
        logged = [json.loads(line) for line in server.log.read_text().splitlines()]
        return [line for line in logged if line.get("request_id") == "left"]

    wait_for(lambda: any(line["event"] == "request" for line in lines()), "the request's line")
    assert [(line["event"], line["level"], line["status"]) for line in lines()] == [("request", "info", 400)]
