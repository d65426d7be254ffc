from collections.abc import Iterator

import pytest

from admin_server import AdminClient, AdminServer, running_admin_server
from services.postgres import PostgresDatabases


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminServer]:
    """The admin API is the same on either database, so its tests are run on both."""
    url = None
    if request.param == "postgresql":
        postgres: PostgresDatabases = request.getfixturevalue("postgres")
        url = postgres.create_database()
    with running_admin_server(tmp_path_factory.mktemp("admin"), database_url=url) as server:
        yield server


@pytest.fixture(scope="module")
def admin(server: AdminServer) -> Iterator[AdminClient]:
    client = AdminClient(server.url)
    yield client
    client.close()


@pytest.fixture
def project(admin: AdminClient, request: pytest.FixtureRequest) -> str:
    """A project of the test's own: servers are shared by the tests of a module, projects by none."""
    key = f"p{abs(hash(request.node.nodeid))}"
    assert admin.post("/projects", {"key": key}).status == 201
    return key
