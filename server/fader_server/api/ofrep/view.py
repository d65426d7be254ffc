"""An environment at one version, as it is told."""

import hashlib
from datetime import datetime
from typing import Any

import msgspec

from fader.context import EvaluationContext
from fader_server.access import SdkPrincipal
from fader_server.api.ofrep.writing import Writing, failure
from fader_server.errors import FaderError, Unavailable
from fader_server.evaluation import Evaluator
from fader_server.evaluation.moments import Moments


class FlagNotFound(FaderError):  # noqa: N818 (reads as what happened, like the others)
    """There is no such flag."""

    status, slug, title = 404, "flag-not-found", "Flag not found"


class View:
    """Answers questions, in JSON.

    Args:
        evaluator: Knows the answers.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        flags = evaluator.flags.snapshot.flags
        revision = {"revision": evaluator.version.revision}
        self._answerable = sorted(flags.keys() - evaluator.unanswerable)
        self._moments = Moments.of(evaluator.flags.snapshot)
        self._alone = {kind: Writing(flags, revision, tells_rules=kind == "server") for kind in ("server", "client")}
        # The revision stands beside all flags: within each it would make all of them look as if they had changed.
        self._together = {kind: Writing(flags, {}, tells_rules=kind == "server") for kind in ("server", "client")}
        self.size = 64 * len(flags)
        """Bytes that all answers come to, about."""
        self._end = b'],"metadata":' + msgspec.json.encode(revision)

    def one(self, key: str, context: EvaluationContext, principal: SdkPrincipal) -> bytes:
        """What one flag answers.

        Raises:
            FlagNotFound: if there is none of this key.
            Unavailable: if it has no answer at the moment.
        """
        evaluator = self.evaluator
        if key not in evaluator.flags.snapshot.flags:
            evaluator.details(key, context)  # counts it
            raise FlagNotFound(f"There is no flag {key!r} in {principal.environment}.")
        if key in evaluator.unanswerable:
            raise Unavailable(f"{evaluator.details(key, context).error_message}.")
        outcome = evaluator.flags.decide(key, context)
        outcome.counter[0] += 1
        return self._alone[principal.kind].of(key, outcome)

    def all(self, context: EvaluationContext, principal: SdkPrincipal, streams: bytes) -> bytes:
        """What all flags answer.

        Args:
            context: For whom.
            principal: Who asks.
            streams: Where it is told of changes, as JSON.
        """
        evaluator, writing = self.evaluator, self._together[principal.kind]
        decide, written = evaluator.flags.decide, writing.written
        answers = []
        for key in self._answerable:
            outcome = decide(key, context)
            outcome.counter[0] += 1
            known = written.get(id(outcome))
            answers.append(known[1] if known is not None else writing.of(key, outcome))
        answers += [failure(evaluator.details(key, context)) for key in evaluator.unanswerable]
        written_out = b'{"flags":[' + b",".join(answers) + self._end + b',"eventStreams":' + streams + b"}"
        self.size = len(written_out)
        return written_out

    def etag(self, sent: dict[str, Any], principal: SdkPrincipal, streams: bytes, now: datetime) -> bytes | None:
        """What all flags answer, in a few characters: equal if the answers are, for as long as they hold. A draw at
        random holds as long as that, too.

        Args:
            sent: The context, as it was sent.
            principal: Who asks.
            streams: As for ``all``. A client that is told that nothing has changed keeps the streams that it was told
                of, so it must not be told so once these have expired.
            now: The time, aware.

        Returns:
            The entity tag; ``None`` if the answers may be others in the next moment.
        """
        passed = self._moments.passed(now) if self.evaluator.is_complete else None
        if passed is None:
            return None
        told = (principal.project, principal.environment, principal.kind, passed, streams.decode(), sent)
        digest = hashlib.blake2b(msgspec.json.encode(told, order="deterministic"), digest_size=12).hexdigest()
        return f'"{self.evaluator.version}-{digest}"'.encode()
