from collections.abc import Iterator

import pytest

from admin_server import AdminClient, AdminServer, running_admin_server
from services.postgres import PostgresDatabases


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminServer]:
    """Ramps are the same on either database. Here nobody moves them but who asks for it."""
    url = None
    if request.param == "postgresql":
        postgres: PostgresDatabases = request.getfixturevalue("postgres")
        url = postgres.create_database()
    with running_admin_server(tmp_path_factory.mktemp("ramps"), database_url=url) as server:
        yield server


@pytest.fixture(scope="module")
def admin(server: AdminServer) -> Iterator[AdminClient]:
    client = AdminClient(server.url)
    yield client
    client.close()


@pytest.fixture
def flag(admin: AdminClient, request: pytest.FixtureRequest) -> str:
    """A flag of the test's own."""
    key = f"f{abs(hash(request.node.nodeid))}"
    assert admin.post("/projects/default/flags", {"key": key}).status == 201
    return key
