"""Paths as logs, traces and error pages may show them: the secret of a hook is a part of its URL."""

import re
from typing import Final

from fader_server.access.credentials import HOOK_PREFIX

_SECRET: Final = re.compile(rf"{HOOK_PREFIX}[^/?#]*")


def shown(path: str) -> str:
    """A path without what is secret in it, wherever that is: URLs are copied badly.

    >>> shown("//hooks/v1/fader_hook_0123456789abcdef")
    '//hooks/v1/fader_hook_…'
    """
    return _SECRET.sub(f"{HOOK_PREFIX}…", path) if HOOK_PREFIX in path else path
