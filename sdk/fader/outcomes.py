"""What became of users where guards watch: as SDKs report it, and as servers merge and keep it.

Users are in sketches, so that a report may come twice, late or in any order. Sums and durations add up; who adds them
up twice has them wrong, which is what a report's ``id`` is for.
"""

from msgspec import Struct

from fader.durations import Count, Durations, added
from fader.sketches import Sketch

_NOBODY = Sketch().encode()


class Sums(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of all values that were recorded: how many, their sum, and the sum of their squares."""

    count: Count = 0
    total: float = 0.0
    squares: float = 0.0

    def merged(self, other: "Sums") -> "Sums":
        """Both."""
        return Sums(
            count=added(self.count, other.count),
            total=self.total + other.total,
            squares=self.squares + other.squares,
        )


class Arm(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One side of a comparison. Both sketches are in the form that ``Sketch.encode`` gives them.

    ``failed`` are those of ``exposed`` who failed at least once. ``durations`` are kept for guards of latency only: of
    all that was recorded, and not of users.
    """

    exposed: bytes = _NOBODY
    failed: bytes = _NOBODY
    sums: Sums = Sums()
    durations: Durations = Durations()

    def merged(self, other: "Arm") -> "Arm":
        """Both.

        Raises:
            ValueError: What should be a sketch is none.
        """
        return Arm(
            exposed=_merged(self.exposed, other.exposed),
            failed=_merged(self.failed, other.failed),
            sums=self.sums.merged(other.sums),
            durations=self.durations.merged(other.durations),
        )

    def users_only(self) -> "Arm":
        """Without what adds up."""
        return Arm(exposed=self.exposed, failed=self.failed)

    def counts(self) -> tuple[int, int]:
        """How many users came to the guard, and how many of them failed.

        Raises:
            ValueError: What should be a sketch is none.
        """
        return Sketch.decode(self.exposed).count(), Sketch.decode(self.failed).count()


class Outcomes(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a guard saw of the users who have the feature, and of those who only have it not because the rollout keeps
    them out.

    ``of_nobody`` counts what was recorded for contexts without a user, to whom no side can be given: each evaluation
    draws for them anew. It must not be added up twice either.
    """

    treatment: Arm = Arm()
    control: Arm = Arm()
    of_nobody: Count = 0

    def merged(self, other: "Outcomes") -> "Outcomes":
        """Both.

        Raises:
            ValueError: What should be a sketch is none.
        """
        return Outcomes(
            treatment=self.treatment.merged(other.treatment),
            control=self.control.merged(other.control),
            of_nobody=added(self.of_nobody, other.of_nobody),
        )


class OutcomeReport(Struct, frozen=True, kw_only=True):
    """What one process has seen since its last report, by the guards' ids.

    Args:
        id: Of this report. One that is sent again, because it may not have arrived, has the same.
        instance: The process.
        app: The application's name.
        guards: By the ids that the server has given them, which also say in which step of which ramp they are.
    """

    id: str
    instance: str
    app: str
    guards: dict[str, Outcomes]


def _merged(some: bytes, others: bytes) -> bytes:
    # Also where one has nobody: nothing that is no sketch is to be kept.
    sketch = Sketch.decode(some)
    sketch.merge(Sketch.decode(others))
    return sketch.encode()
