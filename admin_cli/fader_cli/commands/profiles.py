"""Which server: ``login``, ``logout``, ``profile list|use``."""

import sys
from typing import Final

import click
import msgspec
from rich.markup import escape

from fader_cli import config
from fader_cli.api import Api
from fader_cli.config import Config, Profile
from fader_cli.errors import CliError
from fader_cli.exits import ExitCode
from fader_cli.groups import Commands
from fader_cli.options import complete_profiles, with_session
from fader_cli.render import table
from fader_cli.session import Session


@click.command()
@click.argument("url")
@click.option("--name", default="default", show_default=True, help="The profile's name.")
@click.option("--token", "given", metavar="TOKEN", help="The admin token; without it, it is asked for, or read.")
@click.option("-p", "--project", default="default", metavar="NAME", help="The project that commands are about.")
@click.option("-e", "--environment", default="", metavar="NAME", help="The environment of commands without -e.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON document instead of text for people.")
def login(url: str, name: str, given: str | None, project: str, environment: str, as_json: bool) -> None:
    """Remember a server and a token. The token is asked for, or read from standard input in a pipeline."""
    session = Session(as_json=as_json)
    token = given
    if token is None:
        token = click.prompt("Admin token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read()
    who = Api(url, token.strip()).get("/whoami")
    known = config.load()
    profile = Profile(url=url.rstrip("/"), token=token.strip(), project=project, environment=environment)
    config.save(Config(current=name, profiles={**known.profiles, name: profile}))

    def show() -> None:
        session.out.print(
            f"signed in to {escape(url)} as [key]{escape(who['name'])}[/] ({who['role']}), profile {name}"
        )

    session.emit({"profile": name, "url": profile.url, **who}, show)


@click.command()
@click.argument("name", required=False, metavar="[NAME]", shell_complete=complete_profiles)
@click.option("--json", "as_json", is_flag=True, help="Write a JSON document instead of text for people.")
def logout(name: str | None, as_json: bool) -> None:
    """Forget a profile (the current one unless named). The token itself stays good: `fader token revoke` ends it."""
    session = Session(as_json=as_json)
    known = config.load()
    gone = name or known.current
    if gone not in known.profiles:
        raise CliError(f"there is no profile {gone!r}", _have(known), ExitCode.NOT_FOUND)
    profiles = {key: one for key, one in known.profiles.items() if key != gone}
    current = known.current if known.current in profiles else next(iter(profiles), "")
    config.save(Config(current=current, profiles=profiles))
    session.emit({"forgotten": gone}, lambda: session.out.print(f"profile [key]{escape(gone)}[/] is forgotten"))


def _have(known: Config) -> str:
    return f"there are: {', '.join(known.profiles)}" if known.profiles else "there are none: `fader login` makes one"


@click.group(cls=Commands)
def profile() -> None:
    """The servers that this command line knows."""


@profile.command("list")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON document instead of text for people.")
def list_profiles(as_json: bool) -> None:
    """All profiles; the one in use has a star."""
    session = Session(as_json=as_json)
    known = config.load()
    documents = [
        {
            "name": name,
            "url": one.url,
            "project": one.project,
            "environment": one.environment or None,
            "current": name == known.current,
        }
        for name, one in known.profiles.items()
    ]

    def show() -> None:
        made = table("", "PROFILE", "SERVER", "PROJECT", "ENVIRONMENT")
        for one in documents:
            star = "*" if one["current"] else ""
            made.add_row(star, str(one["name"]), str(one["url"]), str(one["project"]), str(one["environment"] or ""))
        session.out.print(made if documents else "[quiet]no profiles: `fader login` makes one[/]")

    session.emit(documents, show)


@profile.command("use")
@click.argument("name", shell_complete=complete_profiles)
@click.option("--json", "as_json", is_flag=True, help="Write a JSON document instead of text for people.")
def use_profile(name: str, as_json: bool) -> None:
    """Use a profile from now on."""
    session = Session(as_json=as_json)
    known = config.load()
    if name not in known.profiles:
        raise CliError(f"there is no profile {name!r}", _have(known), ExitCode.NOT_FOUND)
    config.save(msgspec.structs.replace(known, current=name))
    session.emit({"current": name}, lambda: session.out.print(f"using [key]{escape(name)}[/] from now on"))


@click.command()
@with_session()
def whoami(session: Session) -> None:
    """Who the server thinks you are, and what you may do."""
    who = session.api.get("/whoami")

    def show() -> None:
        scope = ", ".join([*who["projects"], *who["environments"]]) or "everything"
        version = escape(str(who["server_version"]))
        session.out.print(
            f"[key]{escape(who['name'])}[/], {who['role']} of {escape(scope)}; the server is Fader {version}"
        )

    session.emit(who, show)


COMMANDS: Final = (login, logout, profile, whoami)
