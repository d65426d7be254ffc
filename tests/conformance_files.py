"""Where the suites that others wrote are found: ``../shared/conformance`` beside the checkout.

They are not part of this repository. Without them the tests that need them are skipped, with the reason;
where ``CI`` is ``true`` they must be there.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

_SUITES = Path(__file__).resolve().parents[2] / "shared" / "conformance"


def conformance_path(suite: str) -> Path:
    """The directory or file of one suite. Skips the calling test, or the whole module at import, without
    it."""
    path = _SUITES / suite
    if path.exists():
        return path
    reason = f"the conformance suite {suite!r} is not in ../shared/conformance beside the checkout"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{reason}, and CI must not go without it", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def conformance_json(suite: str, *parts: str) -> Any:
    """One JSON file of a suite, decoded."""
    return json.loads(conformance_path(suite).joinpath(*parts).read_text(encoding="utf-8"))
