"""How a server is reached and verified: proxies of the environment, certificates."""

import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from fader.config import Settings
from fader.trust import Trust

PROXIES = {
    "HTTP_PROXY": "http://proxy.example.org:3128",
    "HTTPS_PROXY": "https://secure-proxy.example.org",
    "NO_PROXY": "internal.example.org,.svc",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("url", "variables", "proxy"),
    [
        ("http://flags.example.org", {}, None),
        ("http://flags.example.org", PROXIES, "http://proxy.example.org:3128"),
        ("https://flags.example.org", PROXIES, "https://secure-proxy.example.org"),
        ("https://internal.example.org:8443", PROXIES, None),
        ("https://flags.svc", PROXIES, None),
        ("http://127.0.0.1:8080", PROXIES, None),
        ("http://localhost:8080", PROXIES, None),
        ("http://[::1]:8080", PROXIES, None),
        ("http://flags.example.org", {"HTTP_PROXY": "proxy:3128"}, "http://proxy:3128"),
    ],
)
def test_the_environment_names_the_proxy(
    environment: pytest.MonkeyPatch, url: str, variables: Mapping[str, str], proxy: str | None
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert Trust(Settings(url=url)).proxy() == proxy


def test_a_proxy_of_a_kind_that_is_not_known_is_reported_when_it_is_needed(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTP_PROXY", "socks5://proxy:1080")
    trust = Trust(Settings(url="http://flags.example.org"))
    with pytest.raises(ValueError, match="HTTP and HTTPS"):
        trust.proxy()


def test_certificates_are_read_once_and_only_where_something_is_encrypted(environment: pytest.MonkeyPatch) -> None:
    assert Trust(Settings(url="http://flags.example.org")).context() is None
    trust = Trust(Settings(url="https://flags.example.org"))
    context = trust.context()
    assert context is not None
    assert context is trust.context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_certificates_that_cannot_be_read_are_reported_when_they_are_needed(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trust = Trust(Settings(url="https://flags.example.org", ca_file=tmp_path / "missing.pem"))
    with pytest.raises(OSError, match="No such file"):
        trust.context()
