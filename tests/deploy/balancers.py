"""Real load balancers before real nodes: those that the compose file and the how-to configure."""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import urllib3

from deploy.manifests import DEPLOY
from deploy.programs import ROOT, nginx, program
from processes import PATIENCE, ServerProcess, wait_for
from services.postgres import free_port

HOW_TO = (ROOT / "docs" / "how-to" / "deploy.md").read_text("utf-8")


def how_to_block(language: str) -> str:
    """The only block of a language in the how-to."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", HOW_TO, re.MULTILINE | re.DOTALL)
    return str(block)


def _only_here(text: str, original: Sequence[str], nodes: Sequence[ServerProcess]) -> str:
    """A configuration with the addresses of our nodes in the place of its own."""
    for address, node in zip(original, nodes, strict=True):
        assert address in text
        text = text.replace(address, f"127.0.0.1:{node.port}")
    return text


def _replaced(pattern: str, by: str, text: str) -> str:
    """A text with what matches replaced; something must match."""
    text, times = re.subn(pattern, by, text, flags=re.MULTILINE)
    assert times, pattern
    return text


_OF_HOW_TO = ("10.0.0.11:8080", "10.0.0.12:8080")


def caddy_of_compose(folder: Path, port: int, nodes: Sequence[ServerProcess]) -> list[str]:
    """The balancer of the compose file."""
    text = _only_here((DEPLOY / "Caddyfile").read_text("utf-8"), ("node-1:8080", "node-2:8080"), nodes)
    return _caddy(folder, _replaced(r"^:8080 \{", f"http://:{port} {{\n\tbind 127.0.0.1", text))


def caddy_of_how_to(folder: Path, port: int, nodes: Sequence[ServerProcess]) -> list[str]:
    """The Caddy of the how-to, but without TLS and what listens beside it."""
    text = _only_here(how_to_block("caddy"), _OF_HOW_TO, nodes)
    text = _replaced(r"^flags\.example\.org \{", f"http://:{port} {{\n\tbind 127.0.0.1", text)
    return _caddy(folder, f"{{\n\tadmin off\n}}\n{text}")


def _caddy(folder: Path, text: str) -> list[str]:
    (folder / "Caddyfile").write_text(text, "utf-8")
    return [program("caddy"), "run", "--config", str(folder / "Caddyfile")]


def nginx_of_how_to(folder: Path, port: int, nodes: Sequence[ServerProcess]) -> list[str]:
    """The nginx of the how-to, but without TLS."""
    text = _only_here(how_to_block("nginx"), _OF_HOW_TO, nodes)
    text = _replaced(r"listen 443 ssl;", f"listen 127.0.0.1:{port};", text)
    text = _replaced(r"^ *(http2|ssl_certificate|ssl_certificate_key) .*\n", "", text)
    temporary = "".join(
        f"{kind}_temp_path {folder / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {folder / 'pid'};\nerror_log stderr warn;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{text}}}\n"
    )
    return [nginx(), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


BALANCERS = {
    "caddy of the compose file": caddy_of_compose,
    "caddy of the how-to": caddy_of_how_to,
    "nginx of the how-to": nginx_of_how_to,
}


@contextmanager
def balancing(kind: str, nodes: Sequence[ServerProcess]) -> Iterator[str]:
    """The address of a running balancer before some nodes."""
    with tempfile.TemporaryDirectory(prefix="fader-balancer-") as name:
        folder, port = Path(name), free_port()
        command = BALANCERS[kind](folder, port, nodes)
        environment = {"HOME": name, "XDG_CONFIG_HOME": name, "XDG_DATA_HOME": name, "PATH": os.defpath}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                return urllib3.request("GET", f"{url}/health/ready", retries=False, timeout=2).status == 200
            except urllib3.exceptions.HTTPError:
                return False

        try:
            wait_for(answers, f"{kind} to answer")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
