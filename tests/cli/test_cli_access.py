"""Who may do what: ``login``, profiles, ``key``, ``token``, ``env``."""

import stat
import tomllib
from pathlib import Path

import pytest

from command_line import Cli
from processes import ServerProcess


def sign_in(cli: Cli, server: ServerProcess, *options: str) -> None:
    cli.ok("login", server.url, "--token", server.admin_token, *options)


def test_login_is_checked_and_remembered(unsigned: Cli, server: ServerProcess, settings: Path) -> None:
    said = unsigned.ok("login", server.url + "/", "--token", server.admin_token, "-e", "staging")
    assert server.url in said
    assert "admin" in said
    assert unsigned.json("whoami")["role"] == "admin"
    file = settings / "config.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.stat().st_mode) == 0o700
    assert tomllib.loads(file.read_text())["profiles"]["default"] == {
        "url": server.url,
        "token": server.admin_token,
        "environment": "staging",
    }


def test_a_wrong_token_is_not_remembered(unsigned: Cli, server: ServerProcess, settings: Path) -> None:
    done = unsigned("login", server.url, "--token", "fader_wrong")
    assert done.code == 4
    assert not settings.exists()


def test_a_token_from_a_pipeline(unsigned: Cli, server: ServerProcess) -> None:
    assert unsigned.program("login", server.url, stdin=f"{server.admin_token}\n").code == 0
    assert unsigned.program("whoami").code == 0


def test_an_address_that_is_none(unsigned: Cli) -> None:
    assert unsigned("login", "flags.example.org", "--token", "x").code == 2


def test_profiles(unsigned: Cli, server: ServerProcess) -> None:
    assert unsigned.json("profile", "list") == []
    sign_in(unsigned, server, "--name", "one")
    sign_in(unsigned, server, "--name", "two", "-p", "shop")
    assert [(one["name"], one["current"]) for one in unsigned.json("profile", "list")] == [
        ("one", False),
        ("two", True),
    ]
    unsigned.ok("profile", "use", "one")
    assert "*" in unsigned.ok("profile", "list").splitlines()[1]
    assert unsigned("profile", "use", "three").code == 3
    unsigned.ok("logout")
    assert [(one["name"], one["current"]) for one in unsigned.json("profile", "list")] == [("two", True)]
    assert unsigned("logout", "one").code == 3


