"""What tests of the disk cache do with it: let it be filled, look at it, and take the server away."""

from collections.abc import Callable
from pathlib import Path

from sdk_contract.answers import silence
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient
from sdk_contract.waiting import eventually

Connect = Callable[..., SdkClient]


def filled(folder: Path, server: ScriptedServer, connect: Connect, **settings: object) -> None:
    """Let a client fill the cache and go."""
    client = connect(cache_dir=str(folder), **settings)
    client.wait()
    client.follows(server.world.revision)
    eventually(lambda: files(folder), "a file in the cache")
    client.close()


def files(folder: Path) -> list[Path]:
    """All files in the cache, at any depth."""
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


def silenced(server: ScriptedServer) -> ScriptedServer:
    """The same server, which answers nothing from now on."""
    server.always("stream", silence)
    server.always("snapshot", silence)
    return server
