"""Reading what Unleash's SDKs send: leniently.

They were written by many people over ten years, against a server that takes nearly anything; and on a refusal that it
does not expect, the SDK for Node never reports again. So what is odd in a report is left out, and the rest counts.
"""

from typing import Any, Generic, TypeVar

import msgspec

from fader_server.api.bodies import StrictBody
from fader_server.errors import Malformed

_BodyT = TypeVar("_BodyT")


class LenientBody(StrictBody[_BodyT], Generic[_BodyT]):
    """A JSON body, whatever its media type; numbers may be texts. Used as ``dto=LenientBody[Registration]``."""

    def decode_bytes(self, value: bytes) -> Any:
        """Read a body.

        Raises:
            Malformed: if it is not JSON, or not of this type.
        """
        try:
            return msgspec.json.decode(value, type=self.model_type, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Malformed(f"The body cannot be read: {error}.") from None
        except RecursionError:
            raise Malformed("The body is nested too deeply.") from None
