"""The Fader flag server."""

from fader._version import __version__ as __version__
