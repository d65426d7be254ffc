"""Run measurements and print their tables: ``python -m loadtests`` (``make bench``), or those with crowds of clients,
``python -m loadtests crowds`` (``make load`` with ``--quick``, which takes two minutes at most)."""

import subprocess
import sys

MEASUREMENTS = (
    "evaluation",
    "recording",
    "propagation",
    "snapshots",
    "nodes",
    "rolling_restart",
    "reconnect_storm",
    "segments",
    "unleash",
    "ofrep",
)
CROWDS = ("fan_out", "steady_changes", "sdk_processes", "nodes_fan_out")


def main() -> int:
    """Run each measurement in a process of its own, so that none warms or burdens the next."""
    codes = []
    arguments = [argument for argument in sys.argv[1:] if argument != "crowds"]
    for name in CROWDS if "crowds" in sys.argv[1:] else MEASUREMENTS:
        ran = subprocess.run([sys.executable, "-m", f"loadtests.{name}", *arguments], check=False)
        codes.append(ran.returncode)
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
