"""Schemathesis throws what it can think of at every operation of the OpenAPI document: nothing may answer with 5xx, and
every answer must be one that the document promises.

``SCHEMATHESIS_EXAMPLES=100`` makes it think of so many requests for each operation, besides those at the edges of what
the document allows, which are sent in any case.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from processes import running_server

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "4"))
SECONDS = 100 + 5 * EXAMPLES


@pytest.mark.timeout(SECONDS + 20)
def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        server.admin.create_flag("new-checkout")
        command = [
            *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{server.url}/api/v1/openapi.json"),
            *("--header", f"Authorization: Bearer {server.admin_token}"),
            *(
                "--checks",
                "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
            ),
            # A stream never ends, and deleting tokens would take away the one that is used.
            *("--exclude-path-regex", "changes/stream|/tokens/"),
            *("--max-examples", str(EXAMPLES), "--seed", "7", "--generation-database", "none", "--no-color"),
            *("--phases", "examples,coverage,fuzzing", "--workers", "2", "--continue-on-failure"),
        ]
        ran = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
        assert "Traceback" not in server.log.read_text()
