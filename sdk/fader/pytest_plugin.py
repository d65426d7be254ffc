"""Flags in tests of applications, for pytest. Loaded into every run of everybody, so it imports nothing of the SDK."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "flags(values=None, /, **values): evaluate these flags with these values")
