"""What SDKs and people show to the server: ``key`` and ``token``, each ``list|create|revoke``."""

from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.markup import escape

from fader_cli.api import path_of
from fader_cli.groups import Commands
from fader_cli.options import with_session, yes_option
from fader_cli.render import ago, table
from fader_cli.session import Session

_expires: Final = click.option(
    "--expires",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    metavar="DATE",
    help="The last moment at which it is good, in UTC: 2027-01-31 or 2027-01-31T18:00:00.",
)


def _show_secret(session: Session, what: str, made: dict[str, Any]) -> None:
    session.notes.print(f"{what} [key]{escape(made['name'])}[/] is made. [hint]Copy it now: it is not shown again.[/]")
    session.out.print(made["secret"], markup=False, soft_wrap=True)


def _body(name: str, expires: datetime | None) -> dict[str, Any]:
    body: dict[str, Any] = {"name": name}
    if expires is not None:
        body["expires_at"] = expires.replace(tzinfo=UTC).isoformat()
    return body


def _until(credential: dict[str, Any]) -> str:
    if credential.get("revoked_at"):
        return "[off]revoked[/]"
    return str(credential["expires_at"])[:16].replace("T", " ") if credential["expires_at"] else "[quiet]no end[/]"


@click.group(cls=Commands)
def key() -> None:
    """SDK keys, and client keys: what applications read flags with."""


@key.command("list")
@with_session()
def list_keys(session: Session) -> None:
    """All keys of the project. Secrets are not kept, so they cannot be shown."""
    found = session.api.pages(path_of("projects", session.project, "keys"))

    def show() -> None:
        made = table("ID", "NAME", "KIND", "ENVIRONMENT", "BEGINS WITH", "GOOD UNTIL", "LAST USED")
        for one in found:
            made.add_row(
                one["id"],
                escape(one["name"]),
                one["kind"],
                one["environment"],
                escape(one["prefix"]),
                _until(one),
                ago(one["last_used_at"]),
            )
        session.out.print(made)

    session.emit(found, show)


@key.command("create")
@click.argument("name")
@click.option(
    "--client", "is_client", is_flag=True, help="For browsers and phones: it asks for values, and never sees rules."
)
@_expires
@with_session(environment=True)
def create_key(session: Session, name: str, is_client: bool, expires: datetime | None) -> None:
    """Make a key for one environment."""
    body = _body(name, expires) | {"environment": session.environment}
    if is_client:
        body["kind"] = "client"
    made = session.api.post(path_of("projects", session.project, "keys"), body)
    what = "client key" if is_client else "key"
    session.emit(made, lambda: _show_secret(session, f"{what} for {session.environment}", made))


@key.command("revoke")
@click.argument("key_id", metavar="ID")
@yes_option
@with_session()
def revoke_key(session: Session, key_id: str, yes: bool) -> None:
    """End a key, and the streams that were opened with it. SDKs keep the flags that they have."""
    session.confirm(f"Revoke the key {key_id}?", yes=yes)
    session.api.delete(path_of("projects", session.project, "keys", key_id))
    session.emit({"revoked": key_id}, lambda: session.out.print(f"key [key]{escape(key_id)}[/] is revoked"))


@click.group(cls=Commands)
def token() -> None:
    """Admin tokens: what people and pipelines change flags with."""


@token.command("list")
@with_session()
def list_tokens(session: Session) -> None:
    """All tokens."""
    found = session.api.pages("/tokens")

    def show() -> None:
        made = table("ID", "NAME", "ROLE", "FOR", "GOOD UNTIL", "LAST USED")
        for one in found:
            scope = ", ".join([*one["projects"], *one["environments"]]) or "everything"
            made.add_row(
                one["id"], escape(one["name"]), one["role"], escape(scope), _until(one), ago(one["last_used_at"])
            )
        session.out.print(made)

    session.emit(found, show)


@token.command("create")
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "editor", "admin"]), required=True)
@click.option("--for-project", "projects", multiple=True, metavar="NAME", help="Only for these; else for all.")
@click.option("--for-environment", "environments", multiple=True, metavar="NAME", help="Only for these; else for all.")
@_expires
@with_session()
def create_token(
    session: Session,
    name: str,
    role: str,
    projects: tuple[str, ...],
    environments: tuple[str, ...],
    expires: datetime | None,
) -> None:
    """Make a token.

    Viewers read, editors change flags, admins do everything.
    """
    body = _body(name, expires) | {"role": role, "projects": projects, "environments": environments}
    made = session.api.post("/tokens", body)
    session.emit(made, lambda: _show_secret(session, f"{role} token", made))


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@yes_option
@with_session()
def revoke_token(session: Session, token_id: str, yes: bool) -> None:
    """End a token."""
    session.confirm(f"Revoke the token {token_id}?", yes=yes)
    session.api.delete(path_of("tokens", token_id))
    session.emit({"revoked": token_id}, lambda: session.out.print(f"token [key]{escape(token_id)}[/] is revoked"))


COMMANDS: Final = (key, token)
