"""An environment at one version, ready to answer."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from msgspec import Struct

from fader.answers import answer
from fader.evaluation import ErrorCode, EvaluationDetails, Reason
from fader.members import missing_lists
from fader.revisions import flags_asking_for
from fader.snapshot import FlagSet
from fader_server.distribution.events import Version

_MadeT = TypeVar("_MadeT")

_NOT_HERE: Final = "the members of one of its segments cannot be read at the moment"


class Evaluator(Struct, frozen=True, eq=False):
    """Answers with the flags of one version, so that all answers of a request are of the same one.

    Args:
        version: Which.
        flags: The SDK's evaluator. What is evaluated with it directly has to be counted by who does.
        is_complete: Whether all long lists are as the version wants them. While the database is away they may be as
            they were before, and then the same version may give other answers later.
        unanswerable: Keys of flags that ask for a list that has never been here. Nobody being on it would turn these
            off for users who have them, so they have no answer at all.
        made: What others keep here (``once``).
    """

    version: Version
    flags: FlagSet
    is_complete: bool = True
    unanswerable: frozenset[str] = frozenset()
    made: dict[object, Any] = {}

    @classmethod
    def of(cls, version: Version, flags: FlagSet) -> "Evaluator":
        """The evaluator of these flags, whatever lists they have."""
        missing = missing_lists(flags.snapshot.segments, flags.members)
        if not missing:
            return cls(version, flags)
        absent = {segment for segment, wanted in missing.items() if wanted.list not in flags.members}
        return cls(version, flags, False, flags_asking_for(absent, flags.snapshot.flags))

    def once(self, make: Callable[["Evaluator"], _MadeT]) -> _MadeT:
        """What somebody makes of this version, such as answers that are written out: made when it is first asked for,
        and kept for as long as the version is."""
        found: _MadeT | None = self.made.get(make)
        if found is None:
            found = self.made[make] = make(self)
        return found

    def details(self, key: str, context: object, default: Any = None) -> EvaluationDetails[Any]:
        """Evaluate a flag, and count it.

        Args:
            key: The flag's key, or whatever somebody takes for one.
            context: A ``fader.Context``, a targeting key, or ``None``.
            default: The value where the flag has none to give.

        Returns:
            What the SDK would say. It never raises: the reason is ``ERROR`` where there is no answer.
        """
        if key in self.unanswerable:
            return EvaluationDetails(
                key=key,
                value=default,
                reason=Reason.ERROR,
                revision=self.version.revision,
                error_code=ErrorCode.GENERAL,
                error_message=f"flag {key!r} has no answer: {_NOT_HERE}",
            )
        return answer(self.flags, key, context, default).details
