"""Servers behind TLS and behind proxies: the same certificates and the same proxies as the SDK's."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from command_line import Cli
from sdk_contract.certificates import Certificate, make_certificate


class Lists(BaseHTTPRequestHandler):
    """Answers everything with an empty list, and remembers what it was asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = b'{"items": [], "next_cursor": null}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening(certificate: Certificate | None = None) -> Iterator[tuple[str, list[str]]]:
    handler = type("Handler", (Lists,), {"asked": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        if certificate is not None:
            server.socket = certificate.server_context().wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            scheme = "http" if certificate is None else "https"
            yield f"{scheme}://127.0.0.1:{server.server_port}", handler.asked
        finally:
            server.shutdown()
            thread.join()


def test_a_certificate_of_ones_own(unsigned: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path)
    with listening(certificate) as (url, _):
        done = unsigned("list", "--url", url, "--token", "x")
        assert done.code == 6
        assert "certificate" in done.err
        assert "FADER_CA_FILE" in done.err
        assert done.err.count("\n") == 1
        monkeypatch.setenv("FADER_CA_FILE", str(certificate.path))
        assert unsigned("list", "--url", url, "--token", "x", "--json").json == []


def test_certificates_that_cannot_be_read(unsigned: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FADER_CA_FILE", str(tmp_path / "missing.pem"))
    done = unsigned("list", "--url", "https://127.0.0.1:9", "--token", "x")
    assert done.code == 2
    assert "FADER_CA_FILE" in done.err


def test_a_proxy(unsigned: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as (proxy, asked):
        monkeypatch.setenv("http_proxy", proxy)
        url = "http://flags.invalid"
        assert unsigned("list", "--url", url, "--token", "x", "--json").json == []
        assert len(asked) == 1
        assert asked[0].startswith(f"{url}/api/v1/projects/default/flags?")
        monkeypatch.setenv("no_proxy", "flags.invalid")
        assert unsigned("list", "--url", url, "--token", "x").code == 6
        assert len(asked) == 1
