"""Documents that people give as files."""

from pathlib import Path
from typing import Any

import click
import msgspec

from fader_cli.errors import usage_error


def read_object(path: str, what: str) -> dict[str, Any]:
    """Read a file (``-`` for standard input) that holds one JSON object.

    Args:
        path: Its path.
        what: It should hold: "a rule".

    Raises:
        CliError: if it does not.
    """
    with click.open_file(path, encoding="utf-8") as file:
        try:
            return msgspec.json.decode(file.read(), type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise usage_error(f"{Path(path).name} is not {what} as JSON: {error}") from None
