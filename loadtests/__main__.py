"""Run every measurement and print its table: ``python -m loadtests`` (``make bench``)."""

import subprocess
import sys

MEASUREMENTS = ("evaluation", "propagation", "snapshots", "nodes", "rolling_restart", "reconnect_storm", "segments")


def main() -> int:
    """Run each measurement in a process of its own, so that none warms or burdens the next."""
    codes = []
    for name in MEASUREMENTS:
        ran = subprocess.run([sys.executable, "-m", f"loadtests.{name}", *sys.argv[1:]], check=False)
        codes.append(ran.returncode)
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
