"""The document that describes the HTTP interface: generated from the handlers, served by the application."""

from typing import Final

from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag

from fader_server import __version__

ADMIN_PATH: Final = "/api/v1"
"""Where the admin API is mounted; the document is at ``openapi.json`` below it."""


def openapi_config() -> OpenAPIConfig:
    """What the application gives to Litestar as ``openapi_config``."""
    return OpenAPIConfig(
        title="Fader",
        version=__version__,
        summary="Feature flags: bring code up slowly, and down at once.",
        path=ADMIN_PATH,
        render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        tags=[
            Tag("identity", "Who you are."),
            Tag("projects", "Namespaces of flags and segments."),
            Tag("environments", "Where flags are switched, each with its revision."),
            Tag("flags", "Flags as such: definitions, life, usage."),
            Tag(
                "flags in an environment", "Switching, rolling out, rules, undo: the verbs that on-call uses."
            ),
            Tag("segments", "Named sets of contexts."),
            Tag("changes", "The history, in pages and as it happens."),
            Tag("keys", "What SDKs show to read flags."),
            Tag("tokens", "What people and pipelines show to change them."),
        ],
        components=Components(
            security_schemes={
                "admin_token": SecurityScheme(
                    type="http", scheme="bearer", description="`Authorization: Bearer fader_…`"
                )
            }
        ),
    )
