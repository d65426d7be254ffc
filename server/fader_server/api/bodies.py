"""Reading request bodies: strictly, from bytes straight into the type, with errors that name the field.

The framework's own way turns ``"true"`` into ``True`` and ``"5"`` into 5; a tool that sends such things has a
bug that its author wants to hear of before it reaches production.
"""

import difflib
import re
from collections.abc import Generator
from typing import Any, Generic, TypeVar, cast

import msgspec
from litestar.dto import AbstractDTO, DTOFieldDefinition
from litestar.openapi.spec import Reference, Schema
from litestar.types import HTTPRequestEvent, Receive, Scope
from litestar.typing import FieldDefinition

from fader_server.errors import FieldError, Invalid, Malformed, TooLarge, UnsupportedMediaType

_BodyT = TypeVar("_BodyT")

_PLACE = re.compile(r" - at `(?P<key>key in )?\$(?P<path>.*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")


# Parameters that are not used below are the framework's to pass.
# ruff: noqa: ARG003


class StrictBody(AbstractDTO[_BodyT], Generic[_BodyT]):
    """A body of the type given, read by msgspec's own rules. Used as ``dto=StrictBody[CreateFlag]``."""

    def decode_bytes(self, value: bytes) -> Any:
        """Read a body.

        Raises:
            UnsupportedMediaType: if the request says that it is something else than JSON.
            Malformed: if it is not JSON.
            Invalid: if it is not of this type.
        """
        media_type = self.asgi_connection.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json" and not media_type.endswith("+json"):
            given = f"is {media_type}" if media_type else "has no Content-Type"
            raise UnsupportedMediaType(f"The body {given}.", hint="Send JSON, with Content-Type: application/json.")
        return decode(value, self.model_type)

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition, None, None]:
        """None: the type is not transferred into another one."""
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        """No, for the same reason."""
        return False

    @classmethod
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None
    ) -> None:
        """Nothing: there is no back end to build."""

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        """The schema of the type itself."""
        schema: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return schema


class TextBody(StrictBody[_BodyT], Generic[_BodyT]):
    """A body of plain text, as the bytes that it is. Used as ``dto=TextBody[bytes]``."""

    def decode_bytes(self, value: bytes) -> Any:
        """Take a body.

        Raises:
            UnsupportedMediaType: if the request says that it is something else than text.
        """
        media_type = self.asgi_connection.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "text/plain":
            given = f"is {media_type}" if media_type else "has no Content-Type"
            raise UnsupportedMediaType(f"The body {given}.", hint="Send text, with Content-Type: text/plain.")
        return value


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The body of a request, where the framework does not read it: JSON, if it says what it is.

    Args:
        scope: The request.
        receive: Gives the body.
        most: How many bytes it may have.

    Raises:
        UnsupportedMediaType: if the request says that it is something else than JSON.
        TooLarge: if it has more bytes.
        Malformed: if the sender left before it was complete.
    """
    fields = dict(scope["headers"])
    media_type = fields.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
    if media_type != b"application/json" and not media_type.endswith(b"+json"):
        raise UnsupportedMediaType(
            f"The body is {media_type.decode('latin-1')}.", hint="Send JSON, with Content-Type: application/json."
        )
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed("The sender left before the request had been read.")
        body += cast("HTTPRequestEvent", message).get("body", b"")
        more = cast("HTTPRequestEvent", message).get("more_body", False)
        if len(body) > most:
            raise TooLarge(f"The body is larger than {most:,} bytes.")
    return body


def decode(body: bytes, of: type[_BodyT]) -> _BodyT:
    """Read JSON strictly.

    Raises:
        Malformed: if it is not JSON.
        Invalid: if it is not of this type.
    """
    try:
        return msgspec.json.decode(body, type=of)
    except msgspec.ValidationError as error:
        raise Invalid.of([_field_error(str(error), of)]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"The body is not JSON: {error}.", hint="JSON is UTF-8 text (RFC 8259).") from None
    except RecursionError:
        raise Malformed("The body is nested too deeply.") from None


def _field_error(message: str, of: Any) -> FieldError:
    match = _PLACE.search(message)
    path = match["path"].removeprefix(".") if match else ""
    text = message[: match.start()] if match else message
    if unknown := _UNKNOWN.fullmatch(text):
        known = [field.encode_name for field in msgspec.structs.fields(of)] if not path else []
        near = difflib.get_close_matches(unknown["name"], known, n=1)
        hint = f"Did you mean {near[0]}?" if near else None
        return FieldError(_join(path, unknown["name"]), "is not a field that there is", hint)
    if missing := _MISSING.fullmatch(text):
        return FieldError(_join(path, missing["name"]), "is missing")
    return FieldError(path, f"{text[:1].lower()}{text[1:]}")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
