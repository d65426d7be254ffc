"""Run every measurement and print its table: ``python -m loadtests`` (``make bench``)."""

import subprocess
import sys

MEASUREMENTS = ("evaluation", "propagation")


def main() -> int:
    """Run each measurement in a process of its own, so that none warms or burdens the next; return the first failure."""
    codes = [subprocess.run([sys.executable, "-m", f"loadtests.{name}"], check=False).returncode for name in MEASUREMENTS]
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
