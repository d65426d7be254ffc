"""The client: what applications call. Evaluation is here and costs nothing; everything else happens elsewhere."""

import operator
import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar, overload
from uuid import UUID

from msgspec import UNSET, UnsetType

from fader.answers import answer, broken, fits
from fader.config import Timing, settings
from fader.context import EvaluationContext
from fader.dark_launches import Launch
from fader.evaluation import ErrorCode, EvaluationDetails
from fader.holder import Listener
from fader.measuring import Measurement
from fader.overrides import Layer, Override
from fader.runtime import Runtime
from fader.snapshot import FlagSet
from fader.status import Status
from fader.watching import StatusListener

T = TypeVar("T")

Anyone: TypeAlias = EvaluationContext | str | int | UUID | None
"""Whom a flag is evaluated for: a ``Context``, a bare user id, or nobody in particular."""

Fast: TypeAlias = dict[str, Callable[[Any], bool]]

_NO_ANSWER: Final = frozenset(ErrorCode) - {ErrorCode.TYPE_MISMATCH}
"""Errors after which it is not even known whether the flag is on."""


class Client:
    """Evaluates flags, and follows the server that decides what they are.

    Creating a client returns at once, whether or not the server can be reached. Until it has been heard, flags come
    from the copy that the last process left on disk, and failing that every evaluation gives its default. Evaluating
    never waits, never does I/O and never raises. A client is for the lifetime of a process; it may be used by all
    threads, and survives forks.

    Every argument that is not given is read from the environment, from the variable named in brackets.

    Args:
        url: The server's address [``FADER_URL``, else ``http://127.0.0.1:8080``].
        sdk_key: The key, which also names project and environment [``FADER_SDK_KEY``, or the name of a file that
            holds it in ``FADER_SDK_KEY_FILE``, which is read again whenever it is needed]. Without one the client
            stays offline.
        app: The application's name, for rules and for people who look at connected clients [``FADER_APP``].
        cache_dir: Where to keep the copy on disk; ``None`` or ``"off"`` for none
            [``FADER_CACHE_DIR``, else the user's cache directory].
        streaming: Whether to be told of changes at once, rather than to ask [``FADER_STREAMING``].
        poll_interval: Seconds between questions where there is no streaming [``FADER_POLL_INTERVAL``, else 10].
        usage: Whether to report how often each variant was served; only numbers are [``FADER_USAGE``].
        offline: Whether to stay off the network [``FADER_OFFLINE``].
        ca_file: File of the certificate authorities to trust instead of the system's [``FADER_CA_FILE``].

    Raises:
        ValueError: An argument makes no sense. (A variable that makes none is reported in the log.)

    >>> client = Client(url="http://127.0.0.1:9", sdk_key="default:production.secret", cache_dir=None)
    >>> client.is_enabled("new-checkout", "user-42")
    False
    >>> client.value("button-colour", "user-42", default="blue")
    'blue'
    >>> client.close()
    """

    # Slots, and plain dictionaries in `_fast`: what the interpreter reads fastest.
    __slots__ = ("__weakref__", "_fast", "_flags", "_runtime")
    _fast: "Fast"
    """What ``is_enabled`` looks a key up in: the flags that it has been asked for since these flags are in force."""
    _flags: "tuple[FlagSet, Fast]"
    """The flags in force, and the dictionary that belongs to them and to no others."""

    def __init__(
        self,
        *,
        url: str | None = None,
        sdk_key: str | None = None,
        app: str | None = None,
        cache_dir: str | os.PathLike[str] | UnsetType | None = UNSET,
        streaming: bool | None = None,
        poll_interval: float | None = None,
        usage: bool | None = None,
        offline: bool | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        _timing: Timing | None = None,
    ) -> None:
        told = settings(
            url=url,
            sdk_key=sdk_key,
            app=app,
            cache_dir=cache_dir,
            streaming=streaming,
            poll_interval=poll_interval,
            usage=usage,
            offline=offline,
            ca_file=ca_file,
        )
        self._runtime = Runtime(self._publish, _timing or Timing())
        self._runtime.start(told)

    # --- evaluation -------------------------------------------------------------------------------------------

    def is_enabled(self, key: str, context: Anyone = None, default: bool = False) -> bool:
        """Whether a flag is on for somebody.

        Args:
            key: The flag's key.
            context: Whom to evaluate it for: a ``Context``, a bare user id, or ``None`` for nobody in particular.
            default: The answer where there is none: for an unknown flag, or before any flags have come.
        """
        # Whatever is wrong, from a flag not asked for before to an object that raises when it is looked at, costs
        # nothing until it happens.
        try:
            return self._fast[key](context)
        except Exception:  # noqa: BLE001 (never raises, whatever it is given)
            return self._is_enabled_slowly(key, context, default)

    def _is_enabled_slowly(self, key: Any, context: Any, default: bool) -> bool:
        try:
            flags, fast = self._flags_with(key)
            enabled = flags.enabled[key]
            answer = enabled(context)
            fast[key] = enabled
        except Exception:  # noqa: BLE001 (never raises, whatever it is given)
            details = self._details(key, context, default)
            return default if details.error_code in _NO_ANSWER else details.enabled
        return answer

    @overload
    def value(self, key: str, context: Anyone = None, default: None = None) -> Any: ...
    @overload
    def value(self, key: str, context: Anyone, default: T) -> T: ...
    @overload
    def value(self, key: str, context: Anyone = None, *, default: T) -> T: ...
    def value(self, key: str, context: Anyone = None, default: Any = None) -> Any:
        """The value of the variant that a flag serves somebody.

        Args:
            key: The flag's key.
            context: Whom to evaluate it for: a ``Context``, a bare user id, or ``None`` for nobody in particular.
            default: The answer where there is none. Its type is the type of the answer: a value of another type is
                not given out (an integer will do for a float); any value will do for ``None``.
        """
        try:
            outcome = self._flags[0].decide(key, context)
            value = outcome.value
            if value.__class__ is default.__class__ or fits(value, default):
                outcome.counter[0] += 1
                return default if value is None else value
        except Exception:  # noqa: BLE001, S110 (never raises, whatever it is given)
            pass
        return self._details(key, context, default).value

    @overload
    def evaluate(self, key: str, context: Anyone = None, default: None = None) -> EvaluationDetails[Any]: ...
    @overload
    def evaluate(self, key: str, context: Anyone, default: T) -> EvaluationDetails[T]: ...
    @overload
    def evaluate(self, key: str, context: Anyone = None, *, default: T) -> EvaluationDetails[T]: ...
    def evaluate(self, key: str, context: Anyone = None, default: Any = None) -> EvaluationDetails[Any]:
        """The value of the variant that a flag serves somebody, and how it came about.

        Args:
            key: The flag's key.
            context: Whom to evaluate it for: a ``Context``, a bare user id, or ``None`` for nobody in particular.
            default: As for ``value``.
        """
        return self._details(key, context, default)

    def _details(self, key: Any, context: Any, default: Any) -> EvaluationDetails[Any]:
        try:
            found = answer(self._flags_with(key)[0], key, context, default)
        except Exception as error:  # noqa: BLE001 (never raises, whatever it is given)
            found = broken(self._flags[0], key, default, error)
        if found.cause:
            self._runtime.journal.complain(found.cause, found.details.error_message or "")
        return found.details

    def _flags_with(self, key: Any) -> "tuple[FlagSet, Fast]":
        """The flags in force. If ``key`` is not among them, the client may have to be started first."""
        self._runtime.notice_fork()
        if not isinstance(key, str) or key not in self._flags[0].snapshot.flags:
            self._runtime.ensure_started()
        return self._flags

    def _publish(self, flags: FlagSet) -> None:
        fast: Fast = {}
        self._flags = (flags, fast)
        self._fast = fast

    # --- what becomes of users --------------------------------------------------------------------------------

    def record(self, metric: str, context: Anyone = None, *, failed: bool = False, value: float | None = None) -> None:
        """Record what became of somebody, for the guards of ramps. While no guard watches, this does nothing.

        Users are counted, each once in a step of a ramp, and only a keyed hash of them leaves the application. It
        never waits, never does I/O and never raises.

        Args:
            metric: What it is that went well or wrong: the name that guards watch it by.
            context: Whom it happened to, as flags are evaluated for.
            failed: Whether it went wrong.
            value: A number that goes with it, to be summed up for people to see. For a guard of latency: how long it
                took, in milliseconds.

        >>> from fader import flags
        >>> flags.record("payment", "user-42", failed=True)
        """
        self._runtime.recorder.record(metric, context, failed, value)

    def measure(self, metric: str, context: Anyone | Callable[..., Anyone] = None) -> Measurement:
        """Record how a piece of code goes: whether it raises an ``Exception``, and how many milliseconds it takes.

        Args:
            metric: As for ``record``.
            context: Whom the code runs for. To decorate a function: what gives it, from the function's arguments.

        Returns:
            A context manager, made anew for each block, that is a decorator too; of coroutine functions as well.

        >>> from fader import flags
        >>> with flags.measure("checkout", "user-42"):
        ...     flags.is_enabled("new-checkout", "user-42")
        False
        >>> @flags.measure("receipt", lambda order, user: user)
        ... def send_receipt(order, user): ...
        """
        return Measurement(self._runtime.recorder, metric, context)

    def dark_launch(
        self,
        key: str,
        context: Anyone = None,
        *,
        control: Callable[[], T],
        candidate: Callable[[], object],
        compare: Callable[[Any, Any], object] = operator.eq,
        metric: str | None = None,
        sample: float = 1.0,
        inline: bool = False,
    ) -> T:
        """Answer by the old code, and for users whom a flag lets in try out the new code beside it.

        The candidate runs after the control has answered, on a few threads of the client's own; among coroutines, as
        a task. What there is no room for does not run, and is counted. Nothing that the candidate does is raised, or
        waited for. How often the two differ, what raises, and how long each takes is reported with the usage, for
        ``fader show``; and recorded, as by ``record``, for the guards of ramps: whoever has the feature by how the
        candidate did, and everybody else by how the control did.

        Args:
            key: The flag's key.
            context: Whom to evaluate it for: a ``Context``, a bare user id, or ``None`` for nobody in particular.
            control: The old code, a function or a coroutine function without arguments.
            candidate: The new code; a coroutine function if the control is one. It must change nothing.
            compare: Takes what both have returned, and says whether that is the same. Two that raise are the same if
                their exceptions are of one class.
            metric: The name that guards watch it by; the flag's key, if it is not said. They may watch, too, whether
                the two did the same: by the name with ``.mismatch`` after it.
            sample: The share of calls to look at, from 0 to 1. Of all others nothing is evaluated or recorded.
            inline: Whether to run the candidate on the caller's time, before returning. Meant for tests and batches.

        Returns:
            What the control returns: something to be awaited, if it is a coroutine function.

        Raises:
            Exception: What the control raises, and nothing else.

        >>> from fader import flags
        >>> flags.dark_launch("new-search", "user-42", control=lambda: [1, 2], candidate=lambda: [2, 1])
        [1, 2]
        """
        launch = Launch(key, context, candidate, compare, key if metric is None else metric, sample, inline)
        return self._runtime.dark_launches.run(self.is_enabled, launch, control)

    # --- the flags' arrival -----------------------------------------------------------------------------------

    def wait_until_ready(self, timeout: float = 10.0) -> bool:
        """Wait until the server has sent or confirmed the flags, and the long lists that segments name are here too.
        Evaluation does not need it; scripts may want it.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether the flags are the server's present ones. If not, evaluation answers from what is known. Without
            a network to wait for (offline, in tests, closed) it returns at once, with whether there are any flags.
        """
        return self._runtime.wait_until_ready(timeout)

    @property
    def ready(self) -> bool:
        """Whether the server has sent or confirmed the flags since this process began."""
        return self._runtime.ready

    @property
    def revision(self) -> int | None:
        """The revision that is evaluated with, or ``None`` without flags."""
        return self._runtime.holder.revision

    @property
    def status(self) -> Status:
        """How far the answers can be trusted to be the present ones, and why not further."""
        return self._runtime.status

    def on_change(self, callback: Listener) -> Callable[[], None]:
        """Be told when flags change.

        Args:
            callback: Called with the keys of all flags whose evaluation may have changed, after the change has taken
                effect. It runs on the thread that receives the flags, which waits for it.

        Returns:
            A function that ends it.
        """
        self._runtime.ensure_started()
        return self._runtime.holder.listen(callback)

    def on_status(self, callback: StatusListener) -> Callable[[], None]:
        """Be told how this client is doing: soon, and whenever ``status.state`` has become another one.

        Args:
            callback: Called with the status. That the server is out of hearing is told after ten seconds of it, for
                connections are lost and made anew all day. It runs on the thread that follows the flags, which waits
                for it: a client without one (offline, closed, in tests) has nothing to tell.

        Returns:
            A function that ends it.
        """
        self._runtime.ensure_started()
        return self._runtime.watch.listen(callback)

    def override(self, key: str | Mapping[str, Any], value: Any = True) -> Override:
        """Give flags other values for a while, for everybody in this process. Meant for tests.

        Args:
            key: A flag's key, or several with their values.
            value: Its value; a ``fader.model.Flag`` for one with rules; ``None`` for a flag that is not there.

        Returns:
            A context manager that is a decorator too.

        >>> from fader.testing import InMemoryClient
        >>> client = InMemoryClient({"new-checkout": False})
        >>> with client.override("new-checkout", True):
        ...     client.is_enabled("new-checkout")
        True
        >>> client.is_enabled("new-checkout")
        False
        """
        wanted = dict(key) if isinstance(key, Mapping) else {key: value}
        return Override(self._runtime.holder, Layer(wanted=wanted))

    # --- life -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Say goodbye, report usage a last time and end the connection, in two seconds at most.

        Flags go on to be evaluated. It may be called more than once, and happens by itself when the interpreter exits.
        """
        self._runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        status = self.status
        return f"<{type(self).__name__} {status.state} at revision {status.revision}>"


class DefaultClient(Client):
    """A client that is told everything by the environment, and starts when it is first used."""

    __slots__ = ()

    def __init__(self) -> None:
        self._runtime = Runtime(self._publish, Timing(), settings)


flags: Final[Client] = DefaultClient()
"""The default client. It is told everything by the environment (``FADER_URL``, ``FADER_SDK_KEY``, …: see ``Client``),
and does nothing until it is first used."""
