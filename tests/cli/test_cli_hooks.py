"""``fader hook``: URLs at which alerts switch a flag off."""

import urllib3

from command_line import Cli
from processes import PATIENCE, ServerProcess


def test_a_hook_until_it_is_deleted(cli: Cli, server: ServerProcess) -> None:
    cli.ok("create", "new-checkout")
    cli.ok("on", "new-checkout", "-e", "production")
    done = cli("hook", "create", "new-checkout", "-e", "production")
    url = done.out.strip()
    assert url.startswith(f"{server.url}/hooks/v1/fader_hook_")
    assert "not shown again" in done.err
    (made,) = cli.json("hook", "list", "new-checkout", "-e", "production")
    assert made["name"] == "alert"
    assert "fader_hook_" not in cli.ok("hook", "list", "new-checkout", "-e", "production")
    assert cli.json("hook", "list", "new-checkout", "-e", "staging") == []
    assert urllib3.request("POST", url, body=b"it burns", retries=False, timeout=PATIENCE).status == 200
    assert "it burns" in cli.ok("history", "new-checkout", "-e", "production")
    assert cli("hook", "delete", "new-checkout", made["id"], "-e", "production").code == 2, "it asks first"
    cli.ok("hook", "delete", "new-checkout", made["id"], "-e", "production", "--yes")
    assert cli.json("hook", "list", "new-checkout", "-e", "production") == []


def test_a_hook_of_another_name_as_a_document(cli: Cli, server: ServerProcess) -> None:
    cli.ok("create", "new-checkout")
    made = cli.json("hook", "create", "new-checkout", "--name", "pagerduty")
    assert made["name"] == "pagerduty"
    assert made["url"] == server.url + made["path"]
    assert cli("hook", "create", "nothing").code == 3
