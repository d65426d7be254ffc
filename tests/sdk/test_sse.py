"""The parser of Server-Sent Events, with the cases of the WHATWG specification and of bad networks."""

import pytest

from fader.sse import Event, EventParser, EventTooLargeError

CASES = [
    ("an event", b"event: change\ndata: {}\n\n", [Event("change", b"{}")]),
    ("an event without a name is a message", b"data: x\n\n", [Event("message", b"x")]),
    ("one space after the colon is not part of the value", b"data:a\ndata:  b\n\n", [Event("message", b"a\n b")]),
    ("several data lines are joined by newlines", b"data: a\ndata: b\n\n", [Event("message", b"a\nb")]),
    ("an empty data line counts", b"data\n\n", [Event("message", b"")]),
    ("carriage returns end lines too", b"event: a\rdata: b\r\r", [Event("a", b"b")]),
    ("so do both together", b"event: a\r\ndata: b\r\n\r\n", [Event("a", b"b")]),
    ("comments are passed over", b": heartbeat\n\n:\n\ndata: x\n: y\n\n", [Event("message", b"x")]),
    ("an event without data is none", b"event: change\n\ndata: x\n\n", [Event("message", b"x")]),
    ("unknown fields are passed over", b"color: red\ndata: x\n\n", [Event("message", b"x")]),
    (
        "an id is its own event's alone",
        b"id: a-2\ndata: x\n\ndata: y\n\n",
        [Event("message", b"x", "a-2"), Event("message", b"y")],
    ),
    ("an id may come last, and the last counts", b"id: a-1\ndata: x\nid: a-2\n\n", [Event("message", b"x", "a-2")]),
    ("an id without data is of no event", b"id: a-1\n\ndata: x\n\n", [Event("message", b"x")]),
    ("an id that is not UTF-8 does no harm", b"id: \xff\ndata: x\n\n", [Event("message", b"x", "�")]),
    ("a byte order mark in front is passed over", b"\xef\xbb\xbfdata: x\n\n", [Event("message", b"x")]),
    ("what is not complete is not yielded", b"data: x\n\ndata: y\n", [Event("message", b"x")]),
    ("colons in values stay", b'data: {"a": 1}\n\n', [Event("message", b'{"a": 1}')]),
    ("a name that is not UTF-8 does no harm", b"event: \xff\ndata: x\n\n", [Event("�", b"x")]),
]


@pytest.mark.parametrize(("sent", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.parametrize("portion", [1, 2, 3, 1000])
def test_bytes_become_events_in_whatever_portions_they_come(sent: bytes, expected: list[Event], portion: int) -> None:
    parser = EventParser()
    events = [event for start in range(0, len(sent), portion) for event in parser.feed(sent[start : start + portion])]
    assert events == expected


@pytest.mark.parametrize(
    ("sent", "retry"), [(b"retry: 2500\n", 2.5), (b"retry: soon\n", None), (b"retry: -1\n", None), (b"retry:\n", None)]
)
def test_retry_is_read_as_seconds(sent: bytes, retry: float | None) -> None:
    parser = EventParser()
    list(parser.feed(sent))
    assert parser.retry == retry


@pytest.mark.parametrize(
    ("sent", "pending"),
    [
        (b"", False),
        (b": heart", True),
        (b": heartbeat\n", False),
        (b"id: a-1\n", True),
        (b"data: x\n", True),
        (b"data: x\n\n", False),
    ],
)
def test_a_part_of_an_event_is_told_from_silence(sent: bytes, pending: bool) -> None:
    parser = EventParser()
    list(parser.feed(sent))
    assert parser.pending is pending


@pytest.mark.parametrize("endless", [b"data: " + b"x" * 100, b"data: xxxxxxxxxx\n", b"data\n", b"x" * 100])
def test_an_event_without_end_is_refused(endless: bytes) -> None:
    parser = EventParser(largest=1000)

    def feed() -> None:
        for _ in range(1000):
            list(parser.feed(endless))

    with pytest.raises(EventTooLargeError):
        feed()


def test_many_events_together_may_be_larger_than_one() -> None:
    parser = EventParser(largest=50)
    assert len([*parser.feed(b"data: x\n\n" * 1000)]) == 1000
    assert len([event for _ in range(1000) for event in parser.feed(b": heartbeat\n\ndata: x\n\n")]) == 1000
