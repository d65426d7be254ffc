"""What the headers of SDK requests ask for."""

import pytest

from fader_server.api.sdk.encoded import takes_gzip


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        (b"gzip", True),
        (b"deflate, gzip;q=1.0", True),
        (b"GZIP;Q=0.5", True),
        (b"*", True),
        (b"br, *;q=0.1", True),
        (b"*;q=0, gzip", True),
        (b"", False),
        (b"identity", False),
        (b"gzip;q=0", False),
        (b"gzip; q=0.000", False),
        (b"*;q=0", False),
        (b"gzip;q=0, *", False),
        (b"x-gzip-like", False),
    ],
)
def test_compression_is_for_those_who_take_it(header: bytes, *, takes: bool) -> None:
    assert takes_gzip(header) is takes
