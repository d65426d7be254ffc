"""A server whose limits are so low that tests reach them quickly."""

from collections.abc import Iterator

import pytest

from processes import ServerProcess, running_server


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Heads, bodies, and time are short."""
    with running_server(
        tmp_path_factory.mktemp("strict"),
        FADER_MAX_HEAD_BYTES="4096",
        FADER_MAX_URL_BYTES="1024",
        FADER_MAX_BODY_BYTES="100000",
        FADER_REQUEST_SECONDS="1",
        FADER_STUCK_SECONDS="1",
        FADER_HEARTBEAT_SECONDS="0.2",
    ) as server:
        yield server
