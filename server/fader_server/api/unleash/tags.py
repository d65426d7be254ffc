"""How a version is written in ``ETag`` and in the ``id`` of events: ``<epoch>-<revision>.<form>``, and in the first one
also what was asked for. With the epoch, so that SDKs notice a restored database. They give back whatever it is."""

import hashlib
from importlib.resources import files
from typing import Final

from fader_server.distribution.events import Version


def _form() -> str:
    digest = hashlib.blake2b(digest_size=4)
    for module in sorted(files("fader_server.unleash").iterdir(), key=lambda module: module.name):
        if module.name.endswith(".py"):
            digest.update(module.read_bytes())
    return digest.hexdigest()


FORM: Final = _form()
"""Of the translation: the same for as long as its code is. A newer server may make something else of the same flags,
and who has what an older one has sent must not be told that nothing has changed."""


def tag_of(version: Version, query: str = "") -> str:
    """A version as it is written.

    Args:
        version: Of what is sent.
        query: What stands for what was asked for, if there are several answers.
    """
    return f"{version}.{FORM}.{query}" if query else f"{version}.{FORM}"


def version_of(tag: str, query: str = "") -> Version | None:
    """It, as it was written; ``None`` for whatever else somebody has, who is sent everything then."""
    marks = f".{FORM}.{query}" if query else f".{FORM}"
    return Version.parse(tag.removesuffix(marks)) if tag.endswith(marks) else None


def version_held(if_none_match: bytes, query: str = "") -> Version | None:
    """What who sends this header has."""
    return version_of(if_none_match.decode("latin-1").strip().removeprefix("W/").strip('"'), query)


def is_ahead(held: Version | None, version: Version) -> bool:
    """Whether somebody has been at a server that was further than this one is."""
    return held is not None and held.epoch == version.epoch and held.revision > version.revision
