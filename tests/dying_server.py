"""A fault that needs exact timing: a server that kills itself (``kill -9``) between a commit and its answer."""

from pathlib import Path

_BEFORE_THE_PROGRAM = '''"""Python imports this before a program begins. Where there is a file named ``die``, the
next write that is committed under an idempotency key is the last thing that this process does."""

import os
import signal
from pathlib import Path

from fader_server.storage.idempotency import HeldWrite

ORDER = Path(__file__).parent / "die"
commit = HeldWrite.commit


async def commit_and_die(self, answer):
    await commit(self, answer)
    if ORDER.exists():
        ORDER.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


HeldWrite.commit = commit_and_die
'''


def mortal(folder: Path) -> dict[str, str]:
    """Variables for a server that can be told to die.

    Args:
        folder: Where the order will be.
    """
    (folder / "sitecustomize.py").write_text(_BEFORE_THE_PROGRAM)
    return {"PYTHONPATH": str(folder)}


def die_after_the_next_commit(folder: Path) -> None:
    """Give the order. It is carried out once."""
    (folder / "die").touch()
