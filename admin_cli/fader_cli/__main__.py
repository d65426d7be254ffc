"""The command ``fader``."""

import sys


def main() -> int:
    """Run it, or say in one line what is not installed."""
    try:
        from fader_cli.program import main as run
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] in {"click", "platformdirs", "rich", "tomli_w"}:
            print("fader: the command line is not installed (pip install 'fader[cli]')", file=sys.stderr)
            return 1
        raise
    return run()


if __name__ == "__main__":
    sys.exit(main())