def test_a_profile_by_option_and_by_variable(
    unsigned: Cli, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(unsigned, server, "--name", "one")
    sign_in(unsigned, server, "--name", "two", "-p", "nowhere")
    assert unsigned("list").code == 3
    unsigned.ok("list", "--profile", "one")
    monkeypatch.setenv("FADER_PROFILE", "one")
    unsigned.ok("list")
    assert unsigned("list", "--profile", "three").code == 3
    monkeypatch.setenv("FADER_PROJECT", "nowhere")
    assert unsigned("list").code == 3
    unsigned.ok("list", "-p", "default")


def test_a_token_goes_to_no_other_server(unsigned: Cli, server: ServerProcess) -> None:
    sign_in(unsigned, server)
    done = unsigned("list", "--url", "http://127.0.0.1:9")
    assert done.code == 4
    assert "no admin token for http://127.0.0.1:9" in done.err
    unsigned.ok("list", "--url", server.url)


def test_a_server_that_is_named_is_found_among_the_profiles(
    unsigned: Cli, server: ServerProcess, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after ``fader serve``, whose export lines set FADER_URL, while another server is the current one."""
    settings.mkdir()
    (settings / "config.toml").write_text(
        'current = "work"\n[profiles.work]\nurl = "http://127.0.0.1:9"\ntoken = "x"\nproject = "nowhere"\n'
        f'[profiles.local]\nurl = "{server.url}"\ntoken = "{server.admin_token}"\nenvironment = "staging"\n'
    )
    assert unsigned("list").code == 6
    monkeypatch.setenv("FADER_URL", server.url + "/")
    unsigned.ok("list")
    unsigned.ok("create", "found-by-url")
    assert "in staging" in unsigned.ok("on", "found-by-url")
    assert unsigned("list", "--profile", "work").code == 4, "the profile's token is not for this server"


@pytest.mark.parametrize("text", ["= what", 'current = "a"\nprofiles = 3', "\x00"])
def test_a_damaged_file_is_named(unsigned: Cli, settings: Path, text: str) -> None:
    settings.mkdir()
    (settings / "config.toml").write_text(text)
    done = unsigned("list")
    assert done.code == 1
    assert "config.toml" in done.err
    assert done.err.count("\n") == 1


def test_a_folder_that_cannot_be_written(unsigned: Cli, server: ServerProcess, settings: Path) -> None:
    settings.write_text("a file where the folder should be")
    done = unsigned("login", server.url, "--token", server.admin_token)
    assert done.code == 1
    assert "FADER_CONFIG_DIR" in done.err


def test_a_secret_is_shown_once_and_alone_on_its_line(cli: Cli) -> None:
    done = cli("key", "create", "shop", "-e", "production")
    secret = done.out.strip()
    assert ":production." in secret
    assert "Copy it now" in done.err
    (key,) = [one for one in cli.json("key", "list") if one["name"] == "shop"]
    assert "secret" not in key
    assert secret not in cli.ok("key", "list")


def test_a_key_until_it_is_revoked(cli: Cli, project: str) -> None:
    made = cli.json("key", "create", "shop", "-e", "production", "--expires", "2099-01-31")
    assert made["secret"].startswith(f"{project}:production.")
    assert made["expires_at"].startswith("2099-01-31")
    assert "2099-01-31" in cli.ok("key", "list")
    assert cli("key", "revoke", made["id"]).code == 2, "it asks first"
    cli.ok("key", "revoke", made["id"], "--yes")
    assert cli("key", "create", "shop", "-e", "production", "--expires", "soon").code == 2


def test_a_key_for_browsers(cli: Cli, project: str) -> None:
    done = cli("key", "create", "web", "--client", "-e", "production")
    assert done.out.startswith(f"{project}:production.client-")
    assert "client key for production" in done.err
    (key,) = [one for one in cli.json("key", "list") if one["name"] == "web"]
    assert key["kind"] == "client"
    (line,) = [line for line in cli.ok("key", "list").splitlines() if " web " in line]
    assert " client " in line


def test_tokens_are_held_to_their_role(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.ok("create", "a")
    viewer = cli.json("token", "create", "screen", "--role", "viewer")
    editor = cli.json("token", "create", "ci", "--role", "editor", "--for-environment", "staging")
    assert "staging" in cli.ok("token", "list")
    cli.ok("list", "--token", viewer["secret"])
    assert cli("on", "a", "--token", viewer["secret"]).code == 4
    cli.ok("on", "a", "-e", "staging", "--token", editor["secret"])
    assert cli("on", "a", "-e", "production", "--token", editor["secret"]).code == 4
    assert "editor of staging" in cli.ok("whoami", "--token", editor["secret"])
    monkeypatch.setenv("FADER_TOKEN", viewer["secret"])
    assert cli("on", "a").code == 4
    monkeypatch.delenv("FADER_TOKEN")
    for token in (viewer, editor):
        cli.ok("token", "revoke", token["id"], "--yes")
        assert cli("list", "--token", token["secret"]).code == 4


def test_environments(cli: Cli) -> None:
    cli.ok("create", "a")
    cli.ok("env", "create", "qa")
    cli.ok("on", "a", "-e", "qa")
    names = [line.split()[0] for line in cli.ok("env", "list").splitlines()[1:]]
    assert names == ["development", "staging", "production", "qa"]
    assert cli("env", "create", "qa").code == 5
    assert cli.json("env", "delete", "qa", "--yes", "--reason", "unused") == {"deleted": "qa"}
    assert cli("on", "a", "-e", "qa").code == 3
