"""Fader as a provider for OpenFeature's Python SDK: flags are evaluated in this process, as ``fader.Client`` does it.

Needs the extra ``openfeature``. A leaf: nothing else of Fader imports it.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar

from openfeature.evaluation_context import EvaluationContext as OpenFeatureContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata
from openfeature.track import TrackingEventDetails

from fader.client import Client
from fader.context import EvaluationContext
from fader.evaluation import EvaluationDetails
from fader.evaluation import Reason as FaderReason
from fader.status import State, Status

__all__ = ["FaderProvider"]

T = TypeVar("T")

Structure: TypeAlias = Sequence[FlagValueType] | Mapping[str, FlagValueType]

_REASONS: Final = {reason: Reason.__members__.get(reason.name, Reason.DISABLED) for reason in FaderReason}
"""Ours are OpenFeature's, but for ``PREREQUISITE_FAILED``, which is finer than any of them."""


class FaderProvider(AbstractProvider):
    """Answers OpenFeature's questions from a Fader client.

    Args:
        client: The client to ask, which remains its owner's: ``shutdown`` does not close it. Without one the
            provider makes a client of its own, and closes it.
        wait: Seconds that ``initialize`` waits for the server at most. If it is not heard by then, flags that are
            known from the copy on disk are served; without any, the provider's status is ``ERROR`` until they come.
        **settings: What ``Client`` is to be told, if the provider makes its own. What is not said is read from the
            environment: ``FADER_URL``, ``FADER_SDK_KEY``, ….

    Raises:
        ValueError: A setting makes no sense.
        TypeError: There is no such setting, or settings are given as well as a client.

    >>> from openfeature import api
    >>> from fader.testing import InMemoryClient
    >>> api.set_provider_and_wait(FaderProvider(InMemoryClient({"new-checkout": True})))
    >>> api.get_client().get_boolean_value("new-checkout", False)
    True
    >>> api.shutdown()
    """

    def __init__(self, client: Client | None = None, *, wait: float = 10.0, **settings: Any) -> None:
        super().__init__()
        if client is not None and settings:
            raise TypeError("settings are for a client that the provider makes itself; give it one or the other")
        self._wait = wait
        self._settings = settings
        self._owns_client = client is None
        self._client = Client(**settings) if client is None else client
        self._is_shut = False
        self._unsubscribe: tuple[Callable[[], None], ...] = ()
        self._announced: State | None = None
        # Of OpenFeature's registry some threads may set providers up while others shut them down.
        self._lock = threading.Lock()

    @property
    def client(self) -> Client:
        """The client that is asked."""
        return self._client

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata(name="fader")

    # --- life -------------------------------------------------------------------------------------------------

    def initialize(self, evaluation_context: OpenFeatureContext) -> None:  # noqa: ARG002 (it comes with each question)
        """Wait for flags, and begin to pass on what becomes of them.

        Raises:
            ProviderNotReadyError: There are none. The client goes on trying, and ``PROVIDER_READY`` will follow.
        """
        with self._lock:
            if self._is_shut and self._owns_client:
                self._client = Client(**self._settings)
            self._is_shut = False
            client = self._client
        client.wait_until_ready(self._wait)
        status = client.status
        has_flags = status.state is not State.OFFLINE
        with self._lock:
            if not self._is_shut and not self._unsubscribe:
                # OpenFeature's SDK announces the outcome of this method itself: announcing it here too would run
                # handlers twice. It does so when we have returned, and takes a client without fresh flags for ready;
                # a moment later `_on_status` says better.
                self._announced = State.READY if has_flags else State.OFFLINE
                self._unsubscribe = (client.on_status(self._on_status), client.on_change(self._on_change))
        if not has_flags:
            raise ProviderNotReadyError(f"no flags have come within {self._wait:g} s{_because(status)}")

    def shutdown(self) -> None:
        """Stop passing things on, and close the client if it is the provider's own. May be called more than once.

        Questions go on to be answered from the flags that are known; ``initialize`` begins anew.
        """
        with self._lock:
            unsubscribe, self._unsubscribe = self._unsubscribe, ()
            self._is_shut = True
        for each in unsubscribe:
            each()
        if self._owns_client:
            self._client.close()

    def _on_status(self, status: Status) -> None:
        if status.state is self._announced or self._is_shut:
            return
        self._announced = status.state
        if status.state is State.READY:
            self.emit_provider_ready(ProviderEventDetails())
        elif status.state is State.STALE:
            self.emit_provider_stale(ProviderEventDetails(message=f"the flags may be old{_because(status)}"))

    def _on_change(self, keys: frozenset[str]) -> None:
        metadata: dict[str, bool | str | int | float] = {"revision": self._client.revision or 0}
        self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=sorted(keys), metadata=metadata))

    # --- tracking ---------------------------------------------------------------------------------------------

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: OpenFeatureContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Record an outcome for the guards of ramps, as ``Client.record`` does: the event's name is the metric.

        Of the details the value is taken, and an attribute ``failed`` that is true. Nothing else leaves the process.
        """
        value, failed = None, False
        if tracking_event_details is not None:
            value = tracking_event_details.value
            failed = tracking_event_details.attributes.get("failed") is True
        self._client.record(tracking_event_name, _context(evaluation_context), failed=failed, value=value)

    # --- questions --------------------------------------------------------------------------------------------

    # Nothing of these ever waits for anything, so the asynchronous ones are AbstractProvider's, which call them.

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: OpenFeatureContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """As the interface has it."""
        return self._resolve(flag_key, default_value, evaluation_context, _boolean)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: OpenFeatureContext | None = None
    ) -> FlagResolutionDetails[str]:
        """As the interface has it."""
        return self._resolve(flag_key, default_value, evaluation_context, _text)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: OpenFeatureContext | None = None
    ) -> FlagResolutionDetails[int]:
        """As the interface has it. A number that is written as a float, 1.0 too, is no integer."""
        return self._resolve(flag_key, default_value, evaluation_context, _integer)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: OpenFeatureContext | None = None
    ) -> FlagResolutionDetails[float]:
        """As the interface has it. Any number will do."""
        return self._resolve(flag_key, default_value, evaluation_context, _float)

    def resolve_object_details(
        self, flag_key: str, default_value: Structure, evaluation_context: OpenFeatureContext | None = None
    ) -> FlagResolutionDetails[Structure]:
        """As the interface has it: an object or a list."""
        return self._resolve(flag_key, default_value, evaluation_context, _structure)

    def _resolve(
        self, key: str, default: T, context: OpenFeatureContext | None, read: Callable[[Any], T | None]
    ) -> FlagResolutionDetails[T]:
        found = self._client.evaluate(key, _context(context))
        metadata = _metadata(found)
        if found.error_code is not None:
            code, message = ErrorCode(found.error_code.value), found.error_message
            return FlagResolutionDetails(default, code, message, Reason.ERROR, None, metadata)
        reason = _REASONS[found.reason]
        if found.value is None:  # which stands for the caller's own default
            return FlagResolutionDetails(default, None, None, reason, found.variant, metadata)
        value = read(found.value)
        if value is None:
            message = f"flag {key!r} gives {type(found.value).__name__}, which is not the type that was asked for"
            return FlagResolutionDetails(default, ErrorCode.TYPE_MISMATCH, message, Reason.ERROR, None, metadata)
        return FlagResolutionDetails(value, None, None, reason, found.variant, metadata)


def _context(context: OpenFeatureContext | None) -> EvaluationContext | None:
    if context is None:
        return None
    return EvaluationContext(context.targeting_key, dict(context.attributes))


def _metadata(found: EvaluationDetails[Any]) -> Mapping[str, bool | int | float | str]:
    metadata: dict[str, bool | int | float | str] = {"revision": found.revision}
    if found.rule:
        metadata["rule"] = found.rule
    if found.reason is FaderReason.PREREQUISITE_FAILED:
        metadata["fader.reason"] = found.reason.value
    return MappingProxyType(metadata)


def _because(status: Status) -> str:
    return f" ({status.last_error})" if status.last_error else ""


def _boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _structure(value: object) -> Structure | None:
    return value if isinstance(value, dict | list) else None
