"""Profiles: which server, with which token. Kept in a file that only its owner can read."""

import contextlib
import os
import tempfile
import tomllib
from pathlib import Path
from typing import Final

import msgspec
import platformdirs
import tomli_w
from msgspec import Struct

from fader_cli.errors import CliError

DEFAULT_URL: Final = "http://127.0.0.1:8080"
DEFAULT_PROJECT: Final = "default"


class Profile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A server and how to talk to it."""

    url: str
    token: str
    project: str = DEFAULT_PROJECT
    environment: str = ""
    """The environment that commands without ``-e`` are about; none if empty."""

    def __repr__(self) -> str:
        return f"Profile(url={self.url!r})"


class Config(Struct, frozen=True, kw_only=True):
    """All profiles, and the one that is used unless another is named."""

    current: str = ""
    profiles: dict[str, Profile] = {}


def config_dir() -> Path:
    """``FADER_CONFIG_DIR``, else where this platform keeps a user's settings."""
    return Path(os.environ.get("FADER_CONFIG_DIR") or platformdirs.user_config_dir("fader"))


def load() -> Config:
    """Read the profiles; none where there is no file.

    Raises:
        CliError: if the file is damaged.
    """
    path = config_dir() / "config.toml"
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), Config)
    except FileNotFoundError:
        return Config()
    except OSError as error:
        raise CliError(f"cannot read {path}: {error.strerror}", "set FADER_CONFIG_DIR to a folder of yours") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise CliError(f"cannot read {path}: {error}", "mend the file or remove it, then `fader login` again") from None


def save(config: Config) -> None:
    """Replace the file as a whole."""
    write_private(config_dir() / "config.toml", tomli_w.dumps(msgspec.to_builtins(config)))


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can read, all of it or nothing.

    Raises:
        CliError: if it cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # made with 0600
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 (a descriptor)
            file.write(text)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise CliError(f"cannot write {path}: {error.strerror}", "set FADER_CONFIG_DIR to a folder of yours") from None
