"""What an operator is: how it reads the values of a rule, and the test that comes of them."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from fader.context import canonical_text
from fader.model import Scalar

Test: TypeAlias = Callable[[Any], bool]
"""Asks one value of a context: a text, number, boolean or time, never ``None`` and never a list. A value of the wrong
kind gives false. Of a ``str`` it never raises; of other objects it may, and the caller takes that for false."""


class WrittenTest(Struct, frozen=True):
    """A test of texts that can also be written into code, which saves a call.

    Args:
        template: An expression of ``{text}`` and ``{constant}``.
        constant: What the latter stands for.
        test: The same as a function.
    """

    template: str
    constant: Any
    test: Test

    def __call__(self, text: Any) -> bool:
        """Ask a text."""
        return self.test(text)


class UnavailableError(Exception):
    """The operator needs a library that is not installed."""


class Operator(Struct, frozen=True, kw_only=True):
    """One operator.

    Args:
        name: As constraints have it.
        meaning: What it asks, in a few words, for people.
        parse: Reads one value of a rule, given as its canonical text; raises ``ValueError`` saying how to mend it.
        build: Makes the test of all values that could be read, given whether to ignore case.
        fewest: How many values a constraint needs.
        most: How many values a constraint may have; ``None`` for any number.
        negated: Whether the answer is that of the opposite question, a missing attribute included (``not_in``).
        folds_case: Whether ``case_insensitive`` makes a difference.
        takes_text: Whether values of a context are asked by their canonical text.
    """

    name: str
    meaning: str
    parse: Callable[[str], Any]
    build: Callable[[Sequence[Any], bool], Test]
    fewest: int = 1
    most: int | None = None
    negated: bool = False
    folds_case: bool = False
    takes_text: bool = False

    def check(self, values: Sequence[Scalar]) -> list[tuple[int | None, str]]:
        """What is wrong with the values of a rule.

        Args:
            values: As they stand in the constraint.

        Returns:
            For each fault the value's position, ``None`` for their number, and a sentence that says how to mend it.
        """
        faults: list[tuple[int | None, str]] = []
        if len(values) < self.fewest:
            faults.append((None, f"{self.name} needs {'a value' if self.most == 1 else 'at least one value'}"))
        if self.most is not None and len(values) > self.most:
            faults.append((None, f"{self.name} compares with one value, and there are {len(values)}"))
        for position, value in enumerate(values):
            try:
                self.parse(_text(value))
            except ValueError as error:
                faults.append((position, str(error)))
        return faults

    def compile(self, values: Sequence[Scalar], case_insensitive: bool) -> Test:
        """The test that a constraint comes to.

        Args:
            values: As they stand in the constraint. Those that cannot be read are left out, as Unleash does.
            case_insensitive: Whether upper and lower case are the same.

        Raises:
            UnavailableError: if the operator cannot work in this process.
        """
        if len(values) < self.fewest or (self.most is not None and len(values) > self.most):
            return never
        read = []
        for value in values:
            try:
                read.append(self.parse(_text(value)))
            except ValueError:
                continue
        return self.build(read, case_insensitive and self.folds_case) if read else never


def never(_value: Any) -> bool:
    """The test that nothing passes."""
    return False


def _text(value: Scalar) -> str:
    text = canonical_text(value)
    if text is None:
        raise ValueError(f"{value!r} is not a value that can be compared with")
    return text
