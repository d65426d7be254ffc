"""Calls of functions that the application has handed over: their failures are theirs alone."""

from collections.abc import Callable
from typing import Generic, TypeVar

from fader.status import logger

T = TypeVar("T")


class Listening(Generic[T]):
    """A callback, and whether it has failed before.

    Args:
        callback: What to call.
        subject: What it listens for, in words, for the log.
    """

    def __init__(self, callback: Callable[[T], object], subject: str) -> None:
        self._callback = callback
        self._subject = subject
        self._has_failed = False

    def __call__(self, news: T) -> None:
        """Tell it."""
        try:
            self._callback(news)
        except Exception:  # noqa: BLE001 (somebody else's code must not cost this process its flags)
            if not self._has_failed:
                self._has_failed = True
                logger.exception("a listener for %s failed; its next failures are not logged", self._subject)
