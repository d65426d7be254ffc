"""The document that describes the HTTP interface: generated from the handlers, put right in a few places,
served as it is.

OpenAPI 3.1: https://spec.openapis.org/oas/v3.1.1.html
"""

import inspect
import re
from typing import Any, Final

import msgspec
from litestar import Request, Response, Router
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag

from fader import model
from fader_server import __version__
from fader_server.api import error_forms
from fader_server.api.admin import ramp_documents, requests, views
from fader_server.ramping import preview
from fader_server.ramps import plan

DOCUMENT_PATH: Final = "/api/v1/openapi.json"

_PAGES = re.compile(rb"Page_[\w.]*\.(\w+?)_")


def openapi_config() -> OpenAPIConfig:
    """What the application gives to Litestar as ``openapi_config``."""
    return OpenAPIConfig(
        title="Fader",
        version=__version__,
        summary="Feature flags: bring code up slowly, and down at once.",
        openapi_router=Router(
            DOCUMENT_PATH, route_handlers=[], include_in_schema=False, after_request=_answer_as_others_do
        ),
        render_plugins=[_Document(path="/")],
        tags=[
            Tag("identity", "Who you are."),
            Tag("projects", "Namespaces of flags and segments."),
            Tag("environments", "Where flags are switched, each with its revision."),
            Tag("flags", "Flags as such: definitions, life, usage."),
            Tag("flags in an environment", "Switching, rolling out, rules, undo: the verbs that on-call uses."),
            Tag("ramps", "Flags that come up in steps, and down by themselves when they do harm."),
            Tag("hooks", "URLs at which alerts switch a flag off."),
            Tag("segments", "Named sets of contexts."),
            Tag("import and export", "Flags as other services have them."),
            Tag("changes", "The history, in pages and as it happens."),
            Tag("clients", "SDK processes, and which revision each evaluates with."),
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


async def _answer_as_others_do(response: Response[Any]) -> Response[Any]:
    """The framework answers for what is missing below the document's path with a page for browsers."""
    if response.status_code == 404:
        raise NotFoundException
    return response


# Parameters that are not used below are the framework's to pass.
# ruff: noqa: ARG002


class _Document(JsonRenderPlugin):
    def has_path(self, path: str) -> bool:
        """As if it had all of them: the framework would serve the document, as it was, at others too."""
        return True

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The document as JSON."""
        generated = _PAGES.sub(rb"PageOf\1", msgspec.json.encode(openapi_schema))
        document = msgspec.json.decode(generated)
        _widen(document)
        _complete_schemas(document)
        for path in document["paths"].values():
            for operation in path.values():
                _complete_operation(operation)
        return msgspec.json.encode(document)


def _widen(part: Any) -> None:
    """The framework writes unions as ``oneOf``, which 5 fails for "an integer or a number": it is both."""
    if isinstance(part, dict):
        if isinstance(part.get("oneOf"), list):
            part["anyOf"] = part.pop("oneOf")
        for inner in part.values():
            _widen(inner)
    elif isinstance(part, list):
        for inner in part:
            _widen(inner)


def _complete_schemas(document: dict[str, Any]) -> None:
    """Say what each document is for, and that bodies have no other fields."""
    known = {
        struct.__name__: struct
        for module in (model, error_forms, views, requests, plan, preview, ramp_documents)
        for struct in vars(module).values()
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct)
    }
    for name, schema in document["components"]["schemas"].items():
        struct = known.get(name)
        if struct is not None and struct.__doc__:
            schema["description"] = inspect.cleandoc(struct.__doc__)
        if struct is not None and issubclass(struct, requests.Body):
            schema["additionalProperties"] = False


def _complete_operation(operation: dict[str, Any]) -> None:
    """Say whether the body may be left out, and take back what the framework says of errors: ours say it
    all."""
    for status, response in list(operation["responses"].items()):
        if status.startswith("4") and error_forms.PROBLEM_JSON not in response.get("content", {}):
            del operation["responses"][status]
        if status == "204":
            response.pop("content", None)
    for parameter in operation.get("parameters", ()):
        # A parameter that may be left out has no way to be null.
        schema = parameter["schema"]
        schema |= next((one for one in schema.pop("anyOf", ()) if one != {"type": "null"}), {})
    if "requestBody" in operation:
        body = operation["requestBody"]
        taken = body["content"].get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
        body["required"] = taken not in {
            optional.__name__ for optional in (*requests.OPTIONAL_BODIES, ramp_documents.AbortRamp)
        }
